"""The size of a checkpoint that is expected, against the files that are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from mets3d.config import Config
from mets3d.rundir import CheckpointDir, RunDir
from mets3d.training import checkpoint, optim, state
from mets3d.training.ema import Ema
from mets3d.training.job import Job
from mets3d.training.prepare import checkpoint_bytes
from mets3d.training.progress import Progress, Record
from tests.builders.runs import forget_accelerator
from tests.training.test_groups import network


def job_of(config: Config, network: nn.Module | None = None) -> Job:
    """A job of which only these two are asked for."""
    job = object.__new__(Job)
    object.__setattr__(job, "config", config)
    object.__setattr__(job, "network", network)
    return job


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "adamw", "ema": 0.9},
        {"name": "adam", "layer_decay": 0.5},
        {"name": "sgd"},
        {"name": "sgd", "momentum": 0.0, "ema": 0.9},
    ],
)
def test_a_checkpoint_is_as_large_as_expected(tmp_path: Path, settings: dict[str, Any]) -> None:
    config = Config.model_validate({"optim": settings})
    net = network("both", features=16, max_features=64, frozen_cnn_head=True)
    forget_accelerator()
    accelerator = Accelerator(cpu=True)
    try:
        optimizer = optim.build(net, config.optim)
        for parameter in net.parameters():
            parameter.grad = torch.ones_like(parameter)
        optim.step_unless(optimizer, torch.tensor(False), lr=0.01)
        averages = None if config.optim.ema is None else Ema(net, config.optim.ema)
        progress, run = Progress(step=1), RunDir(tmp_path)
        now = state.State(accelerator, net, optimizer, None, averages, progress)
        record = Record(progress, "no", 1, "", {}, averaged_steps=None if averages is None else 0)
        checkpoint.write(run, record, state._learned(now))
    finally:
        forget_accelerator()
    job = job_of(config, net)
    written = sum(file.stat().st_size for file in CheckpointDir(run.checkpoint(1)).path.iterdir())
    # Beside the numbers there are their names, and a page for each tensor in the optimizer's file.
    tensors = sum(1 for _ in net.parameters()) * (1 + config.optim.numbers_kept)
    assert 0 < written - checkpoint_bytes(job) < 1500 * tensors
    assert checkpoint_bytes(job) > 4 * 1500 * tensors, "so that one number too many or too few would show"
