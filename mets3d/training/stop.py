"""Turns SIGTERM and SIGINT into a request to stop after the current step."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

IMPATIENT_SECONDS = 3.0  # after these a further Ctrl-C interrupts at once


class StopWish:
    """A request to stop, true after a signal; `signal` is the number of the first one, 0 before."""

    def __init__(self) -> None:
        self.signal = 0

    def __bool__(self) -> bool:
        return self.signal != 0

    @property
    def exit_code(self) -> int:
        """Returns the exit code that a shell gives a process ended by this signal; 0 without a signal."""
        return 128 + self.signal if self.signal else 0


@contextmanager
def listening() -> Iterator[StopWish]:
    """Collects SIGTERM and SIGINT until the block ends.

    One wish often comes as several signals: a terminal or a scheduler signals the whole process group, and the kernel
    adds one when the launcher dies. So only an interrupt that comes seconds after the first signal acts at once.
    """
    wish = StopWish()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    first = 0.0

    def note(number: int, _frame: FrameType | None) -> None:
        nonlocal first
        if wish and number == signal.SIGINT and time.monotonic() - first > IMPATIENT_SECONDS:
            raise KeyboardInterrupt
        if not wish:
            first = time.monotonic()
            wish.signal = number

    for number in before:
        signal.signal(number, note)
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
