"""A run that begins from another: its weights, its optimizer, its step, as said; and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mets3d.rundir import CheckpointDir, RunDir
from tests.builders.runs import train, write_config

FIRST = ("--name=first", "--train.steps=2")


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, phantom_store: Path) -> tuple[Path, RunDir]:
    """A configuration, and a finished run of two steps."""
    folder = tmp_path_factory.mktemp("first")
    config = write_config(folder, phantom_store, validate={"every": 1})
    assert train(config, *FIRST) == 0
    return config, RunDir(folder / "runs" / "first")


def optimizer_of(run: RunDir, step: int) -> dict[str, object]:
    loaded: dict[str, object] = torch.load(CheckpointDir(run.checkpoint(step)).optimizer, weights_only=True)
    return loaded


def steps_in(run: RunDir) -> list[int]:
    rows = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [row["step"] for row in rows if row["kind"] == "train"]


def test_optimizer_and_step_are_kept_as_said(
    first: tuple[Path, RunDir], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, run = first
    words = (f"--weights={run.path}", "--weights_keep=[optimizer,step]", "--train.steps=3", f"--output={tmp_path}")
    assert train(config, "--name=on", *words) == 0
    assert "optimizer kept, first step 2" in capsys.readouterr().out
    on = RunDir(tmp_path / "on")
    assert steps_in(on) == [3]
    # The same step as that of an uninterrupted run of three: same weights, moments, rate and samples.
    assert train(config, "--name=whole", "--train.steps=3", f"--output={tmp_path}") == 0
    assert train(config, "--name=short", "--train.steps=2", "--train.schedule_steps=3", f"--output={tmp_path}") == 0
    words = (f"--weights={tmp_path / 'short'}", *words[1:])
    assert train(config, "--name=again", *words) == 0
    whole, again = (
        load_file(CheckpointDir(RunDir(tmp_path / name).checkpoint(3)).weights) for name in ("whole", "again")
    )
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_without_words_both_begin_anew_and_the_report_says_so(
    first: tuple[Path, RunDir], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, run = first
    assert train(config, "--name=new", f"--weights={run.path}", "--train.steps=1", f"--output={tmp_path}") == 0
    out = capsys.readouterr().out
    assert "100.0% of the numbers" in out
    assert "optimizer and step begin anew" in out
    new = RunDir(tmp_path / "new")
    assert steps_in(new) == [1]
    moments = optimizer_of(new, 1)["state"]
    assert isinstance(moments, dict)
    assert {float(state["step"]) for state in moments.values()} == {1.0}


def test_a_run_goes_on_after_the_weights_that_it_began_with_are_gone(
    first: tuple[Path, RunDir], tmp_path: Path
) -> None:
    config, run = first
    copy = shutil.copytree(run.path, tmp_path / "copy")
    words = ("--name=new", f"--weights={copy}", f"--output={tmp_path}", "--train.schedule_steps=2")
    assert train(config, *words, "--train.steps=1") == 0
    shutil.rmtree(copy)
    assert train(config, *words, "--train.steps=2") == 0
    assert steps_in(RunDir(tmp_path / "new")) == [1, 2]


def test_a_bare_file_of_weights_is_a_start(
    first: tuple[Path, RunDir], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, run = first
    file = shutil.copy(run.weights, tmp_path / "shared.safetensors")
    assert train(config, "--name=new", f"--weights={file}", "--train.steps=1", f"--output={tmp_path}") == 0
    assert f"weights of {file}" in capsys.readouterr().out


REFUSED = {
    "another optimizer": (["--weights_keep=[optimizer]", "--optim.name=sgd"], "optim.name is sgd"),
    "no step left": (["--weights_keep=[step]", "--train.steps=2"], "is at step 2 and train.steps is 2"),
    "another network": (["--model.features=8"], "another network"),
    "the optimizer of another network": (
        ["--weights_keep=[optimizer]", "--data.target=labels", "--train.steps=9"],
        "is of another network; expected the same, or weights_keep without optimizer",
    ),
    "an optimizer of other groups": (
        ["--weights_keep=[optimizer]", "--optim.weight_decay_on=all"],
        "expected the same optim.layer_decay and optim.weight_decay_on",
    ),
    "channels in another order": (["--data.sequences=[t1c,t1n,t2w,t2f]"], "expected the same in the same order"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_does_not_fit_is_one_line_before_anything_is_written(
    first: tuple[Path, RunDir], tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    (config, run), (words, said) = first, REFUSED[fault]
    assert train(config, "--name=new", f"--weights={run.path}", f"--output={tmp_path}", *words) == 2
    message = capsys.readouterr().err
    assert said in message
    assert len(message.strip().splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_a_file_in_a_run_is_looked_at_as_its_run_is(
    first: tuple[Path, RunDir], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, run = first
    words = ("--name=new", f"--weights={run.weights}", f"--output={tmp_path}", "--data.sequences=[t1c,t1n,t2w,t2f]")
    assert train(config, *words) == 2
    assert "expected the same in the same order" in capsys.readouterr().err


def test_a_file_has_no_optimizer_to_keep(
    first: tuple[Path, RunDir], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, run = first
    words = ("--name=new", f"--weights={run.weights}", "--weights_keep=[optimizer]", f"--output={tmp_path}")
    assert train(config, *words) == 2
    assert "expected `weights` to be a run directory" in capsys.readouterr().err
