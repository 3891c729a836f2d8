"""Describes where tumours lie: projections of brain and tumour onto three planes of the box around the brain.

The box makes heads of different size and position comparable without registering them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, UInt8

from mets3d.ops.voxels import Box
from mets3d.regions import WT

BINS = (36, 44, 36)  # along X Y Z of the box: about 4 mm
PLANES = {"axial": 2, "coronal": 1, "sagittal": 0}  # plane -> the axis that is looked along

Projection = Float[np.ndarray, "rows columns"]  # bins of the two axes that are left, in the order X Y Z


@dataclass(frozen=True)
class CasePlaces:
    """By plane, the share of each bin that one case's brain and whole tumour cover in projection."""

    brain: dict[str, Projection]
    tumour: dict[str, Projection] | None  # None without a tumour


@dataclass(frozen=True)
class Places:
    """By plane, the mean cover of the cases that have one: a share of cases in each bin."""

    brains: int
    tumours: int
    brain: dict[str, Projection]
    tumour: dict[str, Projection]


def describe_places(brain: Bool[np.ndarray, "X Y Z"], labels: UInt8[np.ndarray, "X Y Z"], box: Box) -> CasePlaces:
    """Projects the brain and its whole tumour inside the brain's box."""
    tumour = WT.mask(labels[box])
    return CasePlaces(_projections(brain[box]), _projections(tumour) if tumour.any() else None)


def collect_places(cases: Iterable[CasePlaces]) -> Places:
    """Sums up cases one after the other; none is kept."""
    brain, tumour = _nothing(), _nothing()
    brains = tumours = 0
    for case in cases:
        brains += 1
        for plane, cover in case.brain.items():
            brain[plane] += cover
        if case.tumour is not None:
            tumours += 1
            for plane, cover in case.tumour.items():
                tumour[plane] += cover
    for plane in PLANES:
        brain[plane] /= max(brains, 1)
        tumour[plane] /= max(tumours, 1)
    return Places(brains, tumours, brain, tumour)


def _nothing() -> dict[str, Projection]:
    return {plane: np.zeros([BINS[other] for other in range(3) if other != axis]) for plane, axis in PLANES.items()}


def _projections(mask: Bool[np.ndarray, "X Y Z"]) -> dict[str, Projection]:
    found = {}
    for plane, axis in PLANES.items():
        rows, columns = (_shares(mask.shape[other], BINS[other]) for other in range(3) if other != axis)
        cover = rows @ mask.any(axis=axis).astype(np.float64) @ columns.T
        found[plane] = cover.astype(np.float32)  # thousands of cases are held at a time
    return found


def _shares(voxels: int, bins: int) -> Float64[np.ndarray, "bins voxels"]:
    """Returns the matrix that averages `voxels` over `bins` of the same length together; its rows sum to 1."""
    edges = np.arange(bins + 1) * voxels / bins
    lower, upper = edges[:-1, None], edges[1:, None]
    voxel = np.arange(voxels)
    overlaps = np.clip(np.minimum(upper, voxel + 1) - np.maximum(lower, voxel), 0, None)
    return np.asarray(overlaps * bins / voxels)
