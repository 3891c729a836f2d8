"""Computes statistics of a data set: sizes, lesions, intensities, and the score of a single threshold on one sequence.

The threshold is the baseline that a network has to beat. Its Dice for every threshold and any set of cases follows from
two histograms a case, so nothing is read again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float16, Float64, UInt8

from mets3d.data import DataError
from mets3d.data.case import SEQUENCES, in_order
from mets3d.data.stored_case import Entry, foreground_index
from mets3d.data.survival import Row, total, unchanged
from mets3d.regions import WT, scored_regions

LOWEST, HIGHEST, BINS = -4.0, 8.0, 240  # z-scored intensity; beyond it, one more bin at either end
# On which WT is thresholded: the first of them that is a channel, else the first channel.
THRESHOLDED = (WT.shown_on, "t1c", "t2w", "t1n")


def thresholds() -> Float64[np.ndarray, " T"]:
    """Returns the edges of the histogram's bins, ascending."""
    return np.linspace(LOWEST, HIGHEST, BINS + 1)


def describe_case(
    image: Float16[np.ndarray, "C X Y Z"],
    labels: UInt8[np.ndarray, "X Y Z"],
    entry: Entry,
    *,
    cavity: bool,
    channels: Sequence[str] = SEQUENCES,
    survival: list[Row] | None = None,
) -> dict[str, Any]:
    """Returns one stored case's row, JSON-able: shape and spacing as acquired, intensities, lesions, histograms.

    Differences and missing sequences have no intensities. channels: of the image. survival: the lesions before and
    after resampling, None where nothing was resampled.
    """
    voxel_mm3 = math.prod(entry.stored_spacing_mm)
    lesions = {}
    for region in scored_regions(cavity):
        _, offsets = foreground_index(region.mask(labels))
        lesions[region.name] = [round(float(size) * voxel_mm3, 3) for size in np.diff(offsets)]
    return {
        "shape": list(entry.shape),
        "spacing_mm": list(entry.spacing_mm),
        "mean": _there(channels, entry.mean),
        "std": _there(channels, entry.std),
        "lesion_volumes_mm3": lesions,
        "survival": unchanged(lesions) if survival is None else survival,
        "histogram": _histogram(image, WT.mask(labels), channels),
    }


def collect(rows: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Returns the fingerprint of a data set: its rows and statistics over them."""
    lesions = {
        region: [row["lesion_volumes_mm3"][region] for row in rows.values()]
        for region in next(iter(rows.values()))["lesion_volumes_mm3"]
    }
    return {
        "histogram": {
            "sequence": next(iter(rows.values()))["histogram"]["sequence"],
            "region": WT.name,
            "lowest": LOWEST,
            "highest": HIGHEST,
            "bins": BINS,
        },
        "median_shape": [float(n) for n in np.median([row["shape"] for row in rows.values()], axis=0)],
        "median_spacing_mm": [float(n) for n in np.median([row["spacing_mm"] for row in rows.values()], axis=0)],
        "intensity": {
            sequence: {
                key: float(np.mean([row[key][sequence] for row in rows.values() if sequence in row[key]]))
                for key in ("mean", "std")
            }
            for sequence in in_order(dict.fromkeys(name for row in rows.values() for name in row["mean"]))
        },
        "lesions": {region: _spread(volumes) for region, volumes in lesions.items()},
        "survival": total(row for case in rows.values() for row in case["survival"]),
        "cases": dict(rows),
    }


def best_threshold(
    fingerprint: Mapping[str, Any], training: Sequence[str], validation: Sequence[str]
) -> dict[str, Any]:
    """Finds the threshold on a z-scored sequence with the highest mean whole-volume Dice of WT on the training cases.

    The sequence is the fingerprint's: t2f where it is a channel. A brain voxel counts as WT where it is at or above the
    threshold, of a case that lacks the sequence none above 0; candidates are `thresholds()`, the lowest of equals wins.
    Dice = 2 TP / (predicted + reference), 1 if both are empty. The dict has sequence, region, threshold, training_dice,
    validation_dice (None without validation cases) and per_case, the Dice of each validation case.
    Raises DataError if a case is not in the fingerprint or there is no training case.
    """
    unknown = [name for name in (*training, *validation) if name not in fingerprint["cases"]]
    if unknown or not training:
        raise DataError(f"no fingerprint of case {unknown[0]}" if unknown else "a threshold needs a training case")
    curves = {name: dice_curve(fingerprint["cases"][name]["histogram"]) for name in (*training, *validation)}
    mean = np.mean([curves[name] for name in training], axis=0)
    best = int(mean.argmax())
    per_case = {name: float(curves[name][best]) for name in validation}
    return {
        "sequence": fingerprint["histogram"]["sequence"],
        "region": WT.name,
        "threshold": float(thresholds()[best]),
        "training_dice": float(mean[best]),
        "validation_dice": float(np.mean(list(per_case.values()))) if per_case else None,
        "per_case": per_case,
    }


def dice_curve(histogram: Mapping[str, Any]) -> Float64[np.ndarray, " T"]:
    """Returns the whole-volume Dice of WT at each of `thresholds()`, from the histograms of one case."""
    inside, outside = _at_least(histogram["inside"]), _at_least(histogram["outside"])
    total = inside + outside + histogram["reference_voxels"]
    return np.where(total > 0, 2 * inside / np.maximum(total, 1), 1.0)


# ---------------------------------------------------------------- parts


def _there(channels: Sequence[str], values: Sequence[float | None]) -> dict[str, float]:
    return {name: value for name, value in zip(channels, values, strict=True) if value is not None}


def _histogram(image: Float16[np.ndarray, "C X Y Z"], tumour: Any, channels: Sequence[str]) -> dict[str, Any]:
    """Counts brain voxels per bin; the first bin is below all thresholds, the last above."""
    brain = (image != 0).any(0)
    sequence = next((name for name in THRESHOLDED if name in channels), channels[0])
    values = image[channels.index(sequence)]
    edges = thresholds()

    def counts(mask: Any) -> list[int]:
        bins = np.searchsorted(edges, values[mask].astype(np.float64), side="right")
        return [int(count) for count in np.bincount(bins, minlength=BINS + 2)]

    return {
        "sequence": sequence,
        "inside": counts(brain & tumour),
        "outside": counts(brain & ~tumour),
        "reference_voxels": int(np.count_nonzero(tumour)),
    }


def _at_least(counts: Sequence[int]) -> Float64[np.ndarray, " T"]:
    """Returns the number of voxels at or above each threshold."""
    return np.cumsum(np.asarray(counts, dtype=np.float64)[::-1])[::-1][1:]


def _spread(volumes_mm3: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Returns statistics of lesions a case and of their volumes; none of volumes without lesions."""
    every: Float[np.ndarray, " n"] = np.concatenate([np.asarray(volumes, dtype=np.float64) for volumes in volumes_mm3])
    percentiles = {str(p): float(np.percentile(every, p)) for p in (5, 25, 50, 75, 95)} if every.size else {}
    counts = [len(volumes) for volumes in volumes_mm3]
    return {
        "lesions": int(every.size),
        "per_case_median": float(np.median(counts)),
        "per_case_most": int(max(counts)),
        "cases_without": int(sum(count == 0 for count in counts)),
        "volume_mm3_percentiles": percentiles,
    }
