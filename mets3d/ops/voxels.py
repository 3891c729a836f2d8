"""Where the True voxels of a mask are."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int

Spacing = tuple[float, float, float]
Voxels = Int[np.ndarray, "_ 3"]


def voxels_of(mask: Bool[np.ndarray, "X Y Z"]) -> Voxels:
    """Indices of the True voxels in the order of the array; `numpy.argwhere`, several times faster on sparse masks."""
    return np.array(np.unravel_index(np.flatnonzero(mask), mask.shape)).T  # each axis lies together in memory


def extent(voxels: Voxels) -> tuple[Int[np.ndarray, "3"], Int[np.ndarray, "3"]]:
    """Smallest and largest index along each axis of at least one voxel."""
    axes = [(axis.min(), axis.max()) for axis in voxels.T]  # one at a time: NumPy is slow along an axis of three
    first, last = np.array(axes).T
    return first, last


def bounding_box(mask: Bool[np.ndarray, "X Y Z"]) -> tuple[slice, slice, slice] | None:
    """The smallest box that holds a mask; None for an empty one."""
    filled = [np.flatnonzero(mask.any(axis=axes)).tolist() for axes in ((1, 2), (0, 2), (0, 1))]
    if not filled[0]:
        return None
    x, y, z = (slice(along[0], along[-1] + 1) for along in filled)
    return x, y, z
