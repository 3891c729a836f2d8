"""SIGTERM and SIGINT as a wish that the loop grants at a step boundary."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopWish:
    """`signal` is the number of the signal that came, 0 before."""

    def __init__(self) -> None:
        self.signal = 0

    def __bool__(self) -> bool:
        return self.signal != 0

    @property
    def exit_code(self) -> int:
        """What a shell reports of a process that this signal ended; 0 without a signal."""
        return 128 + self.signal if self.signal else 0


@contextmanager
def listening() -> Iterator[StopWish]:
    """Collects SIGTERM and SIGINT. A second one acts at once, as it would without us."""
    wish = StopWish()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def note(number: int, _frame: FrameType | None) -> None:
        wish.signal = number
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
