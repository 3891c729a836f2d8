"""Finds the True voxels of masks, the boxes around them, and points inside components.

Imports no torch, and holds the aliases that all share.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

Position = tuple[float, float, float]  # in mm, along X Y Z
Spacing = tuple[float, float, float]  # sides of a voxel in mm, along X Y Z
Shape3 = tuple[int, int, int]  # voxels along X Y Z
Voxels = Int[np.ndarray, "_ 3"]  # indices, one voxel a row
Box = tuple[slice, slice, slice]
Toward = tuple[tuple[int, int], ...]  # of right, anterior and superior: the array's axis and the direction along it
RAS: Toward = ((0, 1), (1, 1), (2, 1))
_EQUAL = 1e-6  # voxels or mm2: nearer to the border of two voxels, or to being equally far, is on it


def voxels_of(mask: Bool[np.ndarray, "X Y Z"]) -> Voxels:
    """Returns the indices of the True voxels in the order of the array.

    Equal to `numpy.argwhere`, several times faster on sparse masks.
    """
    return np.array(np.unravel_index(np.flatnonzero(mask), mask.shape)).T  # each axis lies together in memory


def extent(voxels: Voxels) -> tuple[Int[np.ndarray, "3"], Int[np.ndarray, "3"]]:
    """Returns the smallest and the largest index along each axis of at least one voxel."""
    axes = [(axis.min(), axis.max()) for axis in voxels.T]  # one at a time: NumPy is slow along an axis of three
    first, last = np.array(axes).T
    return first, last


def bounding_box(mask: Bool[np.ndarray, "X Y Z"], margin: int = 0) -> Box | None:
    """Returns the smallest box that holds a mask and `margin` voxels around it, within the volume; None if empty."""
    plane = np.any(mask, axis=0)
    lines = np.any(mask, axis=(1, 2)), np.any(plane, axis=1), np.any(plane, axis=0)
    sides = []
    for voxels, line in zip(mask.shape, lines, strict=True):
        filled = np.flatnonzero(line).tolist()
        if not filled:
            return None
        sides.append(slice(max(0, filled[0] - margin), min(voxels, filled[-1] + 1 + margin)))
    x, y, z = sides
    return x, y, z


# ---------------------------------------------------------------- components


@dataclass(frozen=True)
class Point:
    """A component's centroid and a place inside it, as indices along the array's axes.

    The place is the centroid where that lies inside. Elsewhere, as of a component that bends around its centroid, it is
    the middle of `voxel`: the component's voxel that
    is nearest to the centroid in mm, of equal ones the lowest, then the one farthest back, then farthest left.
    """

    voxel: Shape3
    place: Position
    centroid: Position


def sizes_and_centres(
    numbers: Integer[np.ndarray, "X Y Z"],
) -> tuple[Int[np.ndarray, " N"], Float[np.ndarray, "N 3"]]:
    """Returns size and centroid, in voxels, of the components 1, 2, ... of an image of their numbers."""
    voxels = voxels_of(numbers > 0)
    own = numbers[tuple(voxels.T)]
    sizes = np.bincount(own, minlength=1)
    sums = np.stack([np.bincount(own, axis, minlength=len(sizes)) for axis in voxels.T], axis=1)
    return sizes[1:], np.asarray(sums[1:] / sizes[1:, None])


def points_inside(
    numbers: Integer[np.ndarray, "X Y Z"],
    centres: Float[np.ndarray, "N 3"],
    corner: Sequence[int],
    spacing_mm: Spacing,
    toward: Toward = RAS,
) -> list[Point]:
    """Returns a point inside each component 1, 2, ... of these centroids; `corner` is where the image lies in its own.

    A centroid lies inside where all voxels that it touches are the component's: one, or both of two that it is between.
    """
    voxels = voxels_of(numbers > 0)
    own = numbers[tuple(voxels.T)].astype(np.int64) - 1
    away = voxels - centres[own]
    squared_mm2 = ((away * spacing_mm) ** 2).sum(axis=1)
    least = np.full(len(centres), np.inf)
    np.minimum.at(least, own, squared_mm2)
    touching = np.bincount(own[(np.abs(away) <= 0.5 + _EQUAL).all(axis=1)], minlength=len(centres))
    between = np.abs(centres - np.floor(centres) - 0.5) <= _EQUAL
    inside = touching == 2 ** between.sum(axis=1)
    near = np.flatnonzero(squared_mm2 <= least[own] + _EQUAL)
    order = near[np.lexsort((*(direction * voxels[near, axis] for axis, direction in toward), own[near]))]
    chosen = voxels[order[np.unique(own[order], return_index=True)[1]]]
    places = np.where(inside[:, None], centres, chosen) + corner
    whole = (chosen + corner).tolist(), places.tolist(), (centres + corner).tolist()
    return [Point(*map(tuple, own)) for own in zip(*whole, strict=True)]
