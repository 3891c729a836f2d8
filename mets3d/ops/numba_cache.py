"""Compiles functions with numba, and lets processes that do so at once share one cache.

numba writes the index of a function's cache before the data file that the index names, without a lock. Two faults
follow, both of which give wrong numbers without a word: a process that reads between the two writes after the source
has changed runs the old code under the new index; and two processes that compile different signatures at once choose
the same file, so that one signature is answered by the code of the other. Here each reads and writes alone.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache

if sys.platform != "win32":
    import fcntl


def compiled(function: Callable[..., Any]) -> Any:
    """Compiles a function on its first call, and keeps the result on disk for other processes.

    Raises RuntimeError where no folder for the cache can be written. It is the bare function that is compiled: the
    shape checker that wraps every function during tests cannot be.
    """
    dispatcher = njit(nogil=True)(inspect.unwrap(function))
    dispatcher._cache = _OneAtATime(dispatcher.py_func)
    return dispatcher


class _OneAtATime(FunctionCache):
    """numba's cache of one function, with a lock around each reading and each writing."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        with self._alone():
            return super().load_overload(sig, target_context)

    def save_overload(self, sig: Any, data: Any) -> None:
        with self._alone():
            super().save_overload(sig, data)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if sys.platform == "win32":
            yield
            return
        self._impl.locator.ensure_cache_path()
        lock = Path(self.cache_path, f"{self._impl.filename_base}.lock")
        with lock.open("a", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)  # ends with the file's closing, or with the process
            yield
