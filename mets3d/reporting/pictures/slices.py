"""Which cases, which slices and which part of them a reader is shown. Arrays in, arrays out; drawing is next door.

A slice is shown in radiological orientation: the patient's right on the reader's left, anterior up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Integer, Shaped, UInt8

from mets3d.data.cases import Case
from mets3d.regions import RC, Region
from mets3d.reporting.run_record import RunRecord

ZOOM_SIDES_MM = (32.0, 48.0, 64.0, 96.0)
WINDOW_PERCENTILES = (0.5, 99.5)

Labels = Integer[np.ndarray, "X Y Z"]
Plane = Shaped[np.ndarray, "X Y"]
Shown = Shaped[np.ndarray, "rows columns"]


@dataclass(frozen=True)
class CaseVolumes:
    """A case in RAS: images by sequence, reference label map or None, predicted label maps by run."""

    name: str
    spacing_mm: tuple[float, float, float]
    images: Mapping[str, Float32[np.ndarray, "X Y Z"]]
    reference: Labels | None
    predictions: Mapping[str, Labels]


@dataclass(frozen=True)
class Frame:
    """A rectangle of a shown slice in voxels; it may reach beyond the image, where everything is 0."""

    row: int
    column: int
    rows: int
    columns: int

    def cut(self, shown: Shown) -> Shaped[np.ndarray, "cut_rows cut_columns"]:
        """The part of `shown` inside the frame, zeros where the frame reaches beyond it."""
        out = np.zeros((self.rows, self.columns), shown.dtype)
        top, left = max(self.row, 0), max(self.column, 0)
        bottom, right = min(self.row + self.rows, shown.shape[0]), min(self.column + self.columns, shown.shape[1])
        if bottom > top and right > left:
            inside = shown[top:bottom, left:right]
            out[top - self.row : bottom - self.row, left - self.column : right - self.column] = inside
        return out


@dataclass(frozen=True)
class SliceView:
    """One axial slice of one sequence as it is drawn: grey levels, masks by region, and the frames to show."""

    sequence: str
    index: int
    slices: int
    voxel_mm: tuple[float, float]  # along rows, along columns
    grey: UInt8[np.ndarray, "rows columns"]
    reference: dict[str, Bool[np.ndarray, "rows columns"]] = field(default_factory=dict)
    predictions: dict[str, dict[str, Bool[np.ndarray, "rows columns"]]] = field(default_factory=dict)
    whole: Frame = Frame(0, 0, 1, 1)
    zoom: Frame | None = None


def chosen_cases(dice: Mapping[str, float], available: Sequence[str], most: int = 6) -> list[tuple[str, str]]:
    """Up to `most` of the available cases with what they stand for: the two best, the middle and the worst by Dice.

    All of them, best first, where there are no more than `most`; cases without a value come last.
    """
    order = sorted(available, key=lambda case: (case not in dice, -dice.get(case, 0.0), case))
    amount = len(order)
    if not dice or amount <= most:
        picked = list(range(min(amount, most)))
    else:
        middle = (amount - 1) // 2
        wanted = (0, amount - 1, middle, 1, amount - 2, middle + 1)
        picked = sorted(dict.fromkeys(wanted[:most]))
    return [(order[rank], _standing(rank, amount) if order[rank] in dice else "") for rank in picked]


def _standing(rank: int, amount: int) -> str:
    if amount == 1:
        return ""
    if rank in (0, amount - 1):
        return "worst" if rank else "best"
    median = amount > 2 and rank in {(amount - 1) // 2, amount // 2}
    return f"rank {rank + 1} of {amount}" + (", median" if median else "")


def read_volumes(case: Case, records: Sequence[RunRecord], sequences: Sequence[str]) -> CaseVolumes:
    """Reads the sequences that there are, the reference and every run's prediction of a case.

    Raises FileNotFoundError or ValueError naming the file if one is missing, cannot be read or is on another grid.
    """
    from mets3d.data.nifti import read_image, read_labels

    volumes = {name: read_image(case.sequences[name]) for name in sequences if name in case.sequences}
    if not volumes:
        raise FileNotFoundError(f"{case.name}: none of the sequences {', '.join(sequences)} is there")
    first = next(iter(volumes.values()))
    files: dict[str, Path] = {record.label: record.predictions[case.name] for record in records}
    predictions = {label: read_labels(file).labels for label, file in files.items()}
    reference = read_labels(case.labels).labels if case.labels is not None else None
    for what, labels in {"reference": reference, **predictions}.items():
        if labels is not None and labels.shape != first.data.shape:
            raise ValueError(f"{case.name}: the scan has {first.data.shape} voxels, {what} has {labels.shape}")
    images = {name: volume.data for name, volume in volumes.items()}
    return CaseVolumes(case.name, first.spacing_mm, images, reference, predictions)


def views(volumes: CaseVolumes, regions: Sequence[Region]) -> list[SliceView]:
    """One view per sequence on which regions are shown: the slice with most of the innermost of them.

    Innermost by the reference: ET on t1c (TC or WT where there is no ET), WT on t2f. Where the reference has nothing,
    by the predictions; where these have nothing either, the slice with most brain, without a zoom.
    """
    return [
        _view(volumes, sequence, [region for region in regions if region.shown_on == sequence], regions)
        for sequence in dict.fromkeys(region.shown_on for region in regions)
        if sequence in volumes.images
    ]


def _view(volumes: CaseVolumes, sequence: str, shown: Sequence[Region], regions: Sequence[Region]) -> SliceView:
    image = volumes.images[sequence]
    brain = image != 0
    focus = _focus(volumes, [region for region in (*reversed(shown), regions[0]) if region != RC])
    weight = (brain if focus is None else focus).sum(axis=(0, 1))
    index = int(weight.argmax())
    voxel_mm = (volumes.spacing_mm[1], volumes.spacing_mm[0])

    def masks(labels: Labels) -> dict[str, Bool[np.ndarray, "rows columns"]]:
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
    reference = [] if volumes.reference is None else [volumes.reference]
    for maps in (reference, list(volumes.predictions.values())):
        for region in candidates:
            mask = np.zeros(next(iter(volumes.images.values())).shape, bool)
            for labels in maps:
                mask |= region.mask(labels)
            if mask.any():
                return mask
    return None


def radiological(plane: Plane) -> Shown:
    """An axial plane [X, Y] of a RAS volume as rows (anterior first) and columns (the patient's right first)."""
    return plane[::-1, ::-1].T


def grey_levels(
    image: Float32[np.ndarray, "X Y Z"], brain: Bool[np.ndarray, "X Y Z"], index: int
) -> UInt8[np.ndarray, "rows columns"]:
    """Slice `index` in 8 bits; the 0.5 and 99.5 percentiles of the brain's intensities become black and white."""
    return shades(radiological(image[:, :, index]), radiological(brain[:, :, index]), grey_window(image[brain]))


def grey_window(values: Float32[np.ndarray, " n"]) -> tuple[float, float]:
    """The 0.5 and 99.5 percentiles of the finite values, shown black and white; 0 and 1 where there are none."""
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, WINDOW_PERCENTILES) if finite.size else (0.0, 1.0)
    return float(low), float(high)


def shades(
    shown: Float32[np.ndarray, "rows columns"],
    inside: Bool[np.ndarray, "rows columns"],
    window: tuple[float, float],
) -> UInt8[np.ndarray, "rows columns"]:
    """Intensities in 8 bits between the two of a window; black where not `inside`."""
    low, high = window
    scaled = (np.nan_to_num(shown) - low) / max(high - low, 1e-6) * 255
    return np.where(inside, scaled.clip(0, 255), 0).astype(np.uint8)


def whole_frame(brain: Bool[np.ndarray, "rows columns"], voxel_mm: tuple[float, float]) -> Frame:
    """The smallest square in mm around the brain and a twentieth to spare; the whole slice where there is no brain."""
    mask = brain if brain.any() else np.ones_like(brain)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    centre = (rows[0] + rows[-1] + 1) / 2, (columns[0] + columns[-1] + 1) / 2
    side = 1.05 * max((rows[-1] + 1 - rows[0]) * voxel_mm[0], (columns[-1] + 1 - columns[0]) * voxel_mm[1])
    return square_frame(centre, side, voxel_mm)


def zoom_frame(mask: Bool[np.ndarray, "rows columns"], voxel_mm: tuple[float, float]) -> Frame:
    """A square over the densest part of a mask that is not empty.

    The smallest of ZOOM_SIDES_MM whose inner three quarters hold nine tenths of what those of the largest can hold.
    """
    held = {side: _fullest_window(mask, 0.75 * side, voxel_mm) for side in ZOOM_SIDES_MM}
    most = held[ZOOM_SIDES_MM[-1]][0]
    side = next(side for side in ZOOM_SIDES_MM if held[side][0] >= 0.9 * most)
    return square_frame(held[side][1], side, voxel_mm)


def _fullest_window(
    mask: Bool[np.ndarray, "rows columns"], side: float, voxel_mm: tuple[float, float]
) -> tuple[int, tuple[float, float]]:
    """Largest number of mask voxels in a square window of `side` mm, and the middle of those voxels."""
    rows, columns = (max(1, round(side / size)) for size in voxel_mm)
    padded = np.pad(mask, ((rows, rows), (columns, columns)))
    sums = np.pad(padded.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns] + sums[:-rows, :-columns]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    held = np.argwhere(padded[top : top + rows, left : left + columns])
    low, high = held.min(axis=0), held.max(axis=0) + 1
    middle = (low + high) / 2 + (top - rows, left - columns)
    return int(inside.max()), (float(middle[0]), float(middle[1]))


def square_frame(centre: tuple[float, float], side: float, voxel_mm: tuple[float, float]) -> Frame:
    """The square of `side` mm around a point (row, column, from the slice's corner in voxels), to the nearest voxel."""
    rows, columns = (max(1, round(side / size)) for size in voxel_mm)
    return Frame(round(centre[0] - rows / 2), round(centre[1] - columns / 2), rows, columns)
