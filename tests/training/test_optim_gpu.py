"""Optimizer, groups and averages on a CUDA device: steps that wait for nothing, and resume to the bit."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mets3d.config import Optim
from mets3d.rundir import CheckpointDir, RunDir
from mets3d.training import optim
from mets3d.training.ema import Ema
from tests.builders.runs import train, write_config
from tests.training.test_groups import network

pytestmark = pytest.mark.gpu

LAYERED: dict[str, Any] = {"layer_decay": 0.7, "ema": 0.9}


@pytest.fixture(autouse=True)
def on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACCELERATE_USE_CPU")


def moved(device: str, settings: dict[str, Any]) -> list[dict[str, torch.Tensor]]:
    """Weights and averages after five steps with given gradients, of which the third is skipped."""
    torch.manual_seed(0)
    net = network("both").to(device)
    optimizer, averages = optim.build(net, Optim(**settings)), Ema(net, 0.9)
    for step in range(5):
        generator = torch.Generator().manual_seed(step)
        for parameter in net.parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.grad = (drawn * (math.nan if step == 2 else 1)).to(device)
        skip = torch.full((), step == 2, device=device)
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("error")
        try:
            optim.step_unless(optimizer, skip, 0.01 / (step + 1))
            averages.update(skip)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    own = {name: tensor.detach().cpu().clone() for name, tensor in net.state_dict().items()}
    with averages.in_place():
        return [own, {name: tensor.detach().cpu().clone() for name, tensor in net.state_dict().items()}]


@pytest.mark.parametrize(
    "settings",
    [
        {"name": "adamw", "layer_decay": 0.7},
        {"name": "adam", "weight_decay": 0.01, "betas": (0.8, 0.95)},
        {"name": "sgd", "momentum": 0.9, "layer_decay": 0.7, "weight_decay": 0.01},
        {"name": "sgd", "momentum": 0.0},
    ],
)
def test_steps_and_averages_equal_the_cpus_and_wait_for_nothing(settings: dict[str, Any]) -> None:
    for here, there in zip(moved("cuda", settings), moved("cpu", settings), strict=True):
        for name, tensor in here.items():
            torch.testing.assert_close(tensor, there[name], rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("settings", [LAYERED, {"name": "adam", **LAYERED}, {"name": "sgd", "lr": 0.001, **LAYERED}])
def test_a_training_step_with_them_never_waits(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], precision: str
) -> None:
    from mets3d.training import loop

    original = loop.train_step

    def watched(*arguments: object) -> object:
        # Under fp16 the loss scaler reads one flag a step on the host; all else may not.
        torch.cuda.set_sync_debug_mode("error" if precision == "bf16" else "default")
        try:
            return original(*arguments)  # type: ignore[arg-type]
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(loop, "train_step", watched)
    config = write_config(
        tmp_path, phantom_store, precision=precision, model={"mode": "encoder"}, optim={"warmup_steps": 0, **settings}
    )
    assert train(config) == 0
    folder = CheckpointDir(RunDir(tmp_path / "runs" / "run").checkpoint(4))
    weights, averaged = load_file(folder.weights), load_file(folder.averaged)
    assert all(tensor.isfinite().all() for tensor in (*weights.values(), *averaged.values()))
    assert any(not torch.equal(tensor, averaged[name]) for name, tensor in weights.items())


@pytest.mark.parametrize("channels_last", [False, True])
def test_resumed_with_averages_and_layers_equals_uninterrupted(
    tmp_path: Path, phantom_store: Path, channels_last: bool
) -> None:
    config = write_config(
        tmp_path,
        phantom_store,
        precision="bf16",
        model={"mode": "both"},
        optim={"name": "adam", **LAYERED},
        train={"steps": 4, "checkpoint_every": 2, "deterministic": True, "channels_last": channels_last},
    )
    assert train(config, "--name=whole") == 0
    whole = RunDir(tmp_path / "runs" / "whole")
    cut = RunDir(shutil.copytree(whole.path, tmp_path / "runs" / "cut"))
    shutil.rmtree(cut.checkpoint(4))
    cut.weights.unlink()
    assert train(config, "--name=cut") == 0
    for one, other in [(whole.weights, cut.weights)] + [
        (getattr(CheckpointDir(whole.checkpoint(4)), file), getattr(CheckpointDir(cut.checkpoint(4)), file))
        for file in ("weights", "averaged")
    ]:
        found = load_file(other)
        assert all(torch.equal(tensor, found[name]) for name, tensor in load_file(one).items()), one
