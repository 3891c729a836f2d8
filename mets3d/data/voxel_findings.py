"""Finds faults of one case in its scans' voxels."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float32

from mets3d.data.case_summary import mean_and_std
from mets3d.data.cases import Case, Finding
from mets3d.data.nifti import ImageVolume
from mets3d.ops.components import components
from mets3d.ops.voxels import bounding_box
from mets3d.wording import counted

Mask = Bool[np.ndarray, "X Y Z"]

LEAST_BACKGROUND = 0.1  # a stripped brain fills about half of its bounding box, a head with air around it nearly all
LEAST_COVERED = 0.75  # of the brain, by each sequence; a real case has 9 % zeros in t1c at the rim
HOLE = 5e-4, 8  # share of the brain, and voxels: real cases have up to 7 enclosed zeros in 1.5 million voxels
# A value is an outlier if it lies ten times as far from the median as nine tenths of the voxels do: of three real cases
# the farthest lie at five. Outliers matter if they at least double the standard deviation, or lie fifty of them away:
# real cases peak at 3 to 14.
FAR, DOUBLED, PEAK = 10.0, 2.0, 50.0
SAMPLED = 200_000  # voxels from which percentiles are taken
# A whole brain meets the border of its volume with a few voxels if at all; at the bottom the brain stem is always cut.
LEAST_CUT, LEAST_CUT_BELOW, LEAST_AREA = 0.25, 0.5, 25  # of the largest slice, and voxels
LEAST_HEAD = 10_000  # voxels, for scalp and bone to be seen
LARGEST_BRAIN_ML = 2300.0  # with its liquor; adults have 1,000 to 1,900
RAYS = 3  # one of so many rays along either side shows enough
NEGATIVE = 0.1  # of the largest value; interpolation makes small negative values
SCALP_MM, WITHIN_MM, SCALP = (0.0, 10.0), (12.0, 20.0), 1.4  # scalp is 1.8 to 3.5 times as bright as what lies within


def image_findings(case: Case, sequence: str, image: ImageVolume) -> list[Finding]:
    """Returns the findings about one sequence's values."""
    name = case.sequences[sequence].path.name
    low, high = float(image.data.min()), float(image.data.max())  # both NaN where one voxel is
    if not math.isfinite(low) or not math.isfinite(high):
        count = int(np.count_nonzero(~np.isfinite(image.data)))
        detail = f"{sequence} is NaN or infinite in {counted(count, 'voxel')} ({name})"
        return [Finding(case.name, "error", "not a number", detail, "convert the scan again")]
    if low == high:
        detail = f"{sequence} is {low:g} everywhere ({name})"
        return [Finding(case.name, "error", "constant image", detail, "convert the scan again")]
    if low < 0:
        count = int(np.count_nonzero(image.data < 0))
        detail = f"{sequence} has {count}, down to {low:g}; they are kept"
        return [Finding(case.name, "note", "negative values", detail)]
    return []


def brain_findings(case: Case, images: Mapping[str, ImageVolume], brain: Mask) -> list[Finding]:
    """Returns the findings about the brain's form: a skull, cut sides and holes."""
    filled = np.count_nonzero(brain)
    if not filled:
        return []
    background = 1 - filled / brain.size
    if background < LEAST_BACKGROUND:
        detail = f"only {background:.1%} of the voxels are zero in all sequences"
        return [_skull(case, detail)]
    findings = _cut(case, brain) + _holes(case, images, brain)
    first = next(iter(images.values()))
    if filled >= LEAST_HEAD:
        findings += _skull_under_air(case, images, brain, filled * math.prod(first.spacing_mm) / 1000)
    return findings


def intensity_findings(case: Case, sequence: str, inside: Float32[np.ndarray, "N"], background: float) -> list[Finding]:
    """Returns the findings about one sequence's values in the brain. `background`: its value outside."""
    low, high = float(inside.min()), float(inside.max())
    if low == high:
        detail = f"{sequence} is {low:g} everywhere in the brain ({case.sequences[sequence].path.name})"
        return [Finding(case.name, "error", "constant image", detail, "convert the scan again")]
    findings = []
    covered = np.count_nonzero(inside != background) / inside.size
    if covered < LEAST_COVERED:
        detail = f"{sequence} is {background:g} in {1 - covered:.0%} of the brain"
        advice = "look whether it was cut off or belongs to another case"
        findings.append(Finding(case.name, "warning", "part of the brain", detail, advice))
    return findings + _outliers(case, sequence, inside, low, high)


# ---------------------------------------------------------------- values


def _outliers(case: Case, sequence: str, inside: Float32[np.ndarray, "N"], low: float, high: float) -> list[Finding]:
    """Finds few voxels by which the standard deviation is that of themselves."""
    sample = inside[:: max(1, inside.size // SAMPLED)]
    tenth, middle, nine_tenths = (float(value) for value in np.percentile(sample, [10, 50, 90]))
    reach = FAR * max(middle - tenth, nine_tenths - middle)
    if max(middle - low, high - middle) <= reach:
        return []
    outside = (inside > middle + reach) | (inside < middle - reach)
    (_, all_std), (_, others_std) = mean_and_std(inside), mean_and_std(inside[~outside])
    peak = max(high - middle, middle - low)
    if all_std < DOUBLED * others_std and peak < PEAK * all_std:
        return []
    extreme = high if high - middle > middle - low else low
    detail = (
        f"{sequence} has {np.count_nonzero(outside):,} of {inside.size:,} brain voxels up to {extreme:g}, where four "
        f"fifths lie between {tenth:g} and {nine_tenths:g}; the standard deviation is {all_std:.4g}, without them "
        f"{others_std:.4g}"
    )
    advice = "set preprocess.clip_percentile, as to 99.9, or correct the scan"
    return [Finding(case.name, "warning", "outlier takes the scale", detail, advice)]


# ---------------------------------------------------------------- form


def _cut(case: Case, brain: Mask) -> list[Finding]:
    """Finds sides of the volume at which the brain ends in a large area."""
    box = bounding_box(brain)
    assert box is not None
    if all(side.start > 0 and side.stop < length for side, length in zip(box, brain.shape, strict=True)):
        return []
    cut = []
    for axis, (low, high) in enumerate((("left", "right"), ("posterior", "anterior"), ("inferior", "superior"))):
        others = tuple(other for other in range(3) if other != axis)
        areas = np.count_nonzero(brain, axis=others)
        largest = int(areas.max())
        for side, area in ((low, int(areas[0])), (high, int(areas[-1]))):
            least = LEAST_CUT_BELOW if side == "inferior" else LEAST_CUT
            if area >= LEAST_AREA and area > least * largest:
                cut.append(f"{area / largest:.0%} of its largest slice at the {side} side")
    if not cut:
        return []
    detail = f"the brain ends at the border of the volume, with {', '.join(cut)}"
    return [Finding(case.name, "warning", "cut brain", detail, "look whether the scan covers the whole brain")]


def _holes(case: Case, images: Mapping[str, ImageVolume], brain: Mask) -> list[Finding]:
    """Finds zeros that the brain encloses in at least one sequence."""
    box = bounding_box(brain)
    assert box is not None
    nonzero = brain[box].copy()
    for image in images.values():
        nonzero &= image.data[box] != image.background
    zeros = components(~nonzero, connectivity=6)
    sizes = np.zeros(int(zeros.max()) + 1, dtype=np.int64)
    for plane in zeros:
        counts = np.bincount(plane.ravel())
        sizes[: len(counts)] += counts
    enclosed = np.arange(len(sizes)) > 0
    for axis in range(3):
        for side in (0, -1):
            enclosed[zeros.take(side, axis)] = False
    share, least = HOLE
    least = max(least, math.ceil(share * np.count_nonzero(brain)))
    if sizes[enclosed].sum() < least:
        return []
    by_sequence = {
        sequence: np.count_nonzero(enclosed[zeros] & (image.data[box] == image.background))
        for sequence, image in images.items()
    }
    found = [f"{sequence} in {count:,}" for sequence, count in by_sequence.items() if count >= least]
    if not found:
        return []
    detail = f"voxels inside the brain are zero, which means background: {', '.join(found)}"
    advice = "look whether a mask or a threshold cut them out"
    return [Finding(case.name, "warning", "zeros inside the brain", detail, advice)]


def _skull_under_air(case: Case, images: Mapping[str, ImageVolume], brain: Mask, millilitres: float) -> list[Finding]:
    """Finds a head whose air was set to zero: by its volume, and by the bright scalp under its surface."""
    if millilitres > LARGEST_BRAIN_ML:
        return [
            _skull(case, f"what is not zero measures {millilitres:,.0f} ml, a brain at most {LARGEST_BRAIN_ML:,.0f}")
        ]
    sequence = next((one for one in ("t1n", "t1c") if one in images and _is_raw(images[one])), None)
    if sequence is None:
        return []
    ratio = _rim_ratio(images[sequence], brain)
    if ratio <= SCALP:
        return []
    return [_skull(case, f"the rim is {ratio:.1f} times as bright as what lies within in {sequence}, as scalp is")]


def _is_raw(image: ImageVolume) -> bool:
    """Returns whether values are those of a scanner: of normalised ones no ratio means anything."""
    return bool(-image.data.min() < NEGATIVE * image.data.max())


def _skull(case: Case, detail: str) -> Finding:
    advice = "strip the skull, so that all is zero outside the brain, or set preprocess.brain to file or none"
    return Finding(case.name, "warning", "skull not stripped?", detail, advice)


def _rim_ratio(image: ImageVolume, brain: Mask) -> float:
    """Returns how much brighter the rim is than what lies 12 to 20 mm within it: the median of four sides."""
    box = bounding_box(brain)
    assert box is not None
    ratios = []
    for axis in (0, 1):
        for step in (1, -1):
            inward, values = (np.moveaxis(array[box], axis, 0)[::step, ::RAYS, ::RAYS] for array in (brain, image.data))
            levels = _levels(values, inward, image.spacing_mm[axis])
            rim = [level for depth_mm, level in levels.items() if SCALP_MM[0] <= depth_mm <= SCALP_MM[1]]
            within = [level for depth_mm, level in levels.items() if WITHIN_MM[0] <= depth_mm <= WITHIN_MM[1]]
            if rim and within and np.median(within) > 0:
                ratios.append(max(rim) / float(np.median(within)))
    return float(np.median(ratios)) if ratios else 0.0


def _levels(
    values: Float32[np.ndarray, "D P Q"], inward: Bool[np.ndarray, "D P Q"], side_mm: float
) -> dict[float, float]:
    """Returns the median value by depth (mm) below the first voxel of the brain along the first axis."""
    rays = np.nonzero(inward.any(axis=0))
    first = inward.argmax(axis=0)[rays]
    levels = {}
    for step in range(int(WITHIN_MM[1] / side_mm) + 1):
        deep = first + step < len(values)
        levels[step * side_mm] = float(np.median(values[first[deep] + step, rays[0][deep], rays[1][deep]]))
    return levels
