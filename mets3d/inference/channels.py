"""Resamples the probabilities of a case to its own grid, channel by channel, when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
from jaxtyping import Float32

from mets3d.data.prepare import put_back
from mets3d.data.stored_case import Box3, Entry
from mets3d.ops.voxels import Shape3


@dataclass(frozen=True, eq=False)
class Part:
    """The summed probabilities of one plan on its grid, and each channel's value beyond it."""

    total: Float32[np.ndarray, "R x y z"]
    entry: Entry
    outside: tuple[float, ...]


class Channels(Sequence[Float32[np.ndarray, "X Y Z"]]):
    """Probabilities of one case on its own RAS grid: each channel is resampled anew whenever it is fetched.

    So a case on a large grid is never in memory with all its channels: only the answer on the networks' grid is kept.
    """

    def __init__(self, parts: Sequence[Part]):
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts[0].total)

    def inside(self) -> tuple[tuple[Box3, Shape3], Channels]:
        """Returns the box beyond which no region has any probability, with the grid's shape, and the channels in it."""
        ends = [[part.entry.box[axis] for part in self.parts] for axis in range(3)]
        first = [min(start for start, _ in along) for along in ends]
        x, y, z = ((start, max(stop for _, stop in along)) for start, along in zip(first, ends, strict=True))
        shape = self.parts[0].entry.shape
        return ((x, y, z), shape), Channels([_moved(part, (x, y, z)) for part in self.parts])

    @overload
    def __getitem__(self, index: int) -> Float32[np.ndarray, "X Y Z"]: ...
    @overload
    def __getitem__(self, index: slice) -> list[Float32[np.ndarray, "X Y Z"]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[position] for position in range(len(self))[index]]
        channel = range(len(self))[index]  # raises IndexError past the end, which ends an iteration
        first, *others = (
            put_back(part.total[channel : channel + 1], part.entry, part.outside[channel])[0] for part in self.parts
        )
        for other in others:
            first += other
        return np.minimum(first, 1, out=first)  # weights that sum to 1 do so to a rounding


def _moved(part: Part, box: Box3) -> Part:
    """Returns the part on a grid that is this box alone."""
    x, y, z = ((start - first, stop - first) for (start, stop), (first, _) in zip(part.entry.box, box, strict=True))
    nx, ny, nz = (stop - start for start, stop in box)
    return replace(part, entry=replace(part.entry, shape=(nx, ny, nz), box=(x, y, z)))
