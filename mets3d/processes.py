"""Starts worker processes that a stop does not reach and that end with this process.

Launchers, terminals and schedulers signal whole process groups. What a signal means is for the parent to decide.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

# The signals by which a training is asked to stop; Windows has two of them.
STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
)
PR_SET_PDEATHSIG = 1  # linux/prctl.h

RunAll = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]


@contextmanager
def worker_processes(jobs: int) -> Iterator[RunAll]:
    """Yields a `map` over that many processes, the plain `map` for one; results come in order.

    When the block is left by an exception, such as KeyboardInterrupt, the workers are ended at once. The work and its
    items must be picklable.
    """
    if jobs <= 1:
        yield map
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import active_children, get_context

    earlier = active_children()
    # Spawned: a fork would copy the locks of threads that numerical libraries run.
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_begin)

    def run_all(work: Callable[[Any], Any], items: Sequence[Any]) -> Iterable[Any]:
        with signals_held(signal.SIGINT):
            return pool.map(work, items)

    try:
        yield run_all
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
