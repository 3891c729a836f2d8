"""A traced run: the files it leaves, and what it prints."""

import gzip
import json
from pathlib import Path

import pytest

from mets3d.__main__ import main
from mets3d.config import from_command_line
from mets3d.rundir import RunDir
from tests.builders.runs import train, write_config


def test_traced_steps_leave_a_trace_and_a_table(
    tmp_path: Path, phantom_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, phantom_store, train={"steps": 6, "checkpoint_every": 6}, validate={"every": 6})
    assert train(config, "--track.profile=2") == 0
    folder = RunDir(tmp_path / "runs" / "run").profile
    with gzip.open(folder / "trace.json.gz", "rt", encoding="utf-8") as file:
        events = [event.get("name") for event in json.load(file)["traceEvents"]]
    for part in ("data", "augmentation", "forward", "loss", "backward", "optimizer"):
        assert events.count(part) == 2
    assert "convolution" in (folder / "table.txt").read_text(encoding="utf-8")
    said = capsys.readouterr().out
    assert "profile: " in said
    assert said.index("  data ") < said.index("  backward ")


def test_a_run_too_short_to_trace_says_so(
    tmp_path: Path, phantom_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(write_config(tmp_path, phantom_store), "--track.profile=5") == 0
    assert "nothing traced, the run made 4 steps of 8" in capsys.readouterr().out


def test_profile_alone_is_five_steps() -> None:
    assert from_command_line(["--profile"], program="train.py").track.profile == 5
    assert from_command_line([], program="train.py").track.profile == 0


def test_the_verb_takes_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["train", "--config", "quickstart", "--profile", "--print-config"])
    assert leaving.value.code == 0
    assert "profile: 5" in capsys.readouterr().out
