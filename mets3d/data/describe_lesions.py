"""Describes the lesions of a reference: the connected components of each region, their volumes and places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mets3d.data.nifti import LabelVolume
from mets3d.ops.components import components
from mets3d.ops.voxels import Box, Position, bounding_box
from mets3d.regions import BACKGROUND, ET, RC, TC, WT, Region

REGIONS = (WT, TC, ET, RC)  # of a reference, whatever is learned of it


@dataclass(frozen=True)
class DescribedLesion:
    """One connected component of a region, 26-connected."""

    volume_mm3: float
    voxels: int
    centre_mm: Position  # in the file's world, RAS+
    place: Position | None  # of the centre in the brain's box: 0 left, back, bottom to 1 right, front, top
    labels: tuple[int, ...]  # in it, ascending


def describe_lesions(labels: LabelVolume, brain_box: Box | None) -> dict[str, list[DescribedLesion]]:
    """Returns the lesions of each region, largest first. `brain_box`: around the brain on the same grid, if known."""
    tumour = bounding_box(labels.labels != BACKGROUND)
    if tumour is None:
        return {region.name: [] for region in REGIONS}
    return {region.name: _lesions(region, labels, tumour, brain_box) for region in REGIONS}


def _lesions(region: Region, labels: LabelVolume, tumour: Box, brain_box: Box | None) -> list[DescribedLesion]:
    cut = labels.labels[tumour]
    flat = np.flatnonzero(region.mask(cut))
    if not flat.size:
        return []
    numbered = components(region.mask(cut)).ravel()[flat]
    voxels = np.bincount(numbered)
    start = [side.start for side in tumour]
    sums = [np.bincount(numbered, axis) for axis in np.unravel_index(flat, cut.shape)]
    centres = np.stack(sums)[:, 1:] / voxels[1:] + np.array(start)[:, None]
    inside = {label: np.bincount(numbered, cut.ravel()[flat] == label) for label in region.labels}
    voxel_mm3 = float(np.prod(labels.spacing_mm))
    found = [
        DescribedLesion(
            int(amount) * voxel_mm3,
            int(amount),
            _world_mm(labels, centre),
            None if brain_box is None else _place(centre, brain_box),
            tuple(label for label in region.labels if inside[label][number]),
        )
        for number, (amount, centre) in enumerate(zip(voxels[1:], centres.T, strict=True), 1)
    ]
    return sorted(found, key=lambda lesion: -lesion.voxels)


def _world_mm(labels: LabelVolume, centre: np.ndarray) -> Position:
    x_mm, y_mm, z_mm, _ = (float(value) for value in labels.affine @ [*centre, 1.0])
    return x_mm, y_mm, z_mm


def _place(centre: np.ndarray, box: Box) -> Position:
    """Returns where a voxel's middle lies in a box, as shares of its sides."""
    x, y, z = ((float(at) + 0.5 - side.start) / (side.stop - side.start) for at, side in zip(centre, box, strict=True))
    return x, y, z
