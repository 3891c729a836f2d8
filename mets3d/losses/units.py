"""Holds the unit of each boundary loss that is not of order one as published.

A mean over the patch falls with the patch's size, and a distance over its diagonal twice. In its unit a loss counts
reference errors: a ball of 5 mm radius, the size of a usual metastasis, that is wholly wrong and lies 10 mm from what
is right. A patch with one such error has a loss of about 1, whatever its size and its voxels'.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from mets3d.losses.volumes import diagonal_mm

RADIUS_MM, APART_MM, DEPTH_MM = 5.0, 10.0, 2.0
VOLUME_MM3 = 4 / 3 * math.pi * RADIUS_MM**3

# Size of the patch in voxels and voxel size of each item, or of all, to the loss of the reference error in each.
Unit = Callable[[Sequence[int], Float[np.ndarray, "N 3"]], Float[np.ndarray, "N"]]


def unity(shape: Sequence[int], spacing_mm: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N"]:  # noqa: ARG001 - a Unit
    """Returns 1 for a loss that is of order one by itself."""
    return np.ones(len(spacing_mm))


def of_distances(
    shape: Sequence[int],
    spacing_mm: Float[np.ndarray, "N 3"],
    *,
    alpha: float,
    class_balanced: bool = False,
) -> Float[np.ndarray, "N"]:
    """Returns v / V (l / D0)^alpha of a mean of distances; v is the volume of the error, l its distance, V the patch.

    class_balanced: of the mean over a class in place of the patch, which has no v / V.
    """
    share = 1.0 if class_balanced else _share(shape, spacing_mm)
    unit: Float[np.ndarray, "N"] = share * (APART_MM / diagonal_mm(shape, spacing_mm)) ** alpha
    return unit


def of_log(
    shape: Sequence[int], spacing_mm: Float[np.ndarray, "N 3"], *, alpha: float, class_balanced: bool = False
) -> Float[np.ndarray, "N"]:
    """Returns log(1 + v / V l^alpha), l in mm: the logarithm of the same without D0."""
    share = np.ones(len(spacing_mm)) if class_balanced else _share(shape, spacing_mm)
    unit: Float[np.ndarray, "N"] = np.log1p(share * APART_MM**alpha)
    return unit


def of_depths(
    shape: Sequence[int], spacing_mm: Float[np.ndarray, "N 3"], *, alpha: float, erosions: int, lasting: bool
) -> Float[np.ndarray, "N"]:
    """Returns v / V (2 mm / D0)^alpha of an erosion loss: the middle of the reference error is about so deep.

    lasting: rescaled by its peak an error may leave about eight voxels after every erosion, however thin it is, or
    nothing, as chance has it. The unit is then the geometric mean of both.
    """
    depth = spacing_mm.prod(-1) ** (1 / 3)
    unit: Float[np.ndarray, "N"] = _share(shape, spacing_mm) * (DEPTH_MM / diagonal_mm(shape, spacing_mm)) ** alpha
    if lasting:
        left = 8 * depth**3 / VOLUME_MM3 * sum((k * depth / DEPTH_MM) ** alpha for k in range(1, erosions + 1))
        unit = unit * np.sqrt(1 + left)
    return unit


def of_balls(
    shape: Sequence[int], spacing_mm: Float[np.ndarray, "N 3"], *, alpha: float, radii_mm: Sequence[float]
) -> Float[np.ndarray, "N"]:
    """Returns v / V times the sum over radii of (r / D0)^alpha: of an error that fills none of the balls around it."""
    diagonal = diagonal_mm(shape, spacing_mm)
    unit: Float[np.ndarray, "N"] = _share(shape, spacing_mm) * sum((radius / diagonal) ** alpha for radius in radii_mm)
    return unit


def of_volume(shape: Sequence[int], spacing_mm: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N"]:
    """Returns v / V of a mean in which a wrong voxel counts about 1."""
    return _share(shape, spacing_mm)


def _share(shape: Sequence[int], spacing_mm: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N"]:
    share: Float[np.ndarray, "N"] = VOLUME_MM3 / (spacing_mm.prod(-1) * math.prod(shape[-3:]))
    return share
