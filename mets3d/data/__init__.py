"""Turns files into host batches: finds and checks cases, makes the store and loads from it. Imports no torch here."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, str], None]  # (done, total, name of what was just finished)


class DataError(ValueError):
    """Data that cannot be used; the message names the case or file, what is wrong with it and what to do."""


def quiet(done: int, total: int, name: str) -> None:
    """Does nothing: a progress function that shows no progress."""
