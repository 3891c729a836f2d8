"""Where numbers go, with W&B and without it."""

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from mets3d.config import Track
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
