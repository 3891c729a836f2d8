"""Memory that runs out: recognised, one message, and the steps made are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mets3d.rundir import RunDir
from mets3d.training import loop
from mets3d.training.ema import Ema
from mets3d.training.failure import message_of
from mets3d.training.memory import is_out_of_memory
from mets3d.training.validation import HeldOutCases
from tests.builders.runs import train, write_config

CPU = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"
)


def test_what_allocators_raise_is_recognised() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert is_out_of_memory(caught.value), "PyTorch's own, on a CPU"
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_the_message_is_one_line_and_names_what_to_lower() -> None:
    text = message_of(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has\na total"))
    assert text.count("\n") == 0
    assert text.startswith("the device's memory ran out (CUDA out of memory)")
    for name in (
        *("train.accumulation", "--find-accumulation", "train.recompute", "data.workers", "bf16", "data.patch"),
        *("model.features", "predict.window_batch", "hausdorff_erosion"),
    ):
        assert name in text


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError(CPU), MemoryError()])
def test_a_step_without_memory_leaves_a_checkpoint_of_those_before(
    tmp_path: Path,
    phantom_store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
) -> None:
    original = loop.train_step

    def short_of_memory(session: Any, step: int, micro_batches: Any) -> Any:
        if step == 3:
            raise error
        return original(session, step, micro_batches)

    monkeypatch.setattr(loop, "train_step", short_of_memory)
    config = write_config(tmp_path, phantom_store, train={"checkpoint_every": 100, "steps": 5}, validate={"every": 100})
    assert train(config) == 1
    assert RunDir(tmp_path / "runs" / "run").checkpoint_steps() == [3]
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(("train.py: memory ran out", "train.py: the device's memory ran out"))
    assert said.count("memory ran out") == 1
    monkeypatch.undo()
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert train(config) == 0, "the same command goes on"


def test_an_update_without_memory_leaves_no_checkpoint_of_its_step(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = Ema.update
    steps: list[int] = []

    def short_of_memory(averages: Ema, skipped: torch.Tensor) -> None:
        steps.append(len(steps))
        if len(steps) == 3:  # the weights have moved, the averages have not
            raise torch.OutOfMemoryError("CUDA out of memory")
        original(averages, skipped)

    monkeypatch.setattr(Ema, "update", short_of_memory)
    config = write_config(tmp_path, phantom_store, optim={"ema": 0.9}, train={"checkpoint_every": 100})
    assert train(config) == 1
    assert RunDir(tmp_path / "runs" / "run").checkpoint_steps() == [], "not one of weights that have half moved"
    assert capsys.readouterr().err.startswith("train.py: the device's memory ran out")


def test_a_validation_without_memory_leaves_a_checkpoint(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def short_of_memory(*_: object) -> None:
        raise RuntimeError(CPU)

    monkeypatch.setattr(HeldOutCases, "_scores", short_of_memory)
    config = write_config(tmp_path, phantom_store, train={"checkpoint_every": 100}, validate={"every": 2})
    assert train(config) == 1
    assert RunDir(tmp_path / "runs" / "run").checkpoint_steps() == [2]
    assert capsys.readouterr().err.startswith("train.py: memory ran out")
