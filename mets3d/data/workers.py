"""Fetches batches in this process or in workers, and says what happened when a worker is lost or a file is gone."""

from __future__ import annotations

import math
import multiprocessing
import shutil
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, resource_tracker
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from mets3d.data import DataError
from mets3d.processes import STOP_SIGNALS, end_with_parent, signals_held

SHARED_MEMORY = Path("/dev/shm")  # where workers put their batches, on Linux
PREFETCH = 2  # batches that a worker makes ahead
SECONDS_TO_DIE = 5.0
MORE_SHARED_MEMORY = "Start the container with --ipc=host or a larger --shm-size, or set data.workers=0"
MEGABYTE = 1_000_000


def fetched(
    make: Callable[[Any], Any], orders: Sequence[Any], *, workers: int, pin_memory: bool = False
) -> Generator[Any, None, None]:
    """Yields `make(order)` for each order, made ahead by worker processes; with 0 workers made here.

    A batch has the methods `share_memory` and `pin_memory`. Workers ignore every signal that stops a training, and end
    with this process.
    Raises DataError where a batch could not be made by a worker or a worker was lost; without workers whatever `make`
    raises.
    """
    if not workers:
        for made in map(make, orders):
            yield made.pin_memory() if pin_memory else made
        return
    loader: DataLoader[Any] = DataLoader(
        _Making(make),
        batch_sampler=[[order] for order in orders],
        collate_fn=_only,
        num_workers=workers,
        pin_memory=pin_memory,
        prefetch_factor=PREFETCH,
        # A forked worker would inherit the threads' locks of numba and OpenMP and can hang.
        multiprocessing_context="spawn",
        worker_init_fn=_begin,
    )
    earlier = multiprocessing.active_children()
    with signals_held(*STOP_SIGNALS):
        resource_tracker.ensure_running()  # by itself, because its start lets SIGINT and SIGTERM through again
    # torch would raise in the middle of whatever the training does when a worker dies; `next` finds out as well.
    with signals_held(*STOP_SIGNALS), _handler_kept(getattr(signal, "SIGCHLD", None)):
        batches = iter(loader)
    started = [worker for worker in multiprocessing.active_children() if worker not in earlier]
    try:
        for _ in orders:
            yield _next(batches, started)
    finally:
        del batches
        for worker in started:
            worker.kill()  # one that hangs in a file system, and ignores what torch sends


def room(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Returns a tensor whose values are not set; in a worker it lies where the training can read it.

    What is written there is handed over without a copy.
    """
    if get_worker_info() is None:
        return torch.empty(tuple(shape), dtype=dtype)
    # As torch's own collate does it; there is no public way to new shared memory that is not written to twice.
    storage: torch.UntypedStorage = torch.UntypedStorage._new_shared(math.prod(shape) * dtype.itemsize)
    return torch.empty(0, dtype=dtype).set_(storage).view(tuple(shape))


def check_shared_memory(bytes_per_batch: int, *, workers: int, held: int, processes: int = 1) -> None:
    """Raises DataError where the shared memory is too small for the batches that are made ahead.

    held: batches that the training holds at a time. processes: trainings that share this host's memory.
    """
    if not workers or not SHARED_MEMORY.is_dir():
        return
    needed = bytes_per_batch * (PREFETCH * workers + held) * processes
    free = shutil.disk_usage(SHARED_MEMORY).free
    if needed > free:
        of_processes = f"{processes} processes of " if processes > 1 else ""
        raise DataError(
            f"{SHARED_MEMORY} has {free / MEGABYTE:.0f} MB free, and {of_processes}data.workers {workers} need "
            f"{needed / MEGABYTE:.0f} MB for batches of {bytes_per_batch / MEGABYTE:.0f} MB made ahead. Start the "
            f"container with --ipc=host or --shm-size={needed * 2 // 10**9 + 1}g, or set data.workers=0"
        )


@dataclass
class _Failure:
    """The text of an exception in a worker, in the place of the batch."""

    text: str

    def pin_memory(self) -> _Failure:
        return self


@dataclass
class _Making(Dataset[Any]):
    """The data set of a loader whose indices are orders."""

    make: Callable[[Any], Any]

    def __getitem__(self, order: Any) -> Any:
        try:
            # Shared here, a full /dev/shm is an error like any other; in the queue's thread it would be lost.
            return self.make(order).share_memory()
        except (DataError, OSError) as error:
            return _Failure(str(error))
        except Exception as error:
            if "No space left" in str(error) or "shared memory" in str(error):
                return _Failure(f"{SHARED_MEMORY} is full: {error}. {MORE_SHARED_MEMORY}")
            return _Failure(f"a loader worker failed:\n{traceback.format_exc().rstrip()}")


def _only(items: list[Any]) -> Any:
    return items[0]


def _begin(_number: int) -> None:
    for number in STOP_SIGNALS:  # held since the start; torch sets a handler of its own, which prints
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()


def _next(batches: Iterator[Any], workers: Sequence[Any]) -> Any:
    try:
        batch = next(batches)
    except (RuntimeError, OSError, EOFError) as error:
        # A connection to a worker breaks, and its sentinel closes, before the system says that the worker is dead.
        gone = connection.wait([worker.sentinel for worker in workers], timeout=SECONDS_TO_DIE)
        for worker in workers:
            if worker.sentinel in gone:
                worker.join(SECONDS_TO_DIE)
        raise DataError(_lost(workers) or f"the loader's workers cannot be reached: {error}") from None
    if isinstance(batch, _Failure):
        raise DataError(batch.text)
    return batch


def _lost(workers: Sequence[Any]) -> str | None:
    """Says by what a worker ended; None if all of them live."""
    codes = [worker.exitcode for worker in workers if worker.exitcode is not None]
    if not codes:
        return None
    causes = {
        -signal.SIGKILL: "killed, most likely by the system because memory ran out; lower data.workers, or give the "
        "job more memory",
        -signal.SIGBUS: f"ended by a bus error: {SHARED_MEMORY} is full or a file of the store cannot be read. "
        f"{MORE_SHARED_MEMORY}",
    }
    return f"a loader worker was {causes.get(codes[0], f'lost with exit code {codes[0]}; see what it printed above')}"


@contextmanager
def _handler_kept(number: int | None) -> Iterator[None]:
    """Restores a signal's handler at the end of the block."""
    if number is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(number)
    try:
        yield
    finally:
        signal.signal(number, before)
