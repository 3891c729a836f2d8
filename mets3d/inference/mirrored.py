"""Copies and moves volumes into their mirror images, a few rows along X at a time.

Temporaries of a few rows stay in a CPU's cache, and are small on any device.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float, Float32
from torch import Tensor

ROWS = 8


def copy_flipped(volume: Float[Tensor, "C X Y Z"], out: Float32[Tensor, "C X Y Z"], axes: Sequence[int]) -> None:
    """Copies a volume, flipped over some axes of X Y Z."""
    for part in few_rows(out.shape[1]):
        out[:, part].copy_(_flipped(volume, part, axes))


def move_flipped(volume: Float32[Tensor, "C X Y Z"], out: Float32[Tensor, "C X Y Z"], axes: Sequence[int]) -> None:
    """Adds a volume, flipped, to another one and sets it to 0 while its rows are still in the cache."""
    for part in few_rows(out.shape[1]):
        out[:, part].add_(_flipped(volume, part, axes))
        _rows(volume, part, axes).zero_()


def few_rows(size: int) -> list[slice]:
    """Returns ranges of a few rows that make up `size`."""
    return [slice(first, min(first + ROWS, size)) for first in range(0, size, ROWS)]


def _flipped(volume: Float[Tensor, "C X Y Z"], part: slice, axes: Sequence[int]) -> Float[Tensor, "C x Y Z"]:
    """Returns these rows of the flipped volume."""
    rows = _rows(volume, part, axes)
    # To fp32 first: torch flips the last axis of half types one value at a time.
    return rows.float().flip([axis + 1 for axis in axes]) if axes else rows


def _rows(volume: Float[Tensor, "C X Y Z"], part: slice, axes: Sequence[int]) -> Float[Tensor, "C x Y Z"]:
    """Returns the rows that are these in the flipped volume."""
    size = volume.shape[1]
    return volume[:, size - part.stop : size - part.start] if 0 in axes else volume[:, part]
