"""Where numbers go, with W&B and without it."""

import sys
import time
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import psutil
import pytest

from mets3d.config import Track
from mets3d.rundir import RunDir
from mets3d.training import loop
from mets3d.training.track import installed, wandb_orders
from tests.builders.runs import train, write_config


@pytest.mark.parametrize(
    ("setting", "variable", "there", "wanted"),
    [
        ("auto", None, True, True),
        ("offline", None, True, True),
        ("disabled", None, True, False),
        ("auto", "disabled", True, False),
        ("auto", None, False, False),
    ],
)
def test_wandb_is_used_unless_disabled_or_absent(
    monkeypatch: pytest.MonkeyPatch, setting: Any, variable: str | None, there: bool, wanted: bool
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if variable:
        monkeypatch.setenv("WANDB_MODE", variable)
    monkeypatch.setattr(installed, "find_spec", lambda name: ModuleSpec(name, None, origin="here") if there else None)
    assert wandb_orders.wandb_is_wanted(Track(wandb=setting)) is wanted


@pytest.mark.parametrize(
    ("setting", "variable", "key", "mode"),
    [
        ("auto", None, None, "offline"),
        ("auto", None, "k" * 40, "online"),
        ("offline", None, "k" * 40, "offline"),
        ("auto", "dryrun", "k" * 40, "offline"),
        ("offline", "online", None, "online"),
        ("auto", "shared", "k" * 40, "shared"),
    ],
)
def test_wandb_mode_is_that_of_the_environment_or_follows_the_key(
    monkeypatch: pytest.MonkeyPatch, setting: Any, variable: str | None, key: str | None, mode: str
) -> None:
    for name, value in {"WANDB_MODE": variable, "WANDB_API_KEY": key}.items():
        monkeypatch.delenv(name, raising=False)
        if value:
            monkeypatch.setenv(name, value)
    assert wandb_orders.wandb_mode(Track(wandb=setting)) == mode


def test_training_without_wandb_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, phantom_store: Path) -> None:
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr(installed, "find_spec", lambda name: None)
    config = write_config(tmp_path, phantom_store, track={"wandb": "auto"}, train={"steps": 1})
    assert train(config) == 0


def test_a_terminal_gets_a_bar(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, phantom_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    config = write_config(tmp_path, phantom_store, train={"steps": 2})
    assert train(config) == 0
    assert "2/2" in capsys.readouterr().err


def test_each_step_says_how_long_it_waited_for_data_and_what_memory_it_holds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, phantom_store: Path
) -> None:
    original = loop.batches

    def slow(*words: Any, **named: Any) -> Any:
        for step in original(*words, **named):
            time.sleep(0.2)
            yield step

    monkeypatch.setattr(loop, "batches", slow)
    config = write_config(tmp_path, phantom_store, train={"steps": 2}, validate={"every": 2})
    assert train(config) == 0
    rows = [row for row in RunDir(tmp_path / "runs" / "run").read_metrics() if row["kind"] == "train"]
    for row in rows:
        seconds = 2 / row["samples_per_second"]
        assert row["data_wait"] * seconds * 1.001 >= 0.2
        assert row["data_wait"] <= 1
    held = psutil.Process().memory_info().rss / 1e9
    assert 0.2 * held < rows[-1]["memory_gb"] < 5 * held
    assert not (tmp_path / "runs" / "run" / "validation").exists(), "nobody is there to look"
