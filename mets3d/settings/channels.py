"""Defines the names of a network's channels: sequences, and differences of two, as `t1c-t1n`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

SEQUENCES = ("t1n", "t1c", "t2w", "t2f")  # in the order in which they are listed; a dataset.yaml may name others
_NAME = re.compile(r"[A-Za-z0-9]+")
_OURS = {"t1": "t1n", "t1ce": "t1c", "t1gd": "t1c", "t1post": "t1c", "t1pre": "t1n", "t2": "t2w", "flair": "t2f"}


def parents(channel: str) -> tuple[str, ...]:
    """Returns the sequences that a channel is made of: itself, or of a difference the two."""
    return tuple(channel.split("-"))


def sequences_of(channels: Iterable[str]) -> tuple[str, ...]:
    """Returns the sequences whose scans are read for the channels, each once, in the order in which they are named."""
    return tuple(dict.fromkeys(sequence for channel in channels for sequence in parents(channel)))


def fault_of(channels: Sequence[str]) -> str | None:
    """Returns what is wrong with a list of channels, None where nothing is.

    A difference is one of two known sequences, or of two that are channels too.
    """
    known = {*SEQUENCES, *channels}
    faults = (_fault_of_one(channel, known) for channel in channels)
    twice = (f"{channel!r} twice" for place, channel in enumerate(channels) if channel in channels[:place])
    return next((fault for fault in (*faults, *twice) if fault), None)


def _fault_of_one(channel: str, known: Collection[str]) -> str | None:
    names = parents(channel)
    if len(names) > 2 or not all(map(_NAME.fullmatch, names)):
        return f"{channel!r}: expected a sequence, of letters and digits, or a difference of two, as t1c-t1n"
    for name in names:
        ours = _OURS.get(name.lower(), name.lower())
        if name not in SEQUENCES and ours in SEQUENCES:
            return f"{channel!r}: {name} is called {ours} here; the sequences are {', '.join(SEQUENCES)}"
        if name not in known:
            return (
                f"{channel!r}: {name} is no known sequence ({', '.join(SEQUENCES)}); a difference of others needs both "
                "of them as channels"
            )
    if len(names) == 2 and names[0] == names[1]:
        return f"{channel!r}: a difference of a sequence and itself"
    return None
