"""What `mets3d sweep` says and refuses; what it does is in tests/study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mets3d.__main__ import main
from mets3d.study.folder import State
from mets3d.study.study import Order, Result
from mets3d.study.sweep_file import Sweep

FILE = """
program: train.py
method: grid
parameters:
  loss.boundary: {values: [none, blobb]}
  train.steps: {values: [1, -1]}
command: [train.py, --config, base, "${args}"]
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "few.yaml").write_text(FILE, encoding="utf-8")
    return str(tmp_path / "few.yaml")


def test_all_faults_are_told_in_one_line_each_and_nothing_starts(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", file, "--out", str(tmp_path / "study")]) == 2
    first, *others = capsys.readouterr().err.splitlines()
    assert first == "mets3d sweep: 2 faults, nothing was started"
    assert [line.partition(":")[0] for line in others] == ["  train.steps", "  loss.boundary"]
    assert "found 'blobb' (2 of 4 combinations, such as loss.boundary=blobb, train.steps=1)" in others[1]
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "nowhere: no such file or name; expected a file or one of"),
        (["smoke", "--jobs", "0"], "--jobs: expected a whole number from 1, found 0"),
        (["tuning", "--shard", "1/2"], "--shard: bayes and early termination look at all runs"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", *words]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_shard_is_read_as_by_preprocess(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sweep", "smoke", "--shard", "3/2"])
    assert "expected a shard such as 1/4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("states", "page", "number", "code", "last"),
    [
        (["finished", "finished"], Path("r/index.html"), 0, 0, "r/index.html"),
        (["finished", "failed"], Path("r/index.html"), 0, 1, "r/index.html"),
        (["finished", "waiting"], None, 0, 0, "the page is written by the last shard, or by this command without"),
        (["finished", "interrupted"], None, 15, 143, "the same command goes on from here"),
        (["failed", "failed"], None, 0, 1, "2 failed"),
    ],
)
def test_the_end_says_how_the_runs_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    states: list[Any], page: Path | None, number: int, code: int, last: str,
) -> None:  # fmt: skip
    asked: list[Order] = []

    def run_study(sweep: Sweep, order: Order, say: Any) -> Result:
        asked.append(order)
        return Result({str(place): State(state, "disk full") for place, state in enumerate(states)}, page, number)

    monkeypatch.setattr("mets3d.study.study.run_study", run_study)
    assert main(["sweep", "smoke", "--seed=3", "--jobs", "2"]) == code
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1].startswith(last)
    assert len(shown.err.splitlines()) == states.count("failed")
    assert ("failed: disk full; see runs/smoke/logs/" in shown.err) == ("failed" in states)
    assert (asked[0].study.path, asked[0].overrides, asked[0].machine.jobs) == (Path("runs/smoke"), ("--seed=3",), 2)
