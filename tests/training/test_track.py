"""Where numbers go, with W&B and without it."""

import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from mets3d.config import Config, Track
from mets3d.rundir import RunDir
from mets3d.training import track
from tests.builders.runs import train, write_config


@pytest.mark.parametrize(
    ("setting", "variable", "installed", "wanted"),
    [
        ("auto", None, True, True),
        ("offline", None, True, True),
        ("disabled", None, True, False),
        ("auto", "disabled", True, False),
        ("auto", None, False, False),
    ],
)
def test_wandb_is_used_unless_disabled_or_absent(
    monkeypatch: pytest.MonkeyPatch, setting: Any, variable: str | None, installed: bool, wanted: bool
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if variable:
        monkeypatch.setenv("WANDB_MODE", variable)
    monkeypatch.setattr(track, "find_spec", lambda name: object() if installed else None)
    assert track.wandb_is_wanted(Track(wandb=setting)) is wanted


@pytest.mark.parametrize(
    ("key", "sweep", "expected"),
    [(None, None, "offline"), ("k" * 40, None, "online"), ("k" * 40, "abc", "online")],
)
def test_wandb_is_online_only_with_a_key_and_resumes_outside_sweeps(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str | None, sweep: str | None, expected: str
) -> None:
    for name, value in {"WANDB_MODE": None, "WANDB_API_KEY": key, "WANDB_SWEEP_ID": sweep}.items():
        monkeypatch.delenv(name, raising=False)
        if value:
            monkeypatch.setenv(name, value)
    arguments = track._wandb_arguments(Config(name="x"), RunDir(tmp_path))
    assert arguments["mode"] == expected
    assert ("id" in arguments) is (sweep is None)
    again = track._wandb_arguments(Config(name="x"), RunDir(tmp_path))
    assert again == arguments, "a resumed run goes on under the same id"


def test_values_reach_wandb_through_accelerates_tracker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, phantom_store: Path
) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.delenv("WANDB_MODE")
    run = mock.MagicMock()
    started = mock.MagicMock(return_value=run)
    monkeypatch.setattr(wandb, "init", started)
    monkeypatch.setattr(wandb, "config", run.config)
    config = write_config(tmp_path, phantom_store, track={"wandb": "offline"}, train={"steps": 2})
    assert train(config) == 0
    assert started.call_args.kwargs["mode"] == "offline"
    assert run.config.update.call_args.args[0]["loss.boundary"] == "none"
    logged = [call.args[0] for call in run.log.call_args_list]
    steps = [call.kwargs["step"] for call in run.log.call_args_list]
    assert steps == sorted(steps)
    assert any("train/loss" in values for values in logged)
    assert any("validation/dice/WT" in values for values in logged)


def test_training_without_wandb_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, phantom_store: Path) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr(track, "find_spec", lambda name: None)
    config = write_config(tmp_path, phantom_store, track={"wandb": "auto"}, train={"steps": 1})
    assert train(config) == 0


def test_a_terminal_gets_a_bar(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, phantom_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    config = write_config(tmp_path, phantom_store, train={"steps": 2})
    assert train(config) == 0
    assert "2/2" in capsys.readouterr().err
