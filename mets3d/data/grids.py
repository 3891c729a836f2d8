"""Decides whether two files share a voxel grid, by one tolerance.

Check, prediction, tuning and evaluation all use it, so that none refuses a case that another accepts.
"""

from __future__ import annotations

import itertools
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from mets3d.ops.voxels import Spacing

# Far above the rounding of headers: float32 is off by 1e-5 mm over a head, voxel sizes written with three decimals
# (0.859 for 0.8594) by 0.1 mm at its far corner. And far below what moves a lesion: no voxel is nearer to another one.
TOLERANCE_VOXELS = 0.1
SIZE_TOLERANCE = 0.01  # of a voxel's side, between two statements of the same voxel size


@runtime_checkable
class Placed(Protocol):
    """A volume, or a file's header, that knows where its voxels lie: in RAS+, with an affine to mm."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def affine(self) -> Float64[np.ndarray, "4 4"]: ...
    @property
    def spacing_mm(self) -> Spacing: ...


def apart_mm(one: Placed, other: Placed) -> float:
    """Returns the largest distance in mm between the voxels of one index in two volumes of one shape.

    It is found at a corner, for the difference of two affine maps is affine.
    """
    corners = np.array(list(itertools.product(*((0, n - 1) for n in one.shape), [1]))).T
    return float(np.linalg.norm(((other.affine - one.affine) @ corners)[:3], axis=0).max())


def lie_apart(one: Placed, other: Placed) -> bool:
    """Returns whether two volumes of one shape lie further apart than a tenth of the smallest side of a voxel."""
    return apart_mm(one, other) > TOLERANCE_VOXELS * min(one.spacing_mm)


def sizes_differ(one_mm: Spacing, other_mm: Spacing) -> bool:
    """Returns whether two voxel sizes differ by more than a hundredth of a side."""
    return not np.allclose(one_mm, other_mm, rtol=SIZE_TOLERANCE, atol=0)
