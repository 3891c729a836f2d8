"""Chooses the voxel size of a stored case: one for all, or the case's own in the plane of its slices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from mets3d.ops.resample import shape_at
from mets3d.ops.voxels import Shape3, Spacing

THICKEST_MM = 1.0
ISOTROPIC = 0.05  # relative difference of a voxel's sides up to which none of them is the slices'
WHOLE = 1e-3  # of a part: a slice of 1.0005 mm is one of 1 mm

Wanted = Spacing | Literal["in_plane"]  # the voxel size of a store, or the rule for each of its cases


def target_spacing(own_mm: Spacing, wanted: Wanted) -> Spacing:
    """Returns the voxel size, in mm, at which a case with voxels of `own_mm` is stored.

    `in_plane` keeps the case's own voxels, and divides its slices into the fewest equal parts of at most 1 mm. The
    slices lie across the axis that is left when the two axes of the most similar size are taken as their plane (of
    equally similar pairs the finer one). Voxels whose sides differ by at most 5 % have no slices and are kept.

        0.5  0.5  1     ->  as it is            1.17 1.17 1.5  ->  1.17 1.17 0.75
        1    1    0.6   ->  as it is            0.47 0.47 5.5  ->  0.47 0.47 0.917
        1    0.5  0.5   ->  as it is            2    0.9  0.9  ->  1    0.9  0.9
    """
    if wanted != "in_plane":
        return wanted
    axis = slice_axis(own_mm)
    if axis is None:
        return own_mm
    parts = max(1, math.ceil(own_mm[axis] / THICKEST_MM - WHOLE))
    x, y, z = (side / parts if index == axis else side for index, side in enumerate(own_mm))
    return x, y, z


def slice_axis(own_mm: Spacing) -> int | None:
    """Returns the axis across a case's slices, as `target_spacing` finds it; None where it has none."""
    if max(own_mm) <= (1 + ISOTROPIC) * min(own_mm):
        return None

    def unlike(axis: int) -> tuple[float, float]:
        low, high = sorted(side for index, side in enumerate(own_mm) if index != axis)
        return round(high / low, 6), high

    return min((0, 1, 2), key=unlike)


def stored_shape(shape: Sequence[int], own_mm: Spacing, wanted: Wanted) -> Shape3:
    """Returns the voxels, along X Y Z, that a box of `shape` voxels of `own_mm` becomes."""
    return shape_at(shape, own_mm, target_spacing(own_mm, wanted))


def spacing_from_json(content: Any) -> Wanted:
    """Returns three numbers, or the rule's name, from a list or text that was checked or written by this version."""
    if content == "in_plane":
        return "in_plane"
    x_mm, y_mm, z_mm = (float(side) for side in content)
    return x_mm, y_mm, z_mm
