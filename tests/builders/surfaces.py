"""Surfaces of whole masks, and the distances between them without a choice of lesions."""

from __future__ import annotations

import numpy as np

from mets3d.evaluation.surfaces import Distances, Points, border, hausdorff, point_distances, surface_elements

Spacing = tuple[float, float, float]


def surface(mask: np.ndarray, spacing: Spacing) -> Points:
    where, areas = surface_elements(mask, spacing)
    return Points(where, np.ones(len(areas), np.int64), areas)


def border_surface(mask: np.ndarray) -> Points:
    where = border(mask)
    return Points(where, np.ones(len(where), np.int64), np.zeros(len(where)))


def whole_distances(prediction: Points, reference: Points, spacing: Spacing) -> Distances:
    return point_distances(prediction, reference, spacing).between(prediction.all, reference.all)


def hd95(prediction: np.ndarray, reference: np.ndarray, spacing: Spacing) -> float:
    """The area-weighted one of 2023 and 2024."""
    return hausdorff(whole_distances(surface(prediction, spacing), surface(reference, spacing), spacing))
