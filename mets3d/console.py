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


def in_utf8() -> None:
    """Starts this program again in Python's UTF-8 mode where the locale has another encoding, as `LC_ALL=C` may.

    Paths and names then mean the same in files, which are UTF-8, as on the disk. The process stays the same, and its
    children get the mode by PYTHONUTF8. Ends with 2 where a word of the command line is no UTF-8.
    """
    if sys.getfilesystemencoding().lower() != "utf-8":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    for word in sys.argv[1:]:
        if not _is_text(word):
            shown = os.fsencode(word).decode("utf-8", "backslashreplace")
            print(f"{shown}: expected UTF-8, found other bytes; rename the file or folder", file=sys.stderr)
            raise SystemExit(2)


def _is_text(word: str) -> bool:
    try:
        word.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


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
