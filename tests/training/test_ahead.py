"""The next batch is on its way while this one is computed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from mets3d.data import loader
from mets3d.data.loader import Batch
from mets3d.data.workers import fetched
from mets3d.rundir import RunDir
from mets3d.training.ahead import on_device, one_ahead
from tests.builders.runs import train, write_config


def watched(log: list[str], steps: int, *, broken: int | None = None) -> Iterator[int]:
    """Steps that note when each is loaded, begun and handed over."""

    def loaded() -> Iterator[int]:
        for step in range(steps):
            log.append(f"load {step}")
            if step == broken:
                raise OSError(f"step {step} cannot be loaded")
            yield step

    def begin(step: int) -> Callable[[], int]:
        log.append(f"copy {step}")
        return lambda: step

    return one_ahead(loaded(), begin)


def test_the_copy_of_a_step_begins_before_the_step_before_it() -> None:
    log: list[str] = []
    for step in watched(log, 3):
        log.append(f"step {step}")
    assert log == ["load 0", "copy 0", "load 1", "copy 1", "step 0", "load 2", "copy 2", "step 1", "step 2"]
    assert list(watched([], 0)) == []


def test_an_error_of_the_loader_comes_where_its_step_is_due() -> None:
    log: list[str] = []
    steps = watched(log, 5, broken=2)
    assert [next(steps), next(steps)] == [0, 1]
    with pytest.raises(OSError, match="step 2 cannot be loaded"):
        next(steps)
    assert list(steps) == []
    with pytest.raises(OSError, match="step 0"):
        next(watched([], 1, broken=0))


def test_without_a_gpu_batches_stay_where_they_are() -> None:
    steps = iter([[batch(0)], [batch(1)]])
    assert on_device(steps, torch.device("cpu")) is steps


def test_one_set_of_workers_serves_a_run_with_its_validations_and_checkpoints(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted where they are started; `tests/data/test_workers.py` has the processes themselves."""
    started: list[tuple[int, list[int]]] = []

    def counted(
        make: Callable[[Any], Any], orders: Sequence[Any], *, workers: int, pin_memory: bool = False
    ) -> Generator[Any, None, None]:
        started.append((workers, [keys[0][0] for keys in orders]))
        return fetched(make, orders, workers=0, pin_memory=pin_memory)

    monkeypatch.setattr(loader, "fetched", counted)
    config = write_config(
        tmp_path,
        phantom_store,
        data={"workers": 2},
        train={"steps": 3, "schedule_steps": 5, "checkpoint_every": 1},
        validate={"every": 1, "cases": 1},
    )
    assert train(config) == 0
    assert started == [(2, [0, 1, 2])]
    run = RunDir(tmp_path / "runs" / "run")
    assert sum(row["kind"] == "validation" for row in run.read_metrics()) == 3
    assert train(config, "--train.steps=5") == 0
    assert started[1:] == [(2, [3, 4])], "a resumed run starts its own, at its step"
    assert train(config, "--train.steps=5") == 0
    assert started[2:] == [(0, [])], "a finished one starts none"


def batch(number: int, size: int = 8, *, pinned: bool = False) -> Batch:
    image = torch.full((4, size, size, size), float(number), dtype=torch.float16)
    labels = torch.full((size, size, size), number, dtype=torch.uint8)
    made = Batch([(number, 0)], (image,), (labels,), [None], ["case"], [(0, 0, 0)], [(1.0, 1.0, 1.0)])
    return made.pin_memory() if pinned else made


@pytest.mark.gpu
def test_the_copy_runs_beside_the_kernels_and_the_host_waits_for_neither() -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    steps = on_device(iter([[batch(number, 64, pinned=True)] for number in range(4)]), device)
    torch.cuda._sleep(1)  # the first one loads the kernel
    torch.cuda.synchronize()
    sums = []
    torch.cuda.set_sync_debug_mode("error")
    try:
        for number in range(3):
            # Kernels of the step before are still at work when this batch is asked for.
            torch.cuda._sleep(1_000_000_000)
            busy = torch.cuda.current_stream(device).record_event()
            (one,) = next(steps)
            assert not busy.query(), "asking for a batch waits for no kernel"
            assert one.image[0].device == device
            sums.append(one.image[0].float().mean())
            assert one.keys == [(number, 0)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.stack(sums).tolist() == [0.0, 1.0, 2.0]


@pytest.mark.gpu
def test_a_copy_is_over_while_the_kernels_of_the_step_before_are_not() -> None:
    from torch.profiler import ProfilerActivity, profile

    device = torch.device("cuda", torch.cuda.current_device())
    steps = on_device(iter([[batch(number, 64, pinned=True)] for number in range(4)]), device)
    next(steps)
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as tracer:
        torch.cuda._sleep(1_000_000_000)
        next(steps)  # begins the copy of the step after it
        torch.cuda.synchronize()
    events = [event for event in tracer.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    copies = [event.time_range for event in events if "HtoD" in event.name]
    (kernel,) = [event.time_range for event in events if "spin" in event.name]
    assert copies
    assert all(kernel.start < copy.start and copy.end < kernel.end for copy in copies), "they ran at the same time"


@pytest.mark.gpu
def test_memory_of_a_batch_is_not_used_again_while_a_kernel_reads_it() -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    steps = on_device(iter([[batch(number, 64, pinned=True)] for number in range(12)]), device)
    means = []
    for _ in range(12):
        (one,) = next(steps)
        torch.cuda._sleep(20_000_000)  # the batch is let go of long before it is read
        means.append(one.image[0].float().mean())
        del one
    assert torch.stack(means).tolist() == [float(number) for number in range(12)]


@pytest.mark.gpu
def test_a_training_copies_its_images_beside_its_kernels(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ACCELERATE_USE_CPU")
    config = write_config(
        tmp_path, phantom_store, train={"steps": 8, "checkpoint_every": 9}, validate={"every": 9}, track={"profile": 3}
    )
    assert train(config) == 0
    with gzip.open(RunDir(tmp_path / "runs" / "run").profile / "trace.json.gz") as file:
        events = json.load(file)["traceEvents"]
    kernels = {event["args"]["stream"] for event in events if event.get("cat") == "kernel"}
    image = 4 * 16**3 * 2  # bytes of a sample
    copies = [event["args"] for event in events if event.get("cat") == "gpu_memcpy" and "HtoD" in event["name"]]
    streams = {one["stream"] for one in copies if one["bytes"] >= image}
    assert streams
    assert streams.isdisjoint(kernels)
