"""A run that ends early, for validations found no better score."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mets3d.config import Config
from mets3d.files import read_json
from mets3d.rundir import CheckpointDir, RunDir
from mets3d.training.due import Due, due, ended_early
from mets3d.training.progress import Progress
from mets3d.training.validation import HeldOutCases
from tests.builders.runs import train, write_config

STILL = {"lr": 1e-9, "warmup_steps": 0}  # so that the score does not rise after the first


def test_a_run_without_a_better_score_ends_as_its_last_step_would(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scored: list[dict[str, torch.Tensor]] = []
    original = HeldOutCases.__call__

    def watched(cases: HeldOutCases, network: torch.nn.Module, *others: Any) -> Mapping[str, float] | None:
        scored.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        return original(cases, network, *others)

    monkeypatch.setattr(HeldOutCases, "__call__", watched)
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
        best, raw = (load_file(getattr(CheckpointDir(run.checkpoint(2)), file)) for file in ("averaged", "weights"))
        assert all(torch.equal(tensor, best[name]) for name, tensor in load_file(run.weights).items())
        assert len(scored) == 3, attempt
        assert all(torch.equal(tensor, best[name]) for name, tensor in scored[0].items()), "averages are scored"
        assert not all(torch.equal(tensor, scored[0][name]) for name, tensor in raw.items())
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
