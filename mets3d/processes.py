"""Starts worker processes that a stop does not reach and that end with this process.

Launchers, terminals and schedulers signal whole process groups. What a signal means is for the parent to decide.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

# The signals by which a training is asked to stop; Windows has two of them.
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
)
PR_SET_PDEATHSIG = 1  # linux/prctl.h

RunAll = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def worker_processes(jobs: int) -> Iterator[RunAll]:
    """Yields a `map` over that many processes, the plain `map` for one; results come in order.

    When the block is left by an exception, such as KeyboardInterrupt, the workers are ended at once. The work and its
    items must be picklable.
    """
    if jobs <= 1:
        yield map
        return
    with _pool(jobs) as pool:

        def run_all(work: Callable[[Any], Any], items: Sequence[Any]) -> Iterable[Any]:
            with signals_held(signal.SIGINT):
                return pool.map(work, items)

        yield run_all


@dataclass(frozen=True)
class WorkerLost:
    """Stands for the result of an item that was in hand, with others, when a worker was lost; `reason` says by what."""

    reason: str
    in_hand: tuple[Any, ...]


class LostError(OSError):
    """Work that ends because a worker was lost."""

    exit_code = 1


def each_done(
    work: Callable[[Any], Any], items: Iterable[Any], jobs: int, *, apart: bool = False
) -> Generator[tuple[Any, Any]]:
    """Yields every item with its result as soon as it is done, from that many processes; from this one for one job.

    apart: one job, too, has a process of its own. When a worker is lost, as to a system without memory, the items in
    hand have a `WorkerLost` for a result, and half as many workers go on with the rest. The work and its items must be
    picklable. What the work raises ends all of it; close the iterator to end it early.
    """
    if jobs <= 1 and not apart:
        for item in items:
            yield item, work(item)
        return
    left = deque(items)
    while left:
        yield from _done_until_lost(work, left, jobs)
        jobs = max(1, jobs // 2)


def _done_until_lost(work: Callable[[Any], Any], left: deque[Any], jobs: int) -> Iterator[tuple[Any, Any]]:
    """Takes items from the left, never more than the workers have in hand, so that it is known whose work is lost."""
    from concurrent.futures import FIRST_COMPLETED, Future, wait
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import active_children

    earlier = active_children()
    workers: set[Any] = set()
    in_hand: dict[Future[Any], Any] = {}
    with _pool(min(jobs, len(left))) as pool:
        broken = False
        while in_hand or (left and not broken):
            try:
                while left and len(in_hand) < jobs and not broken:
                    with signals_held(signal.SIGINT):
                        in_hand[pool.submit(work, left[0])] = left[0]
                    left.popleft()
            except BrokenProcessPool:
                broken = True
            workers.update(child for child in active_children() if child not in earlier)
            for future in wait(in_hand, return_when=FIRST_COMPLETED).done if in_hand else ():
                if isinstance(future.exception(), BrokenProcessPool):
                    broken = True
                else:
                    yield in_hand.pop(future), future.result()
            if broken:
                break
        for future in wait(in_hand).done:
            if not isinstance(future.exception(), BrokenProcessPool):
                yield in_hand.pop(future), future.result()
    # Now that the pool is closed its own thread has waited for the workers; waiting beside it is a race that hangs.
    items = tuple(in_hand.values())
    yield from ((item, WorkerLost(_by_what(workers), items)) for item in items)


def _by_what(workers: Iterable[Any]) -> str:
    """Says by what a worker was lost; the pool itself ends the others by SIGTERM."""
    codes = [worker.exitcode for worker in workers if worker.exitcode not in (None, 0, -signal.SIGTERM)]
    if -getattr(signal, "SIGKILL", 0) in codes:
        return "a worker process was killed, most likely by the system because memory ran out"
    return f"a worker process ended with exit code {codes[0]}" if codes else "a worker process was ended from outside"


@contextmanager
def _pool(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Yields a pool whose workers end at once when the block is left by an exception."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import active_children, get_context

    earlier = active_children()
    # Spawned: a fork would copy the locks of threads that numerical libraries run.
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_begin)
    try:
        yield pool
    except BaseException:
        for worker in active_children():
            if worker not in earlier:
                worker.terminate()
        # The pool's own thread waits for the workers. Waiting beside it, or leaving before it, is a race that hangs.
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


@contextmanager
def signals_held(*numbers: int) -> Iterator[None]:
    """Delays these signals until the block ends. Processes started in it never receive one, not even while they import.

    What is started with SIGTERM held can be ended by `kill()` alone: `terminate()` sends just that.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def signal_at_death_of_parent(number: int) -> bool:
    """Has Linux send this process a signal when its parent dies; returns whether the parent still lives.

    To the kernel the parent is the thread that started this process. Elsewhere than on Linux nothing is set.
    """
    if sys.platform != "linux":
        return True
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    return os.getppid() == parent  # another one: it died before the call, so no signal will come


def end_with_parent() -> None:
    """Makes this worker end when its parent does, however that ends."""
    import threading

    if not signal_at_death_of_parent(getattr(signal, "SIGKILL", signal.SIGTERM)):
        os._exit(1)
    threading.Thread(target=_watch_parent, daemon=True).start()


def _begin() -> None:
    """Prepares a worker of the pool: Ctrl-C is for the parent alone, and the parent's end is the worker's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _watch_parent() -> None:
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
