"""Processes large volumes slab by slab, to keep temporary arrays small."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float32, Int64, Integer

SLAB_VOXELS = 2**20


def slabs(volume: Integer[np.ndarray, "X Y Z"] | Float[np.ndarray, "X Y Z"]) -> list[slice]:
    """Returns ranges along X of about a million voxels."""
    step = max(1, SLAB_VOXELS // max(1, math.prod(volume.shape[1:])))
    return [slice(start, min(start + step, len(volume))) for start in range(0, len(volume), step)]


def numbered_voxels(
    numbers: Integer[np.ndarray, "X Y Z"], probability: Float32[np.ndarray, "X Y Z"]
) -> Iterator[tuple[Int64[np.ndarray, " V"], Float32[np.ndarray, " V"], Int64[np.ndarray, " V"]]]:
    """Yields component, probability and flat index of every numbered voxel, slab by slab."""
    for slab in slabs(numbers):
        flat = numbers[slab].ravel()
        where = np.flatnonzero(flat != 0)
        yield (
            flat[where].astype(np.int64),
            probability[slab].ravel()[where],
            where + slab.start * math.prod(numbers.shape[1:]),
        )
