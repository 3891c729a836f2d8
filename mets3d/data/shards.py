"""Shares the cases of a data set over machines: shard 2/4 is every fourth case from the second."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Shard:
    """One of several calls that share the cases; number 1 to `count`."""

    number: int = 1
    count: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, cases: Sequence[Item]) -> list[Item]:
        """Returns this shard's cases."""
        return list(cases[self.number - 1 :: self.count])


def read_shard(text: str) -> Shard:
    """Reads `2/4`. Raises ValueError for other texts, and for a number that is not from 1 to the count."""
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError(f"expected a shard such as 1/4, the first of four, up to 4/4; found {text!r}")
    return Shard(int(found[1]), int(found[2]))
