"""Converts arrays, spacings, affines and positions between the axes of a file and RAS+."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, Num
from numpy.typing import DTypeLike

from mets3d.data.nifti.volumes import Grid, Shape
from mets3d.ops.voxels import Position, Spacing


def in_ras_order(stored: Num[np.ndarray, "x y z *C"], grid: Grid) -> Num[np.ndarray, "X Y Z *C"]:
    """Returns a view of an array as it lies in its file, its first three axes turned to RAS+."""
    import nibabel

    return np.asarray(nibabel.apply_orientation(stored, _orientation(grid)))


def in_file_order(ras: Num[np.ndarray, "X Y Z"], grid: Grid) -> Num[np.ndarray, "x y z"]:
    """Returns a view of a RAS+ array with the axes and directions of the file that it came from."""
    import nibabel
    from nibabel.orientations import axcodes2ornt, ornt_transform

    turn = ornt_transform(axcodes2ornt("RAS"), _orientation(grid))
    return np.asarray(nibabel.apply_orientation(ras, turn))


def ras_shape(grid: Grid) -> Shape:
    """Returns the grid's number of voxels along the axes of RAS+."""
    return tuple(grid.shape[axis] for axis in _ras_axes(grid))


def ras_spacing(grid: Grid) -> Spacing:
    """Returns the header's voxel size (mm) along the axes of RAS+.

    It is rounded to a nanometre: headers hold float32, where 0.859 is 0.8590000272.
    """
    x_mm, y_mm, z_mm = (round(grid.zooms[axis], 6) for axis in _ras_axes(grid))
    return x_mm, y_mm, z_mm


def zooms_along(grid: Grid, other: Grid) -> Spacing:
    """Returns the voxel size (mm) in one grid's header along the file axes of another grid."""
    in_ras_mm = [grid.zooms[axis] for axis in _ras_axes(grid)]
    x_mm, y_mm, z_mm = (in_ras_mm[int(axis)] for axis in _orientation(other)[:, 0])
    return x_mm, y_mm, z_mm


def ras_affine(grid: Grid) -> Float64[np.ndarray, "4 4"]:
    """Returns the affine that maps voxel indices of the RAS+ array to mm."""
    from nibabel.orientations import inv_ornt_aff

    return np.asarray(grid.affine @ inv_ornt_aff(_orientation(grid), grid.shape), dtype=np.float64)


def index_in(index: Sequence[float], grid: Grid, other: Grid) -> Position:
    """Turns an index along the axes of one file to those of another whose voxels are the same, stored otherwise."""
    ras = [0.0, 0.0, 0.0]
    for axis, (ras_axis, direction) in enumerate(_orientation(grid)):
        ras[int(ras_axis)] = float(index[axis] if direction > 0 else grid.shape[axis] - 1 - index[axis])
    i, j, k = (
        ras[int(ras_axis)] if direction > 0 else other.shape[axis] - 1 - ras[int(ras_axis)]
        for axis, (ras_axis, direction) in enumerate(_orientation(other))
    )
    return i, j, k


def world_mm(index: Sequence[float], grid: Grid) -> Position:
    """Returns where an index along a file's axes lies in scanner space, RAS mm, by the file's affine."""
    x_mm, y_mm, z_mm, _ = (float(value) for value in grid.affine @ [*index, 1.0])
    return x_mm, y_mm, z_mm


def laid_out(
    volume: Num[np.ndarray, "X Y Z"], order: Literal["C", "F"], dtype: DTypeLike | None = None
) -> Num[np.ndarray, "X Y Z"]:
    """Returns a copy of a volume in memory order C or F.

    X is fastest in files, Z in arrays. Copying one plane of equal Y after the other keeps both in the cache.
    """
    copy = np.empty(volume.shape, volume.dtype if dtype is None else dtype, order=order)
    for y in range(volume.shape[1]):
        copy[:, y] = volume[:, y]
    return copy


def _orientation(grid: Grid) -> Any:
    """Returns, for each axis of the file, its RAS+ axis and its direction along it (1 or -1)."""
    import nibabel

    return nibabel.io_orientation(grid.affine)


def _ras_axes(grid: Grid) -> Any:
    """Returns the file's axes in the order of RAS+."""
    return np.argsort(_orientation(grid)[:, 0])
