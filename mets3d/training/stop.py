"""Turns SIGTERM, SIGINT, SIGHUP and SIGUSR1 into a request to stop after the current step.

Imports nothing heavy: signals are collected from the first line of a training on.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType

from mets3d.processes import STOP_SIGNALS

# One wish often comes as several signals: a terminal or a scheduler signals the whole process group, the launcher
# passes its own on, and the kernel adds one when the launcher dies. Later than this a further signal leaves at once.
IMPATIENT_SECONDS = 3.0
LAST_WORDS_SECONDS = 2.0


class StopWish:
    """What makes this process end before its last step: a signal, or an error. False until there is one.

    signal: number of the first signal, 0 before. error: what went wrong in this process and needs all to stop.
    last_words: called with the exit code when a second signal ends the process at once.
    """

    def __init__(self) -> None:
        self.signal = 0
        self.error: Exception | None = None
        self.last_words: Callable[[int], None] | None = None

    def __bool__(self) -> bool:
        return self.signal != 0 or self.error is not None

    def ask(self, number: int = signal.SIGTERM) -> None:
        """Notes a wish that comes without a signal, from any thread; it counts as that signal."""
        self.signal = self.signal or number

    @contextmanager
    def noting(self, *kinds: type[Exception]) -> Iterator[None]:
        """Keeps an error of these kinds instead of raising it; the step boundary makes it an error of all processes."""
        try:
            yield
        except kinds as error:
            self.error = self.error or error


def exit_code_of(number: int) -> int:
    """Returns the exit code that a shell gives a process ended by this signal; 0 without a signal."""
    return 128 + number if number else 0


@contextmanager
def listening(*, to_the_end: bool = False) -> Iterator[StopWish]:
    """Collects the signals that stop a training, until the block ends.

    A signal that is ignored at the start stays so: `nohup` ignores SIGHUP, a script's shell the SIGINT of what it runs
    in the background. A second interrupt after IMPATIENT_SECONDS raises KeyboardInterrupt.
    to_the_end: the process ends after the block. A second signal of any kind then ends it at once, with the first one's
    exit code, and later signals are ignored, so that they do not change the code.
    """
    wish = StopWish()
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]

    first = 0.0

    def note(number: int, _frame: FrameType | None) -> None:
        nonlocal first
        if not wish.signal:
            first, wish.signal = time.monotonic(), number
        elif not to_the_end and number == signal.SIGINT and time.monotonic() - first > IMPATIENT_SECONDS:
            raise KeyboardInterrupt

    for number in heard:
        signal.signal(number, note)
    try:
        with _impatience(wish, heard) if to_the_end else nullcontext():
            yield wish
    finally:
        for number in heard:
            signal.signal(number, signal.SIG_IGN if to_the_end else before[number])


@contextmanager
def _impatience(wish: StopWish, heard: list[int]) -> Iterator[None]:
    """Watches for a second signal in a thread, which also runs while the main thread waits for a device or a peer.

    Python writes every signal to a pipe at once; the handler has to wait until the main thread returns to Python.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def watch() -> None:
        first = None
        while number := os.read(reader, 1):
            if number[0] in heard:
                first = first or (number[0], time.monotonic())
                if time.monotonic() - first[1] > IMPATIENT_SECONDS:
                    _leave(wish, exit_code_of(wish.signal or first[0]))
        os.close(reader)

    watcher = threading.Thread(target=watch, name="signals", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)  # ends the thread
        watcher.join()


def _leave(wish: StopWish, code: int) -> None:
    """Ends the process at once. Every file is written beside its place and renamed, so none is torn."""
    if wish.last_words is not None:
        speaking = threading.Thread(target=wish.last_words, args=(code,), daemon=True)
        speaking.start()
        speaking.join(LAST_WORDS_SECONDS)  # a file system that hangs must not keep the process
    os._exit(code)
