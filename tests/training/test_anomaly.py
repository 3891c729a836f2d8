"""train.debug_non_finite: the first layer of a failed step is named, and the run ends there."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

import train as script
from mets3d.config import load_file
from mets3d.training.failure import TrainingError
from mets3d.training.job import Job
from mets3d.training.loop import fit
from mets3d.training.session import open_session
from tests.builders.poison import poisoned, training_cases
from tests.builders.runs import forget_accelerator, write_config
from tests.builders.warm import launch


@pytest.fixture
def accelerator() -> Iterator[Accelerator]:
    forget_accelerator()
    yield Accelerator(cpu=True)
    forget_accelerator()


def failure_of(folder: Path, store: Path, accelerator: Accelerator, spoil: Callable[[Job], Job | None]) -> str:
    """The message of a run whose job is spoilt."""
    # It ends at the first one: how many in a row would end it changes nothing.
    settings = {"steps": 3, "batch_size": 4, "accumulation": 2, "debug_non_finite": True, "max_skipped": 1}
    config = load_file(write_config(folder, store, model={"mode": "both"}, train=settings))
    job = script.compose(config, accelerator)
    job = spoil(job) or job
    with pytest.raises(TrainingError) as raised, open_session(job, accelerator) as session:
        fit(session)
    assert session.progress.step == 1
    return str(raised.value)


def layer(job: Job) -> nn.Module:
    return job.network.get_submodule("decoder.stages.1.0.conv")


def spoilt_output(job: Job) -> None:
    layer(job).register_forward_hook(lambda _module, _inputs, result: result / 0)


def spoilt_gradient(job: Job) -> None:
    def spoil(_module: nn.Module, _inputs: Any, result: Tensor) -> None:
        result.register_hook(lambda gradient: gradient * torch.inf)  # type: ignore[no-untyped-call]

    layer(job).register_forward_hook(spoil)


def spoilt_parameter(job: Job) -> None:
    job.network.get_parameter("vit.norm.bias").register_hook(lambda gradient: gradient * torch.nan)  # type: ignore[no-untyped-call]


def spoilt_loss(job: Job) -> Job:
    inner = job.loss

    class Spoilt:
        needs_mask_count, needs_ratio, needs_dice_sums = inner.needs_mask_count, inner.needs_ratio, False
        needs_lesions = inner.needs_lesions
        dice_sums, compiled = inner.dice_sums, inner.compiled

        def __call__(self, *arguments: Any) -> Any:
            value = inner(*arguments)
            base = value.base | {"query_bce": value.base["query_bce"] * torch.nan}
            return dataclasses.replace(value, total=value.total * torch.nan, base=base)

    return dataclasses.replace(job, loss=Spoilt())


def spoilt_once(job: Job) -> None:
    calls = iter([torch.nan])
    layer(job).register_forward_hook(lambda _module, _inputs, result: result * next(calls, 1.0))


SPOILT: dict[str, tuple[Callable[[Job], Any], str]] = {
    "output": (spoilt_output, "rank 0: the output of decoder.stages.1.0.conv (Convolution) (BraTS-MET-"),
    "gradient": (spoilt_gradient, "rank 0: the gradient at the output of decoder.stages.1.0.conv (Convolution) ("),
    "parameter": (spoilt_parameter, "rank 0: the gradient of the parameter vit.norm.bias ("),
    "loss": (spoilt_loss, "rank 0: the number loss of the loss ("),
    "once": (spoilt_once, "First not finite: nothing: the second look found all numbers finite"),
}


@pytest.mark.parametrize("where", SPOILT)
def test_the_first_number_that_is_not_finite_is_named(
    tmp_path: Path, phantom_store: Path, accelerator: Accelerator, where: str
) -> None:
    spoil, expected = SPOILT[where]
    message = failure_of(tmp_path, phantom_store, accelerator, spoil)
    assert message.startswith("step 1 was not finite (train.debug_non_finite). First not finite: ")
    assert expected in message


def test_a_bad_image_comes_before_every_layer(tmp_path: Path, phantom_store: Path, accelerator: Accelerator) -> None:
    def spoil(job: Job) -> None:
        original = type(job.samples).__getitem__

        class Bad(type(job.samples)):  # type: ignore[misc]
            def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
                sample = original(self, key)
                return sample | {"image": sample["image"] * torch.inf} if key == (0, 3) else sample

        job.samples.__class__ = Bad

    message = failure_of(tmp_path, phantom_store, accelerator, spoil)
    assert "rank 0: the image (BraTS-MET-" in message


def test_a_finite_run_is_left_alone(tmp_path: Path, phantom_store: Path, accelerator: Accelerator) -> None:
    config = load_file(write_config(tmp_path, phantom_store, train={"steps": 2, "debug_non_finite": True}))
    with open_session(script.compose(config, accelerator), accelerator) as session:
        fit(session)
        assert session.progress.step == 2
        assert not [hook for module in session.network.modules() for hook in module._forward_hooks]


@pytest.mark.slow
@pytest.mark.parametrize("launch_file", ["cpu_ddp", "fsdp2"])
def test_the_process_that_has_it_is_named_by_several(tmp_path: Path, phantom_store: Path, launch_file: str) -> None:
    bad = training_cases(phantom_store)[1]
    settings = {"steps": 20, "batch_size": 4, "accumulation": 2, "debug_non_finite": True}
    store = poisoned(phantom_store, tmp_path, bad, float("nan"))
    config = write_config(tmp_path, store, model={"mode": "both"}, train=settings)
    done = launch("train.py", "--config", str(config), launch_file=launch_file)
    assert done.returncode == 1, done.stderr
    (said,) = (line for line in done.stderr.splitlines() if line.startswith("train.py: "))
    assert re.search(rf"First not finite: (.*; )?rank \d: the image \([^)]*{bad}", said), said
    sample = rf"step (\d+) skipped.*{bad} from voxel \([\d, -]+\) \(sample \d, rank (\d)\)"
    step, rank = re.findall(sample, done.stdout)[0]
    assert f"step {step} was not finite" in said
    assert f"rank {rank}: the image" in said
