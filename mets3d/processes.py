"""Maps work over worker processes that ignore Ctrl-C and end with this process."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

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
        with _interrupts_held():
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
def _interrupts_held() -> Iterator[None]:
    """Delays SIGINT until the block ends. Processes started in it never receive one, not even while they import."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin() -> None:
    """Prepares a worker: Ctrl-C is for the parent alone, and a parent that was killed takes the worker with it."""
    import threading

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
