"""Brings the scans of one case, acquired on different grids, onto one of them by their headers.

The grid is that of t1c, without one that of the first sequence. A header says where the scanner saw a voxel; a patient
who moved between two scans is not moved back.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float32, Float64, Num, UInt8

from mets3d.data.case import LABELS, SEQUENCES
from mets3d.data.grids import Placed, lie_apart, sizes_differ
from mets3d.data.nifti import Grid, Header, ImageVolume, LabelVolume
from mets3d.ops.components import components
from mets3d.ops.resample import ROUNDING
from mets3d.ops.voxels import Box, Voxels, bounding_box, voxels_of

REFERENCE = "t1c"
LEAST_SHARE = 0.1  # of the grid's box, which a scan of the same head covers however few slices it has
SAMPLES = 32  # points an axis by which a share of the box is measured, within half a per cent
EDGE = 0.5 + 1e-6  # of a voxel, from its centre

Affine = Float64[np.ndarray, "4 4"]


class OnFile(Placed, Protocol):
    """A volume or header that also knows the grid of its file."""

    @property
    def source(self) -> Grid: ...


@dataclass(frozen=True)
class HowFar:
    """How a volume lies to the grid that it is brought onto.

    `shift_mm` is between the centres of the two boxes, `degrees` between their axes, `share` how much of the grid's box
    the volume covers.
    """

    shift_mm: float
    degrees: float
    share: float

    @property
    def overlaps(self) -> bool:
        """Whether the two can be of one head."""
        return self.share >= LEAST_SHARE

    def __str__(self) -> str:
        moved = f"centres {self.shift_mm:.3g} mm apart, turned by {self.degrees:.2g} degrees"
        return f"{moved}, covers {self.share:.0%} of the box"


def reference_of(names: Mapping[str, object]) -> str:
    """Returns the sequence on whose grid a case lies: t1c, or without it the first in channel order."""
    return next(name for name in (REFERENCE, *SEQUENCES, *names) if name in names)


def common_grid(headers: Mapping[str, Header]) -> Header | None:
    """Returns the header on whose grid the scans of a case are brought; None without scans."""
    images = {kind: header for kind, header in headers.items() if kind != LABELS}
    return headers[reference_of(images)] if images else None


def is_on_grid(volume: Placed, grid: Placed) -> bool:
    """Returns whether a volume lies on a grid, within the tolerance of `mets3d.data.grids`."""
    same_size = volume.shape == grid.shape and not sizes_differ(grid.spacing_mm, volume.spacing_mm)
    return same_size and not lie_apart(grid, volume)


def how_far(volume: Placed, grid: Placed) -> HowFar:
    """Measures how a volume lies to a grid."""
    one, other = (np.array([*((n - 1) / 2 for n in each.shape), 1]) for each in (volume, grid))
    shift = (volume.affine @ one - grid.affine @ other)[:3]
    turn = _directions(grid.affine).T @ _directions(volume.affine)
    degrees = float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))
    axes = [(np.arange(SAMPLES) + 0.5) * n / SAMPLES - 0.5 for n in grid.shape]
    indices = np.linalg.inv(volume.affine) @ grid.affine
    inside = sum(np.count_nonzero(_within(indices, x, axes[1], axes[2], volume.shape)) for x in axes[0].tolist())
    return HowFar(float(np.linalg.norm(shift)), degrees, float(inside / SAMPLES**3))


def image_onto(image: ImageVolume, grid: OnFile) -> ImageVolume:
    """Interpolates an image linearly at the voxels of a grid; its background beyond its own box.

    An image that lies on the grid already (`is_on_grid`) keeps its values.
    """
    if is_on_grid(image, grid):
        return replace(image, affine=grid.affine, spacing_mm=grid.spacing_mm, source=grid.source)
    indices = np.linalg.inv(image.affine) @ grid.affine
    above = image.data - image.background if image.background else image.data  # 0 stays 0 in interpolation
    data = _linear(above, indices, grid.shape)
    _clear_outside(data, indices, image.shape)
    if image.background:
        data += image.background
    return replace(image, data=data, affine=grid.affine, spacing_mm=grid.spacing_mm, source=grid.source)


def labels_onto(labels: LabelVolume, grid: OnFile) -> LabelVolume:
    """Brings a label map onto a grid: each voxel gets the label whose interpolated mask is the largest there.

    A lesion that is the largest nowhere, for it is smaller than a voxel, keeps the voxels nearest to its own. What lies
    outside the grid's box is lost.
    """
    if is_on_grid(labels, grid):
        return replace(labels, affine=grid.affine, spacing_mm=grid.spacing_mm, source=grid.source)
    found = np.zeros(grid.shape, dtype=np.uint8)
    own = bounding_box(labels.labels > 0, margin=1)
    if own is not None:
        cut, placed = labels.labels[own], _moved(labels.affine, own)
        box = _box_around(cut.shape, np.linalg.inv(grid.affine) @ placed, grid.shape)
        if box is not None:
            indices = np.linalg.inv(placed) @ _moved(grid.affine, box)
            found[box] = _largest(cut, indices, found[box].shape)
            _keep_small(cut, indices, found[box])
    return replace(labels, labels=found, affine=grid.affine, spacing_mm=grid.spacing_mm, source=grid.source)


def volumes_mm3(labels: LabelVolume) -> dict[int, float]:
    """Returns the volume of each label that is there, by the affine."""
    voxel = float(abs(np.linalg.det(labels.affine[:3, :3])))
    counts = np.bincount(labels.labels.ravel(), minlength=256).tolist()
    return {label: count * voxel for label, count in enumerate(counts) if label and count}


# ---------------------------------------------------------------- geometry


def _directions(affine: Affine) -> Float64[np.ndarray, "3 3"]:
    return np.asarray(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))


def _moved(affine: Affine, box: Box) -> Affine:
    """Returns the affine of a box of a volume."""
    moved = affine.copy()
    moved[:3, 3] = (affine @ [*(side.start for side in box), 1])[:3]
    return moved


def _box_around(shape: tuple[int, ...], to_grid: Affine, grid_shape: tuple[int, ...]) -> Box | None:
    """Returns the box of a grid in which a volume's voxels lie, edges included; None if they lie outside it."""
    corners = np.array(list(itertools.product(*((-0.5, n - 0.5) for n in shape), [1]))).T
    there = (to_grid @ corners)[:3]
    first = np.floor(there.min(axis=1)).astype(int).tolist()
    last = np.ceil(there.max(axis=1)).astype(int).tolist()
    sides = [slice(max(0, a), min(n, b + 1)) for a, b, n in zip(first, last, grid_shape, strict=True)]
    x, y, z = sides
    return None if any(side.start >= side.stop for side in sides) else (x, y, z)


def _within(
    indices: Affine,
    x: float,
    y: Num[np.ndarray, "Y"],
    z: Num[np.ndarray, "Z"],
    shape: tuple[int, ...],
) -> Bool[np.ndarray, "Y Z"]:
    """Returns which points (x, y, z) of a plane lie inside a volume's box. indices: from points to its voxels."""
    inside = np.ones((len(y), len(z)), dtype=bool)
    for row, n in zip(indices[:3], shape, strict=True):
        at = (row[0] * x + row[3] + row[1] * y)[:, None] + row[2] * z
        inside &= (at >= -EDGE) & (at <= n - 1 + EDGE)
    return inside


# ---------------------------------------------------------------- values


def _linear(
    values: Float32[np.ndarray, "X Y Z"], indices: Affine, shape: tuple[int, ...]
) -> Float32[np.ndarray, "x y z"]:
    """Interpolates at each voxel of a grid; beyond the outermost voxels' centres, as the outermost voxels."""
    from scipy.ndimage import affine_transform

    matrix, offset = indices[:3, :3], indices[:3, 3]
    return np.asarray(
        affine_transform(values, matrix, offset, shape, output=np.float32, order=1, mode="nearest", prefilter=False)
    )


def _clear_outside(values: Num[np.ndarray, "x y z"], indices: Affine, shape: tuple[int, ...]) -> None:
    """Sets a grid's voxels outside a volume's box to 0."""
    _, y, z = (np.arange(n) for n in values.shape)
    for x, plane in enumerate(values):
        plane[~_within(indices, x, y, z, shape)] = 0


def _largest(labels: UInt8[np.ndarray, "X Y Z"], indices: Affine, shape: tuple[int, ...]) -> UInt8[np.ndarray, "x y z"]:
    """Returns the label whose interpolated mask is the largest at each voxel; of equal ones the smaller."""
    winner = np.zeros(shape, dtype=np.uint8)
    highest = np.full(shape, -1, dtype=np.float32)
    for label in np.unique(labels):
        share = _linear((labels == label).astype(np.float32), indices, shape)
        higher = share > highest + ROUNDING
        winner[higher] = label
        highest[higher] = share[higher]
    _clear_outside(winner, indices, labels.shape)
    return winner


def _keep_small(labels: UInt8[np.ndarray, "X Y Z"], indices: Affine, found: UInt8[np.ndarray, "x y z"]) -> None:
    """Puts lesions that have no voxel on the grid at the voxels nearest to their own."""
    for label in np.unique(labels[labels > 0]):
        numbers = components(labels == label)
        own = _nearest(voxels_of(found == label), indices, labels.shape)
        kept = np.unique(numbers[tuple(own.T)])
        voxels = voxels_of(numbers > 0)
        lost = voxels[~np.isin(numbers[tuple(voxels.T)], kept)]
        found[tuple(_nearest(lost, np.linalg.inv(indices), found.shape).T)] = label


def _nearest(voxels: Voxels, indices: Affine, shape: tuple[int, ...]) -> Voxels:
    """Returns the nearest voxels of another volume, without those that lie outside it."""
    there = np.rint(voxels @ indices[:3, :3].T + indices[:3, 3]).astype(np.int64)
    return np.asarray(there[((there >= 0) & (there < shape)).all(axis=1)])
