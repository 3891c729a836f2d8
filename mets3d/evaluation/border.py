"""Distances between the border voxels of two masks: what NSD and the pooled HD95 of the later rule sets are made of.

A border voxel is a voxel of the mask with a face neighbour outside it; beyond the image is outside. `border_distances`
does the work, once for a pair; what is read off it costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from mets3d.evaluation.nearest_points import nearest_mm
from mets3d.ops.voxels import Spacing, Voxels, bounding_box, voxels_of


@dataclass(frozen=True)
class BorderDistances:
    """Every border voxel's distance in mm to the nearest border voxel of the other mask; +inf where there is none."""

    prediction_to_reference_mm: Float[np.ndarray, " P"]
    reference_to_prediction_mm: Float[np.ndarray, " R"]


def border(mask: Bool[np.ndarray, "X Y Z"]) -> Voxels:
    """Indices of the border voxels of a mask; none for an empty one."""
    box = bounding_box(mask)
    if box is None:
        return np.zeros((0, 3), np.int64)
    padded = np.pad(mask[box], 1)
    inside = mask[box].copy()
    for axis in range(3):
        for side in (slice(None, -2), slice(2, None)):
            place = [slice(1, -1)] * 3
            place[axis] = side
            inside &= padded[tuple(place)]
    return np.asarray(voxels_of(mask[box] & ~inside) + [side.start for side in box])


def border_distances(prediction: Voxels, reference: Voxels, spacing_mm: Spacing) -> BorderDistances:
    """Both directed sets of distances between two lists of border voxels."""
    return BorderDistances(nearest_mm(prediction, reference, spacing_mm), nearest_mm(reference, prediction, spacing_mm))


def normalised_surface_dice(distances: BorderDistances, tolerance_mm: float) -> float:
    """NSD: the mean over both directions of the share of border voxels within the tolerance of the other border.

    The form of nnU-Net and of the challenges of 2024 and 2026, which counts voxels; that of Nikolov et al. (arXiv
    1809.04430) weighs surface elements by area and differs. Both masks empty: NaN; one empty: 0.
    """
    sets = (distances.prediction_to_reference_mm, distances.reference_to_prediction_mm)
    if not any(len(found) for found in sets):
        return float("nan")
    if not all(len(found) for found in sets):
        return 0.0
    return sum(float(np.count_nonzero(found <= tolerance_mm)) / len(found) for found in sets) / 2


def pooled_hausdorff(distances: BorderDistances, percent: float = 95.0) -> float:
    """Percentile in mm of the distances of both directions thrown together, interpolated linearly.

    The HD95 of medpy and of the challenge of 2026. Both masks empty: NaN; one empty: +inf.
    """
    pooled = np.concatenate([distances.prediction_to_reference_mm, distances.reference_to_prediction_mm])
    if not len(pooled):
        return float("nan")
    return float(np.percentile(pooled, percent)) if np.isfinite(pooled).all() else float("inf")
