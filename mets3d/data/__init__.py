"""From files to host batches: discovery, checks, the store and its loader. Imports no torch here."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, str], None]  # (done, total, name of what was just finished)


class DataError(ValueError):
    """Data that cannot be used; the message names the case or file, what is wrong with it and what to do."""


def quiet(done: int, total: int, name: str) -> None:
    """Shows no progress."""
