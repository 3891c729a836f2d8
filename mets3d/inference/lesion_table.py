"""Makes the table of the predicted lesions of a case."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from mets3d.data.nifti import Grid
from mets3d.data.nifti.orientation import ras_affine
from mets3d.inference.region_masks import measure
from mets3d.inference.slabs import numbered_voxels
from mets3d.ops.components import Numbers, components
from mets3d.ops.voxels import Box, Spacing, points_inside
from mets3d.regions import Region

Row = dict[str, Any]
PLACE, VOXEL = ("x_mm", "y_mm", "z_mm"), ("i", "j", "k")
LESION_COLUMNS = (
    *("region", "lesion", "volume_mm3", *PLACE, *VOXEL),
    *("peak_probability", "mean_probability", "voxels"),
)


def lesion_rows(
    region: Region,
    labels: UInt8[np.ndarray, "X Y Z"],
    probability: Float32[np.ndarray, "X Y Z"],
    painted: Box | None,
    spacing_mm: Spacing,
    origin: Sequence[int],
) -> list[Row]:
    """Returns one row per component of a region in the label map, the largest first, with LESION_COLUMNS as keys.

    i, j, k: the component's voxel that is nearest to its centroid, as indices of the case's array. x_mm, y_mm, z_mm:
    the centroid where it lies inside, else that voxel, as index times spacing.

    `painted` is a box outside of which nothing is painted, None where nothing is at all. `origin` is where the label
    map's first voxel lies in the case.
    """
    if painted is None:
        return []
    numbers, probability = components(region.mask(labels[painted])), probability[painted]
    found = measure(numbers, probability)
    totals, centres = _sums(numbers, probability, len(found.voxels))
    first = [start + side.start for start, side in zip(origin, painted, strict=True)]
    points = points_inside(numbers, centres / found.voxels[:, None], first, spacing_mm)
    rows = []
    for number, component in enumerate(np.argsort(-found.voxels, kind="stable"), start=1):
        voxels, point = int(found.voxels[component]), points[component]
        place = (index * side for index, side in zip(point.place, spacing_mm, strict=True))
        values = (
            *(region.name, number, voxels * math.prod(spacing_mm), *place, *point.voxel),
            *(float(found.peaks[component]), float(totals[component]) / voxels, voxels),
        )
        rows.append(dict(zip(LESION_COLUMNS, values, strict=True)))
    return rows


def in_scanner_space(rows: Iterable[Row], spacing_mm: Spacing, grid: Grid) -> list[Row]:
    """Returns rows of `lesion_rows` with x_mm, y_mm, z_mm in RAS mm by a file's affine.

    spacing_mm: of the case's RAS+ array, by which the rows were measured.
    """
    affine = ras_affine(grid)
    moved = []
    for row in rows:
        index = [row[name] / side for name, side in zip(PLACE, spacing_mm, strict=True)]
        moved.append({**row, **dict(zip(PLACE, (affine @ [*index, 1.0])[:3].tolist(), strict=True))})
    return moved


def as_stored(rows: Iterable[Row], grid: Grid) -> list[Row]:
    """Returns rows of `lesion_rows` with i, j, k as indices along the axes of a file, as viewers count them."""
    to_file = np.linalg.inv(grid.affine) @ ras_affine(grid)
    moved = []
    for row in rows:
        index = (to_file @ [*(row[name] for name in VOXEL), 1.0])[:3]
        moved.append({**row, **dict(zip(VOXEL, np.rint(index).astype(int).tolist(), strict=True))})
    return moved


def lesion_csv(rows: Iterable[Row]) -> str:
    """Returns the lesion table as CSV: a header, then a line per lesion, numbers in full precision."""
    text = io.StringIO()
    writer = csv.DictWriter(text, LESION_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _sums(
    numbers: Numbers, probability: Float32[np.ndarray, "X Y Z"], count: int
) -> tuple[Float64[np.ndarray, " N"], Float64[np.ndarray, "N 3"]]:
    """Returns every component's sum of probabilities, and its sum of voxel indices along each axis."""
    totals, indices = np.zeros(count + 1), np.zeros((count + 1, 3))
    for component, values, where in numbered_voxels(numbers, probability):
        totals += np.bincount(component, values, minlength=count + 1)
        for axis, index in enumerate(np.unravel_index(where, numbers.shape)):
            indices[:, axis] += np.bincount(component, index, minlength=count + 1)
    return totals[1:], indices[1:]
