"""How often the host waits for the device in a training step, counted on a device that is pretended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor

import train as script
from mets3d.config import load_file
from mets3d.data.loader import batches
from mets3d.settings.augment import INTENSITIES, MOVEMENTS
from mets3d.settings.loss import BoundaryName
from mets3d.training import optim
from mets3d.training.balance import balance_of
from mets3d.training.ema import averages
from mets3d.training.session import Session
from mets3d.training.step import train_step
from tests.builders.pretended import DEVICE, OnDevice, moved, pretended_device
from tests.builders.runs import forget_accelerator, write_config

VALUES, MASK = torch.arange(6.0).view(2, 3), torch.tensor([[True, False, True], [True, True, False]])

# One for each way to make the host wait; those that PyTorch refuses for such a tensor cannot be missed either.
WAITS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "item": lambda x, mask: x.sum().item(),
    "float": lambda x, mask: float(x.sum()),
    "int": lambda x, mask: int(x.sum()),
    "bool": lambda x, mask: bool(mask.any()),
    "a branch": lambda x, mask: 1 if mask.any() else 0,
    "an index of Python": lambda x, mask: [1, 2, 3][mask.sum() // 4],
    "is_nonzero": lambda x, mask: torch.is_nonzero(x.sum()),
    "cpu": lambda x, mask: x.cpu(),
    "to": lambda x, mask: x.to("cpu", non_blocking=True),
    "copy_": lambda x, mask: torch.zeros(2, 3).copy_(x),
    "nonzero": lambda x, mask: mask.nonzero(),
    "where": lambda x, mask: torch.where(mask),
    "masked_select": lambda x, mask: x.masked_select(mask),
    "indexing with a mask": lambda x, mask: x[mask],
    "writing through a mask": lambda x, mask: x.clone().__setitem__(mask, 0.0),
    "equal": lambda x, mask: torch.equal(x, x),
    "allclose": lambda x, mask: torch.allclose(x, x),
    "unique": lambda x, mask: x.unique(),
    "bincount": lambda x, mask: x.long().flatten().bincount(),
    "one_hot": lambda x, mask: F.one_hot(x.long()),
    "repeat_interleave": lambda x, mask: x.flatten().repeat_interleave(x.flatten().long()),
    "segment_reduce": lambda x, mask: torch.segment_reduce(x[0], "sum", lengths=x.long()[0]),
    "a copy that blocks": lambda x, mask: torch.ones(2).to(x.device),
}
REFUSED: dict[str, Callable[[Tensor], Any]] = {
    "tolist": lambda x: x.tolist(),
    "numpy": lambda x: x.numpy(),
    "tensor": lambda x: torch.tensor([1.0], device=x.device),
}


@pytest.mark.parametrize("way", WAITS)
def test_every_way_to_wait_is_counted(way: str) -> None:
    with pretended_device() as waits:
        WAITS[way](OnDevice(VALUES), OnDevice(MASK))
    assert len(waits) == 1


@pytest.mark.parametrize("way", REFUSED)
def test_what_would_pass_uncounted_is_an_error(way: str) -> None:
    with pretended_device(), pytest.raises((RuntimeError, NotImplementedError)):
        REFUSED[way](OnDevice(VALUES))


def test_computing_is_not_waiting() -> None:
    with pretended_device() as waits:
        x, host = OnDevice(VALUES.clone().requires_grad_()), torch.ones(3)
        result = (torch.where(OnDevice(MASK), x * 2, 0).softmax(-1) + host.to(x.device, non_blocking=True)).mean()
        result = result + torch.zeros((), device=x.device)
    assert waits == []
    assert isinstance(result, OnDevice)
    expected = (torch.where(MASK, VALUES * 2, 0).softmax(-1) + 1).mean()
    assert torch.equal(result.host, expected)


# ---------------------------------------------------------------- a training step


def step_on_device(folder: Path, store: Path, monkeypatch: pytest.MonkeyPatch, **sections: Any) -> list[str]:
    """Makes a step of two micro-batches on the pretended device and returns for what the host waited."""
    train = {"batch_size": 4, "accumulation": 2}
    config = load_file(write_config(folder, store, train=train, **sections))
    forget_accelerator()
    accelerator = Accelerator(cpu=True)
    try:
        job = script.compose(config, accelerator)
        with pretended_device() as waits:
            network = moved(job.network)
            monkeypatch.setattr(accelerator.state, "device", DEVICE)
            optimizer = optim.build(network, config.optim)
            balance = balance_of(config.loss, DEVICE) if job.loss.needs_ratio else None
            session = object.__new__(Session)  # without a run directory
            session.job, session.accelerator, session.network = job, accelerator, network
            session.optimizer, session.balance, session.ema = optimizer, balance, averages(job)
            (micro_batches,) = batches(job.samples, steps=range(1, 2), batch_size=4, accumulation=2)
            before = [parameter.host.clone() for parameter in network.parameters()]  # type: ignore[attr-defined]
            waits.clear()
            numbers = train_step(session, 1, micro_batches)
        after = [parameter.host for parameter in network.parameters()]  # type: ignore[attr-defined]
        assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
        assert torch.isfinite(numbers["loss"].host)  # type: ignore[attr-defined]
    finally:
        forget_accelerator()
    return waits


@pytest.mark.parametrize("loss", [{}, {"query_points": 8}, {"boundary": "hausdorff_distance"}, {"batch_dice": True}])
@pytest.mark.parametrize("mode", ["cnn", "encoder", "decoder", "both"])
def test_the_host_waits_once_a_micro_batch_with_queries_and_never_without(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch, mode: str, loss: dict[str, Any]
) -> None:
    model = {"mode": mode, "vit_dropout": 0.1, "dropout": 0.1, "deep_heads": 1}
    loss = loss | {"boundary_ramp": [0.0, 0.0]}
    optim = {"name": "adam", "layer_decay": 0.7, "ema": 0.9} if "query_points" in loss else {}
    waits = step_on_device(tmp_path, phantom_store, monkeypatch, model=model, loss=loss, optim=optim)
    assert waits == (["copy to the host"] * 2 if mode in ("decoder", "both") else [])


@pytest.mark.parametrize("boundary", [*get_args(BoundaryName), "hausdorff_distance+blob"])
def test_no_boundary_term_waits(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch, boundary: str
) -> None:
    loss = {"boundary": boundary, "boundary_ramp": [0.0, 0.0], "boundary_schedule": "gradient"}
    waits = step_on_device(tmp_path, phantom_store, monkeypatch, loss=loss)
    assert waits == []


def test_no_change_of_augmentation_waits(tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Noise is drawn by a generator of the device, which is not there.
    always = dict.fromkeys((*MOVEMENTS, *INTENSITIES), 1.0) | {"noise": 0.0, "sequence_dropout": 0.5}
    assert step_on_device(tmp_path, phantom_store, monkeypatch, augment=always) == []
