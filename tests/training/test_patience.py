"""A run that ends early, for validations found no better score."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mets3d.config import Config
from mets3d.files import read_json
from mets3d.rundir import CheckpointDir, RunDir
from mets3d.training.due import Due, due, ended_early
from mets3d.training.progress import Progress
from tests.builders.runs import train, write_config

STILL = {"lr": 1e-9, "warmup_steps": 0}  # so that the score does not rise after the first


def test_a_run_without_a_better_score_ends_as_its_last_step_would(
    tmp_path: Path, phantom_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(
        tmp_path,
        phantom_store,
        optim=STILL | {"ema": 0.9},
        train={"steps": 30, "checkpoint_every": 30},
        validate={"every": 2, "cases": 1, "patience": 2},
    )
    run = RunDir(tmp_path / "runs" / "run")
    said = "ended at step 6 of 30: no score better than"
    for attempt in ("the run", "the same command again, which trains no step"):
        assert train(config) == 0, attempt
        assert capsys.readouterr().out.count(said) == 1, attempt
        assert [row["step"] for row in run.read_metrics() if row["kind"] == "train"] == [1, 2, 3, 4, 5, 6], attempt
        assert run.checkpoint_steps() == [2, 6], attempt
        assert (run.pointer("last"), run.pointer("best")) == (6, 2)
        assert read_json(run.environment)["exit_code"] == 0
        assert read_json(run.environment)["finished"]
        best = load_file(CheckpointDir(run.checkpoint(2)).averaged)
        assert all(torch.equal(tensor, best[name]) for name, tensor in load_file(run.weights).items())
        run.weights.unlink()  # as if a kill had left it out
    assert train(config, "--validate.patience=3") == 0
    assert "ended at step 8 of 30" in capsys.readouterr().out
    assert [row["step"] for row in run.read_metrics() if row["kind"] == "train"][-1] == 8


def test_patience_is_counted_in_validations_and_not_after_the_last_step() -> None:
    config = Config.model_validate({"train": {"steps": 10}, "validate": {"every": 2, "patience": 2}})
    assert not ended_early(config, Progress(step=6, validated=6, stale=1))
    assert ended_early(config, Progress(step=6, validated=6, stale=2))
    assert not ended_early(config, Progress(step=10, validated=10, stale=2)), "it has ended anyway"
    assert not ended_early(Config(), Progress(step=6, validated=6, stale=99))
    now = due(config, Progress(step=6, validated=6, stale=2, best_step=2))
    assert now == Due(validation=False, weights=False, checkpoint=True, stop=False)
