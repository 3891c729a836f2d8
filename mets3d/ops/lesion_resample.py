"""Resizes label maps so that every lesion keeps its volume. NumPy, SciPy and cc3d; no torch.

A lesion is a 26-connected component of a region, and regions nest: ET in TC in WT; RC lies outside of them. On the new
grid a lesion with the volume of n voxels takes the k voxels of which it has the largest share. Of all sets of k voxels
this is the one that overlaps it most. Its Dice is about 2 (sum of the shares) / (n + k), and k is where that is
highest among floor(n) and ceil(n), at least 1; the numbers that differ from n by at most 5 %; and floor(n) or ceil(n)
with all voxels that have the same share as the last one, so that equal faces of a lesion are treated alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64, Integer, UInt8

from mets3d.ops.components import components
from mets3d.ops.resample import ROUNDING, shares
from mets3d.ops.voxels import Box, Shape3, bounding_box
from mets3d.regions import BACKGROUND, ET, RC, TC, WT, Region

VOLUME = 0.05  # of a lesion's volume, that k may differ from n
STEP = 0.381966  # of ROUNDING: no share of small whole numbers ends there, so that equal ones are found equal

Kernel = Callable[[int, int], Float[np.ndarray, "_ _"]]  # old and new size to weights: rows are new voxels


def resize_lesions(labels: UInt8[np.ndarray, "X Y Z"], shape: Sequence[int]) -> UInt8[np.ndarray, "x y z"]:
    """Resizes a label map to a grid of `shape` over the same box, lesion by lesion.

    1. Every lesion without a lesion inside reserves, the smallest first, the free voxel of which it has most.
    2. WT and RC, the smallest lesion first, take the free voxels of which they have most, up to their k.
    3. TC takes its k among the voxels of the WT around it: those of which it has most more than the rest of WT has. So
       does ET in TC. What is left of TC is label 1, what is left of WT label 2; RC is label 4.

    Voxels that touch another lesion of the region come last, and only until the volume is kept, so that two lesions
    stay apart where their shares allow it. Of equal voxels the one nearer to the lesion's centroid comes first, then
    the first in the order of the array. A lesion vanishes only if every voxel of which it has a share is reserved.

    Where the new grid divides the old voxels into whole parts, the result is the old map with its voxels repeated;
    where the shape is the same, it is the same array. Shares are those of `resize`, so that labels go where the image
    goes.
    """
    x, y, z = shape
    if labels.shape == (x, y, z):
        return labels
    if all(new % old == 0 for old, new in zip(labels.shape, shape, strict=True)):
        return reduce(lambda part, axis: part.repeat(shape[axis] // labels.shape[axis], axis), range(3), labels)
    new = np.zeros((x, y, z), dtype=np.uint8)
    box = bounding_box(labels != BACKGROUND)
    if box is None:
        return new
    change = Change.of(labels.shape, shape, box)
    wholes, tumours, cores = _nest(labels[box], change)
    cavities, _, _ = _lesions(RC, labels[box], change)
    for lesion in _by_volume(part for part in (*wholes, *tumours, *cores, *cavities) if part.is_innermost):
        lesion.reserve(new)
    for level in ([*wholes, *cavities], tumours, cores):
        for lesion in _by_volume(level):
            lesion.fill(new)
    return new


@dataclass(eq=False)
class _Lesion:
    """A lesion, and the voxels of the new grid of which it has a share, by flat indices in rising order."""

    region: Region
    voxels: Int64[np.ndarray, " n"]
    shares: Float[np.ndarray, " n"]
    away: Float[np.ndarray, " n"]  # from the centroid, squared
    volume: float  # in voxels of the new grid
    somewhere: tuple[int, int, int]  # a voxel of it on the old grid
    around: _Lesion | None = None  # of the region before, in which it lies
    is_innermost: bool = True
    taken: Int64[np.ndarray, " k"] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def reserve(self, new: UInt8[np.ndarray, "x y z"]) -> None:
        """Takes one voxel, which is then of the lesions around it too."""
        ranked = self.voxels[self._order(self.shares)]
        self._take(ranked[new.reshape(-1)[ranked] == BACKGROUND][:1], new)

    def fill(self, new: UInt8[np.ndarray, "x y z"]) -> None:
        """Takes the voxels that it lacks."""
        ranked, ordered = self._order(self.shares), self._order(self._shares_over_around())
        free = self.voxels[ordered]
        free = free[self._are_free(free, new)]
        touching = self._touching(free, new)
        missing = max(0, _size(self.shares[ranked], self.volume) - len(self.taken))
        apart = free[~touching][:missing]
        lacking = max(1, math.floor(self.volume + 0.5)) - len(self.taken) - len(apart)
        self._take(np.concatenate([apart, free[touching][: max(0, lacking)]]), new)

    def _are_free(self, voxels: Int64[np.ndarray, " n"], new: UInt8[np.ndarray, "x y z"]) -> Bool[np.ndarray, " n"]:
        """Returns which voxels no other lesion of the region can have: background, or what the lesion around has."""
        labels = new.reshape(-1)[voxels]
        if self.around is None:
            return np.asarray(labels == BACKGROUND)
        return np.asarray((labels == self.around.region.decoded_as) & np.isin(voxels, self.around.taken))

    def _shares_over_around(self) -> Float[np.ndarray, " n"]:
        """Returns the shares less those that the rest of the lesion around has."""
        if self.around is None:
            return self.shares
        there = np.searchsorted(self.around.voxels, self.voxels)
        return np.asarray(2 * self.shares - self.around.shares[there])

    def _order(self, ranks: Float[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        return np.asarray(np.lexsort((self.voxels, _steps(self.away), -_steps(ranks))))

    def _take(self, voxels: Int64[np.ndarray, " k"], new: UInt8[np.ndarray, "x y z"]) -> None:
        new.reshape(-1)[voxels] = self.region.decoded_as
        lesion: _Lesion | None = self
        while lesion is not None:
            lesion.taken = np.union1d(lesion.taken, voxels)
            lesion = lesion.around

    def _touching(self, voxels: Int64[np.ndarray, " n"], new: UInt8[np.ndarray, "x y z"]) -> Bool[np.ndarray, " n"]:
        """Returns which voxels touch one of the region that is another lesion's."""
        from scipy.ndimage import binary_dilation

        if not len(voxels):
            return np.zeros(0, dtype=bool)
        places = np.stack(np.unravel_index(voxels, new.shape))
        first = np.maximum(places.min(1) - 1, 0)
        box = tuple(slice(low, high + 2) for low, high in zip(first, places.max(1), strict=True))
        others = self.region.mask(new[box])
        own = np.stack(np.unravel_index(self.taken, new.shape)) - first[:, None]
        within = ((own >= 0) & (own < np.array(others.shape)[:, None])).all(0)
        others[tuple(own[:, within])] = False
        if not others.any():
            return np.zeros(len(voxels), dtype=bool)
        near = binary_dilation(others, np.ones((3, 3, 3), dtype=bool))
        return np.asarray(near[tuple(places - first[:, None])])


def _by_volume(lesions: Iterable[_Lesion]) -> list[_Lesion]:
    return sorted(lesions, key=lambda lesion: lesion.volume)


# ---------------------------------------------------------------- on the old grid


def _nest(labels: UInt8[np.ndarray, "X Y Z"], change: Change) -> list[list[_Lesion]]:
    """Returns the lesions of WT, TC and ET; those of TC and ET with the one of the region before in which they lie."""
    levels: list[list[_Lesion]] = []
    numbers: Any = None
    first: tuple[int, ...] = (0, 0, 0)
    for region in (WT, TC, ET):
        before = numbers, first
        lesions, numbers, first = _lesions(region, labels, change)
        for lesion in lesions if levels else ():
            x, y, z = (at - start for at, start in zip(lesion.somewhere, before[1], strict=True))
            lesion.around = levels[-1][int(before[0][x, y, z]) - 1]
            lesion.around.is_innermost = False
        levels.append(lesions)
    return levels


def _lesions(
    region: Region, labels: UInt8[np.ndarray, "X Y Z"], change: Change
) -> tuple[list[_Lesion], Any, tuple[int, ...]]:
    """Returns a region's lesions, and their numbers from 1 in a box, with the box's first voxel."""
    mask = region.mask(labels)
    box = bounding_box(mask)
    if box is None:
        return [], np.zeros((0, 0, 0), dtype=np.int32), (0, 0, 0)
    numbers = components(mask[box])
    first = tuple(side.start for side in box)
    return [_lesion(region, part, at, change) for part, at in each_lesion(numbers, first)], numbers, first


def each_lesion(
    numbers: Integer[np.ndarray, "X Y Z"], first: Sequence[int] = (0, 0, 0)
) -> Iterator[tuple[Bool[np.ndarray, "a b c"], Box]]:
    """Yields each component's mask in its own box, in the order of the numbers, and that box, counted from `first`."""
    from scipy.ndimage import find_objects

    for number, box in enumerate(find_objects(numbers), 1):
        x, y, z = (slice(side.start + start, side.stop + start) for side, start in zip(box, first, strict=True))
        yield numbers[box] == number, (x, y, z)


def _lesion(region: Region, mask: Bool[np.ndarray, "a b c"], box: Box, change: Change) -> _Lesion:
    share, first = change.shares_of(mask, box)
    places = np.nonzero(share > ROUNDING)
    parts = share[places]
    flat = np.ravel_multi_index(tuple(along + low for along, low in zip(places, first, strict=True)), change.shape)
    away = np.sum([(along - np.average(along, weights=parts)) ** 2 for along in places], axis=0)
    volume = np.count_nonzero(mask) * change.voxels
    x, y, z = (int(at) + side.start for at, side in zip(np.argwhere(mask)[0], box, strict=True))
    return _Lesion(region, flat, parts, away, volume, (x, y, z))


@dataclass(frozen=True, eq=False)
class Change:
    """A change of grid: weights of a box of the old grid along each axis, and how many new voxels an old one is."""

    weights: Sequence[Float[np.ndarray, "_ _"]]
    voxels: float

    @classmethod
    def of(cls, old: Sequence[int], new: Sequence[int], box: Box, kernel: Kernel = shares) -> Change:
        """Makes the change from grid `old` to `new` for what lies in `box`; `kernel` makes the weights of an axis."""
        sides = zip(old, new, box, strict=True)
        weights = [kernel(before, after)[:, side].astype(np.float64) for before, after, side in sides]
        return cls(weights, math.prod(new) / math.prod(old))

    @property
    def shape(self) -> Shape3:
        """Voxels of the new grid along X Y Z."""
        x, y, z = (len(matrix) for matrix in self.weights)
        return x, y, z

    def shares_of(self, mask: Bool[np.ndarray, "a b c"], box: Box) -> tuple[Float[np.ndarray, "x y z"], list[int]]:
        """Returns the share of a mask in `box` that new voxels have, and the first of these voxels along each axis."""
        share: Float[np.ndarray, "x y z"] = mask.astype(np.float64)
        first = []
        for axis, (side, matrix) in enumerate(zip(box, self.weights, strict=True)):
            reached = np.flatnonzero(matrix[:, side].any(1))
            rows = slice(int(reached[0]), int(reached[-1]) + 1)
            share = np.moveaxis(np.tensordot(matrix[rows, side], share, axes=(1, axis)), 0, axis)
            first.append(rows.start)
        return share, first


def _size(parts: Float[np.ndarray, " n"], volume: float) -> int:
    """Returns k for shares in falling order."""
    steps = _steps(parts)
    ends = [math.floor(volume), math.ceil(volume - ROUNDING)]
    near = range(math.ceil((1 - VOLUME) * volume), math.floor((1 + VOLUME) * volume) + 1)
    sizes = {min(max(1, size), len(parts)) for size in (*ends, *near)}
    alike = {int(np.searchsorted(-steps, -steps[min(max(1, end), len(parts)) - 1], side="right")) for end in ends}
    overlap = np.cumsum(parts)
    # Rounded, so that sums in another order decide nothing; of equals the one nearest to the volume.
    return max(
        sorted(sizes | alike),
        key=lambda size: (round(2 * float(overlap[size - 1]) / (volume + size), 9), -abs(size - volume)),
    )


def _steps(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Returns values in whole steps of rounding, so that such as differ by rounding alone are equal."""
    return np.floor(values / ROUNDING + STEP)
