"""Finds the smallest accumulation at which the global batch fits into memory, by trying: `--find-accumulation`.

It runs in one process and writes nothing. Each try makes two steps as the training does, those at the end of the
curves, where a boundary term has its full weight; the second step has the optimizer's state beside it. The need falls
with the accumulation: the search begins at the largest and ends at the first that does not fit.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mets3d.console import is_main_process
from mets3d.training.memory import is_out_of_memory

if TYPE_CHECKING:
    from accelerate import Accelerator

    from mets3d.training.job import Job

WORD = "--find-accumulation"
# Share of the memory that a try may take: other batches have more lesions, and an allocator loses some between pieces.
SHARE = 0.95


def asked(words: Sequence[str]) -> tuple[list[str], int | None]:
    """Takes `--find-accumulation[=PROCESSES]` out of a command line; returns the rest and, if it was there, PROCESSES.

    Ends the process with one message and exit code 2 for a number of processes that is none.
    """
    found = [word for word in words if word.partition("=")[0] == WORD]
    if not found:
        return list(words), None
    number = found[-1].partition("=")[2] or "1"
    if not number.isdecimal() or int(number) < 1:
        if is_main_process():
            print(f"{WORD}={number}: expected the training's number of processes, 1 or more", file=sys.stderr)
        raise SystemExit(2)
    return [word for word in words if word not in found], int(number)


def find(job: Job, accelerator: Accelerator, processes: int) -> int:
    """Prints the smallest accumulation that fits for a training of so many processes, as an override.

    Returns the exit code: 1 if not even one sample a step fits. Raises ValueError with several processes here, and for
    a batch that so many processes cannot share.
    """
    from mets3d.training import room

    share, rest = divmod(job.config.train.batch_size, processes)
    if accelerator.num_processes > 1:
        raise ValueError(f"{WORD} tries in one process: launch it as cpu or single_gpu, with {WORD}=PROCESSES")
    if rest:
        raise ValueError(f"train.batch_size {job.config.train.batch_size} cannot be shared by {processes} processes")
    device = accelerator.device
    limit, tried = SHARE * room.available(device), [(0, room.in_use(device))]
    for size in (size for size in range(1, share + 1) if share % size == 0):
        line = f"train.accumulation={share // size}:"
        if device.type != "cuda" and (need := _expected(tried, size)) > limit:
            # The system would end this process, or another one.
            print(f"{line} needs about {need / 1e9:.1f} GB of {limit / 1e9:.1f} GB, not tried", flush=True)
            break
        peak = _peak(job, accelerator, processes, share // size)
        if peak is None or peak > limit:
            print(f"{line} does not fit into {limit / 1e9:.1f} GB", flush=True)
            break
        print(f"{line} fits, {peak / 1e9:.2f} GB of {limit / 1e9:.1f} GB", flush=True)
        tried.append((size, peak))
    if len(tried) == 1:
        print(f"{WORD}: one sample a step does not fit; lower data.patch or model.features", file=sys.stderr)
        return 1
    print(f"--train.accumulation={share // tried[-1][0]}")
    return 0


def _expected(tried: Sequence[tuple[int, float]], size: int) -> float:
    """Returns the bytes that a micro-batch of `size` needs, on the straight line through the two last tries."""
    if len(tried) == 1:
        return 0.0
    (small, less), (large, more) = tried[-2:]
    return more + (more - less) / (large - small) * (size - large)


def _peak(job: Job, accelerator: Accelerator, processes: int, accumulation: int) -> float | None:
    """Returns the largest number of bytes in use during two steps; None where memory ran out."""
    from mets3d.training import room

    try:
        room.forget_peak(accelerator.device)
        _try(job, accelerator, processes, accumulation)
        return room.peak(accelerator.device)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return None
    finally:
        job.network.zero_grad(set_to_none=True)
        accelerator.free_memory()
        gc.collect()


def _try(job: Job, accelerator: Accelerator, processes: int, accumulation: int) -> None:
    """Makes two steps on the share of one of `processes` processes."""
    from mets3d.data.loader import batches
    from mets3d.training import optim
    from mets3d.training.balance import balance_of
    from mets3d.training.ema import averages
    from mets3d.training.progress import Progress
    from mets3d.training.readback import Readback
    from mets3d.training.session import Session
    from mets3d.training.step import train_step
    from mets3d.training.stop import StopWish
    from mets3d.training.together import StepBoundary
    from mets3d.training.track.tracker import Tracker
    from mets3d.training.tuned import tuned

    train = job.config.train.model_copy(update={"accumulation": accumulation})
    job = replace(job, config=job.config.model_copy(update={"train": train}))
    optimizer = optim.build(job.network, job.config.optim)
    job, network = tuned(job)
    network, optimizer = accelerator.prepare(network, optimizer)
    balance = balance_of(job.config.loss, accelerator.device) if job.loss.needs_ratio else None
    tracker = Tracker(job.config, accelerator, job.run, step=0, silent=True)
    boundary, readback, ema = StepBoundary(accelerator), Readback(lag=0), averages(job)
    session = Session(
        job, accelerator, network, optimizer, Progress(), tracker, StopWish(), boundary, readback, balance, ema
    )
    last = train.curve_steps - 1
    for step in (max(last - 1, 0), last):
        [micro_batches] = batches(
            job.samples,
            steps=range(step, step + 1),
            batch_size=train.batch_size,
            processes=processes,
            accumulation=accumulation,
        )
        train_step(session, step, micro_batches)["loss"].item()
