"""Cuts the slices of a case that the page shows, one a sequence: grey levels, masks, frames. Arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from mets3d.regions import RC, Region
from mets3d.reporting.pictures.case_volumes import CaseVolumes, Labels
from mets3d.reporting.pictures.frames import Frame, ShownMask, radiological, whole_frame, zoom_frame

WINDOW_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class SliceView:
    """One axial slice of one sequence as it is drawn: grey levels, masks by region, and the frames to show."""

    sequence: str
    index: int
    slices: int
    voxel_mm: tuple[float, float]  # along rows, along columns
    grey: UInt8[np.ndarray, "rows columns"]
    reference: dict[str, ShownMask]
    predictions: dict[str, dict[str, ShownMask]]
    whole: Frame
    zoom: Frame | None


def views(volumes: CaseVolumes, regions: Sequence[Region]) -> list[SliceView]:
    """Returns one view per sequence on which regions are shown: the slice with most of the innermost of them.

    Innermost by the reference: ET on t1c (TC or WT where there is no ET), WT on t2f, or on what is there
    (`Region.background`). Where the reference has nothing, by the predictions; where these have nothing either, the
    slice with most brain, without a zoom.
    """
    return [
        _view(
            volumes, sequence, [region for region in regions if region.background(volumes.images) == sequence], regions
        )
        for sequence in dict.fromkeys(region.background(volumes.images) for region in regions)
        if sequence in volumes.images
    ]


def grey_levels(
    image: Float32[np.ndarray, "X Y Z"], brain: Bool[np.ndarray, "X Y Z"], index: int
) -> UInt8[np.ndarray, "rows columns"]:
    """Returns slice `index` in 8 bits; the 0.5 and 99.5 percentiles of the brain's intensities are black and white."""
    return shades(radiological(image[:, :, index]), radiological(brain[:, :, index]), grey_window(image[brain]))


def grey_window(values: Float32[np.ndarray, " n"]) -> tuple[float, float]:
    """Returns the 0.5 and 99.5 percentiles of the finite values, shown black and white; 0 and 1 without any."""
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, WINDOW_PERCENTILES) if finite.size else (0.0, 1.0)
    return float(low), float(high)


def shades(
    shown: Float32[np.ndarray, "rows columns"], inside: ShownMask, window: tuple[float, float]
) -> UInt8[np.ndarray, "rows columns"]:
    """Scales intensities to 8 bits between the two of a window; black where not `inside`."""
    low, high = window
    scaled = (np.nan_to_num(shown) - low) / max(high - low, 1e-6) * 255
    return np.where(inside, scaled.clip(0, 255), 0).astype(np.uint8)


def _view(volumes: CaseVolumes, sequence: str, shown: Sequence[Region], regions: Sequence[Region]) -> SliceView:
    image = volumes.images[sequence]
    brain = image != 0
    focus = _focus(volumes, [region for region in (*reversed(shown), regions[0]) if region != RC])
    weight = (brain if focus is None else focus).sum(axis=(0, 1))
    index = int(weight.argmax())
    voxel_mm = (volumes.spacing_mm[1], volumes.spacing_mm[0])

    def masks(labels: Labels) -> dict[str, ShownMask]:
        return {region.name: radiological(region.mask(labels[:, :, index])) for region in shown}

    return SliceView(
        sequence,
        index,
        image.shape[2],
        voxel_mm,
        grey_levels(image, brain, index),
        {} if volumes.reference is None else masks(volumes.reference),
        {label: masks(labels) for label, labels in volumes.predictions.items()},
        whole_frame(radiological(brain.any(axis=2)), voxel_mm),
        None if focus is None else zoom_frame(radiological(focus[:, :, index]), voxel_mm),
    )


def _focus(volumes: CaseVolumes, candidates: Sequence[Region]) -> Bool[np.ndarray, "X Y Z"] | None:
    """Returns the mask of the first candidate that the reference has, else of the first that a prediction has."""
    reference = [] if volumes.reference is None else [volumes.reference]
    for maps in (reference, list(volumes.predictions.values())):
        for region in candidates:
            mask = np.zeros(next(iter(volumes.images.values())).shape, bool)
            for labels in maps:
                mask |= region.mask(labels)
            if mask.any():
                return mask
    return None
