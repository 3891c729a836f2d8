"""Prints on rank 0 only, shows progress and ends quietly when the output pipe is closed.

Imports nothing heavy: `mets3d --help` passes through here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

READER_LEFT = 141  # 128 + SIGPIPE: the exit code of a program that was still writing when its reader left


def is_main_process() -> bool:
    """Returns whether this process prints: of several processes, rank 0 alone does."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def checked_output() -> Iterator[None]:
    """Writes out at the end of the block what it printed, and ends the program quietly when the reader has left.

    The reader of `mets3d check DATA | head` leaves after ten lines. Without this Python reports it with a traceback,
    or when it is already shutting down. Raises SystemExit with READER_LEFT then, and with 2 after a message where the
    output cannot be written, as on a full disk.
    """
    try:
        try:
            yield
        finally:
            print(end="", flush=True)
    except BrokenPipeError:
        _discard_output()
        raise SystemExit(READER_LEFT) from None
    except OSError as error:
        _discard_output()
        print(f"the output cannot be written: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def _discard_output() -> None:
    """Points standard output nowhere, so that Python can flush it when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def progress_of(work: str) -> Callable[[int, int, str], None]:
    """Returns a function (done, total, name) that shows a bar on a terminal, else a line at every tenth of the way."""
    bar: Any = None

    def show(done: int, total: int, name: str) -> None:
        nonlocal bar
        if not is_main_process():
            return
        if not sys.stderr.isatty():
            if done * 10 // total > (done - 1) * 10 // total:
                print(f"{work} {done}/{total}  {name}", file=sys.stderr, flush=True)
            return
        from tqdm import tqdm

        bar = bar if bar is not None else tqdm(total=total, desc=work, dynamic_ncols=True)
        bar.set_postfix_str(name, refresh=False)
        bar.update(done - bar.n)
        if done == total:
            bar.close()

    return show
