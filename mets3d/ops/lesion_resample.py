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

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8

from mets3d.ops.components import Numbers, components
from mets3d.ops.resample import ROUNDING, shares
from mets3d.ops.voxels import Box, Shape3, bounding_box
from mets3d.regions import BACKGROUND, ET, RC, TC, WT, Region

VOLUME = 0.05  # of a lesion's volume, that k may differ from n
STEP = 0.381966  # of ROUNDING: no share of small whole numbers ends there, so that equal ones are found equal

Kernel = Callable[[int, int], Float[np.ndarray, "_ _"]]  # old and new size to weights: rows are new voxels


def resize_lesions(labels: UInt8[np.ndarray, "X Y Z"], shape: Sequence[int]) -> UInt8[np.ndarray, "x y z"]:
    """Resizes a label map to a grid of `shape` over the same box, lesion by lesion.

    1. Every lesion without a lesion inside reserves, the smallest first, the free voxel of which it has most.
    2. ET, TC, RC and WT in this order, the smallest lesion first, take voxels up to their k: a lesion has those of the
       lesions inside it, and adds the free ones of which it has most. Voxels that touch another lesion come last, so
       that two lesions stay apart where their shares allow it. Of equal shares the one nearer to the lesion's centroid
       comes first, then the first in the order of the array.

    The rest of TC around ET becomes label 1, the rest of WT label 2, RC label 4. A lesion vanishes only if every voxel
    of which it has a share is reserved by others.
    Where the new grid divides the old voxels into whole parts, the result is the old map with its voxels repeated;
    where the shape is the same, it is the same array. Shares are those of `resize`, so that labels
    go where the image goes.
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
    levels = _nest(labels[box], change)
    cavities, _, _ = _lesions(RC, labels[box], change)
    for lesion in _by_volume(part for level in (*levels, cavities) for part in level if not part.inner):
        _take(lesion, 1, new)
    cores, tumours, wholes = levels
    for level in (cores, tumours, cavities, wholes):
        for lesion in _by_volume(level):
            _take(lesion, lesion.size - len(lesion.own()), new)
    return new


@dataclass(eq=False)
class _Lesion:
    """A lesion, and the voxels of the new grid of which it has a share: flat indices, the largest share first."""

    region: Region
    voxels: Int64[np.ndarray, " n"]
    volume: float  # in voxels of the new grid
    size: int  # how many voxels of the new grid it shall have
    somewhere: tuple[int, int, int]  # a voxel of it on the old grid
    inner: list[_Lesion] = field(default_factory=list)
    taken: list[Int64[np.ndarray, " _"]] = field(default_factory=list)

    def own(self) -> Int64[np.ndarray, " k"]:
        """Returns the voxels that it has, those of the lesions inside it among them."""
        parts = [*self.taken, *(lesion.own() for lesion in self.inner)]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _by_volume(lesions: Iterable[_Lesion]) -> list[_Lesion]:
    return sorted(lesions, key=lambda lesion: lesion.volume)


# ---------------------------------------------------------------- on the new grid


def _take(lesion: _Lesion, count: int, new: UInt8[np.ndarray, "x y z"]) -> None:
    """Gives a lesion `count` more voxels, if so many are free."""
    if count < 1:
        return
    flat = new.reshape(-1)
    free = lesion.voxels[flat[lesion.voxels] == BACKGROUND]
    if len(free) > count and lesion.region is not RC:
        touching = _touching(free, lesion, new)
        free = np.concatenate([free[~touching], free[touching]])
    flat[free[:count]] = lesion.region.decoded_as
    lesion.taken.append(free[:count])


def _touching(
    voxels: Int64[np.ndarray, " n"], lesion: _Lesion, new: UInt8[np.ndarray, "x y z"]
) -> Bool[np.ndarray, " n"]:
    """Returns which voxels touch one of the tumour that is not this lesion's."""
    from scipy.ndimage import binary_dilation

    places = np.stack(np.unravel_index(voxels, new.shape))
    first = np.maximum(places.min(1) - 1, 0)
    others = WT.mask(new[tuple(slice(low, high + 2) for low, high in zip(first, places.max(1), strict=True))])
    own = np.stack(np.unravel_index(lesion.own(), new.shape)) - first[:, None]
    within = ((own >= 0) & (own < np.array(others.shape)[:, None])).all(0)
    others[tuple(own[:, within])] = False
    if not others.any():
        return np.zeros(len(voxels), dtype=bool)
    near = binary_dilation(others, np.ones((3, 3, 3), dtype=bool))
    return np.asarray(near[tuple(places - first[:, None])])


# ---------------------------------------------------------------- on the old grid


def _nest(labels: UInt8[np.ndarray, "X Y Z"], change: Change) -> list[list[_Lesion]]:
    """Returns the lesions of ET, TC and WT; those of TC and WT with the ones of the region before that they hold."""
    levels: list[list[_Lesion]] = []
    for region in (ET, TC, WT):
        lesions, numbers, first = _lesions(region, labels, change)
        for inner in levels[-1] if levels else ():
            x, y, z = (at - start for at, start in zip(inner.somewhere, first, strict=True))
            lesions[int(numbers[x, y, z]) - 1].inner.append(inner)
        levels.append(lesions)
    return levels


def _lesions(
    region: Region, labels: UInt8[np.ndarray, "X Y Z"], change: Change
) -> tuple[list[_Lesion], Numbers, tuple[int, ...]]:
    """Returns a region's lesions, and their numbers from 1 in a box, with the box's first voxel."""
    mask = region.mask(labels)
    box = bounding_box(mask)
    if box is None:
        return [], np.zeros((0, 0, 0), dtype=np.int32), (0, 0, 0)
    numbers = components(mask[box])
    first = tuple(side.start for side in box)
    return [_lesion(region, part, at, change) for part, at in each_lesion(numbers, first)], numbers, first


def each_lesion(numbers: Numbers, first: Sequence[int] = (0, 0, 0)) -> Iterator[tuple[Bool[np.ndarray, "a b c"], Box]]:
    """Yields each component's mask in its own box, in the order of the numbers, and that box, counted from `first`."""
    from scipy.ndimage import find_objects

    for number, box in enumerate(find_objects(numbers), 1):
        x, y, z = (
            slice(side.start + start, side.stop + start) for side, start in zip(box, first, strict=True)
        )
        yield numbers[box] == number, (x, y, z)


def _lesion(region: Region, mask: Bool[np.ndarray, "a b c"], box: Box, change: Change) -> _Lesion:
    share, first = change.shares_of(mask, box)
    places = np.nonzero(share > ROUNDING)
    parts = share[places]
    flat = np.ravel_multi_index(tuple(along + low for along, low in zip(places, first, strict=True)), change.shape)
    away = sum((along - np.average(along, weights=parts)) ** 2 for along in places)
    order = np.lexsort((flat, _steps(away), -_steps(parts)))
    volume = np.count_nonzero(mask) * change.voxels
    x, y, z = (int(at) + side.start for at, side in zip(np.argwhere(mask)[0], box, strict=True))
    return _Lesion(region, flat[order], volume, _size(parts[order], volume), (x, y, z))


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
