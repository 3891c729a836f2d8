"""Scores of one case: every region as a whole and lesion by lesion, by the rules of a challenge edition.

A rule set is a value: which regions, which lesions there are and what they match (`detect`), which are too small to
count, what a miss costs. Rules of BraTS-METS 2023 (arXiv 2306.00838), as the organisers' program applies them:

  1. The reference grown by one voxel (18 neighbours) is split into 26-connected parts; the reference inside one of them
     is a lesion, so that pieces up to two voxels apart are one. The prediction is split as it is.
  2. All predicted components that meet a grown lesion are its match, and one component may match several lesions.
     Dice and HD95 are those of the lesion and the union of its matches.
  3. Components that meet no grown lesion are false, of whatever size. Lesions without a match are missed.
  4. Lesions of at most 2 mm3 count for nothing, yet what meets them is not false.
  5. Score: the sum over found lesions, divided by found + missed + false; each missed or false one adds 374 mm to the
     sum of HD95. Nothing left to count: Dice 1, HD95 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, SupportsFloat

import numpy as np
from jaxtyping import Bool, Float, Integer, Shaped

from mets3d.evaluation.overlap import overlap
from mets3d.evaluation.surface import Spacing, bounding_box, hd95
from mets3d.regions import Region, scored_regions

Mask = Bool[np.ndarray, "X Y Z"]
Numbers = Integer[np.ndarray, "X Y Z"]  # 0 background, then 1, 2, ...
Box = tuple[slice, slice, slice]
Row = dict[str, Any]


class CaseScores(list[Row]):
    """One row per region, outermost region first; `lesions` holds one row per lesion and per false component."""

    def __init__(self, rows: Iterable[Row], lesions: Iterable[Row]):
        super().__init__(rows)
        self.lesions = list(lesions)


@dataclass(frozen=True)
class Pair:
    """One region's two masks, cropped to a box that holds both label volumes whole, with a margin of one voxel."""

    prediction: Mask
    reference: Mask
    spacing_mm: Spacing
    corner: tuple[int, int, int]  # the image's voxel where the box begins; -1 for a margin beyond the image
    image_voxels: int

    @property
    def voxel_mm3(self) -> float:
        return math.prod(self.spacing_mm)


@dataclass(frozen=True)
class Detection:
    """What a rule set calls a lesion, and what belongs to it.

    matches: for lesion i + 1 the numbers of its predicted components. false: numbers of components that count as false.
    """

    lesions: Numbers
    components: Numbers
    matches: Sequence[Integer[np.ndarray, " _"]]
    false: Integer[np.ndarray, " F"]


@dataclass(frozen=True)
class RuleSet:
    """One edition's rules."""

    name: str
    regions: tuple[Region, ...]
    detect: Callable[[Mask, Mask], Detection]
    ignored_up_to_mm3: float
    penalty_mm: float


def lesion_scores(
    prediction: Shaped[np.ndarray, "..."],
    reference: Shaped[np.ndarray, "..."],
    spacing_mm: Sequence[SupportsFloat] | Float[np.ndarray, "3"],
    *,
    rules: str = "brats2023",
) -> CaseScores:
    """The scores of one case: two label volumes [X, Y, Z] on one grid with voxels of `spacing_mm`.

    Returns a list with one dict per region (WT, TC, ET): `region`, `rules`, `lesion_wise_dice`, `lesion_wise_hd95` in
    mm, `lesions_found`, `lesions_missed`, `lesions_false`, and of the whole volume `dice`, `hd95` in mm, voxel-wise
    `sensitivity` and `specificity`, `reference_volume_mm3`, `prediction_volume_mm3`.

    Its attribute `lesions` has one dict per reference lesion and per false component: `region`, `rules`, `lesion` (a
    number within the region), `kind` (found, missed, false, or ignored as too small), both volumes (a component that
    matches several lesions is whole in each), the centroid `x_mm`, `y_mm`, `z_mm` along the array's axes (index times
    spacing), `dice`, `hd95`.

    Both masks of a region empty: Dice 1, HD95 0. One empty: Dice 0, HD95 374. Labels of no region are background.
    Raises ValueError for unknown rules, shapes that differ or are not 3-D, fractional labels, or a senseless spacing.
    """
    rule_set = rules_named(rules)
    _check_labels(prediction, reference)
    spacing = _checked_spacing(spacing_mm)
    box = bounding_box((prediction != 0) | (reference != 0)) or (slice(0, 1),) * 3
    # A margin, for cc3d 4.1 raises RuntimeError on a box one voxel wide and high in which every other voxel is set.
    corner = (box[0].start - 1, box[1].start - 1, box[2].start - 1)
    rows, lesions = [], []
    for region in rule_set.regions:
        predicted, expected = (np.pad(region.mask(labels[box]), 1) for labels in (prediction, reference))
        pair = Pair(np.ascontiguousarray(predicted), np.ascontiguousarray(expected), spacing, corner, reference.size)
        found = _lesion_rows(pair, rule_set)
        rows.append({"region": region.name, "rules": rules} | _lesion_wise(found) | _whole_volume(pair, rule_set))
        lesions += [{"region": region.name, "rules": rules} | row for row in found]
    return CaseScores(rows, lesions)


def rules_named(name: str) -> RuleSet:
    """The rule set of this name. Raises ValueError saying which there are."""
    for rule_set in RULE_SETS:
        if rule_set.name == name:
            return rule_set
    raise ValueError(f"expected rules to be one of {', '.join(known.name for known in RULE_SETS)}; found {name!r}")


# ---------------------------------------------------------------- the rule sets


def detect_2023(prediction: Mask, reference: Mask) -> Detection:
    """Lesions of the grown reference, components of the prediction; every pair that shares a voxel is a match."""
    from scipy import ndimage

    grown = _components(ndimage.binary_dilation(reference, ndimage.generate_binary_structure(3, 2)))
    components = _components(prediction)
    lesion_count, component_count = int(grown.max()), int(components.max())
    meeting = (grown > 0) & (components > 0)
    pairs = np.unique(grown[meeting].astype(np.int64) * (component_count + 1) + components[meeting])
    lesion, component = np.divmod(pairs, component_count + 1)
    ends = np.searchsorted(lesion, np.arange(1, lesion_count + 2))
    matches = [component[start:end] for start, end in pairwise(ends)]
    return Detection(grown * reference, components, matches, np.setdiff1d(np.arange(1, component_count + 1), component))


def _components(mask: Mask) -> Numbers:
    import cc3d

    return np.asarray(cc3d.connected_components(mask, connectivity=26))


BRATS_2023 = RuleSet(
    name="brats2023",
    regions=scored_regions(),
    detect=detect_2023,
    ignored_up_to_mm3=2.0,
    penalty_mm=374.0,  # the diagonal of 240 x 240 x 155 voxels of 1 mm, rounded up; used for every image
)
RULE_SETS = (BRATS_2023,)


# ---------------------------------------------------------------- one region


@dataclass(frozen=True)
class Parts:
    """Size, box and centre (in voxels) of each numbered part of a volume; number 0 is the background."""

    numbers: Numbers
    voxels: Integer[np.ndarray, " N"]
    boxes: Mapping[int, Box]
    centres: Float[np.ndarray, "N 3"]


def _lesion_rows(pair: Pair, rules: RuleSet) -> list[Row]:
    """One row per reference lesion, then, numbered on, one per false component."""
    detection = rules.detect(pair.prediction, pair.reference)
    lesions, components = _parts(detection.lesions), _parts(detection.components)
    rows = []
    for number, matched in enumerate(detection.matches, start=1):
        reference_mm3 = float(lesions.voxels[number]) * pair.voxel_mm3
        counts = reference_mm3 > rules.ignored_up_to_mm3
        row = {
            "lesion": number,
            "kind": ("found" if len(matched) else "missed") if counts else "ignored",
            "reference_volume_mm3": reference_mm3,
            "prediction_volume_mm3": float(components.voxels[matched].sum()) * pair.voxel_mm3,
        }
        scores = (
            _agreement(lesions, number, components, matched, pair.spacing_mm) if len(matched) else _nothing_right(rules)
        )
        rows.append(row | _centroid(lesions.centres[number], pair) | scores)
    for number, component in enumerate(detection.false, start=len(rows) + 1):
        row = {
            "lesion": number,
            "kind": "false",
            "reference_volume_mm3": 0.0,
            "prediction_volume_mm3": float(components.voxels[component]) * pair.voxel_mm3,
        }
        rows.append(row | _centroid(components.centres[component], pair) | _nothing_right(rules))
    return rows


def _lesion_wise(lesions: list[Row]) -> Row:
    """Sums over what counts; missed and false ones enter with their Dice of 0 and the penalty as HD95."""
    counted = [row for row in lesions if row["kind"] != "ignored"]
    kinds = [row["kind"] for row in counted]
    return {
        "lesion_wise_dice": sum(row["dice"] for row in counted) / len(counted) if counted else 1.0,
        "lesion_wise_hd95": sum(row["hd95"] for row in counted) / len(counted) if counted else 0.0,
        **{f"lesions_{kind}": kinds.count(kind) for kind in ("found", "missed", "false")},
    }


def _whole_volume(pair: Pair, rules: RuleSet) -> Row:
    counts = overlap(pair.prediction, pair.reference, pair.image_voxels)
    distance_mm = hd95(pair.prediction, pair.reference, pair.spacing_mm)
    return {
        "dice": counts.dice,
        "hd95": distance_mm if math.isfinite(distance_mm) else rules.penalty_mm,
        "sensitivity": counts.sensitivity,
        "specificity": counts.specificity,
        "reference_volume_mm3": int(np.count_nonzero(pair.reference)) * pair.voxel_mm3,
        "prediction_volume_mm3": int(np.count_nonzero(pair.prediction)) * pair.voxel_mm3,
    }


def _agreement(
    lesions: Parts, number: int, components: Parts, matched: Integer[np.ndarray, " C"], spacing_mm: Spacing
) -> Row:
    """Dice and HD95 of one lesion and its components, inside the smallest box that holds them."""
    boxes = [lesions.boxes[number], *(components.boxes[component] for component in matched)]
    box = tuple(
        slice(min(side.start for side in sides), max(side.stop for side in sides)) for sides in zip(*boxes, strict=True)
    )
    reference = lesions.numbers[box] == number
    prediction = np.isin(components.numbers[box], matched)
    return {"dice": overlap(prediction, reference).dice, "hd95": hd95(prediction, reference, spacing_mm)}


def _nothing_right(rules: RuleSet) -> Row:
    return {"dice": 0.0, "hd95": rules.penalty_mm}


def _centroid(centre: Float[np.ndarray, "3"], pair: Pair) -> Row:
    return {
        f"{axis}_mm": (first + float(voxels)) * spacing_mm
        for axis, first, voxels, spacing_mm in zip("xyz", pair.corner, centre, pair.spacing_mm, strict=True)
    }


def _parts(numbers: Numbers) -> Parts:
    import cc3d

    found = cc3d.statistics(numbers)
    boxes = {number: box for number, box in enumerate(found["bounding_boxes"]) if box is not None}
    return Parts(numbers, found["voxel_counts"], boxes, found["centroids"])


# ---------------------------------------------------------------- arguments


def _check_labels(prediction: Shaped[np.ndarray, "..."], reference: Shaped[np.ndarray, "..."]) -> None:
    if prediction.shape != reference.shape or reference.ndim != 3 or not reference.size:
        raise ValueError(
            f"expected two label volumes [X, Y, Z] of one shape, found {prediction.shape} for the prediction and "
            f"{reference.shape} for the reference; bring both onto the case's own grid"
        )
    for name, labels in (("prediction", prediction), ("reference", reference)):
        whole = labels.dtype.kind in "biu" or (labels.dtype.kind == "f" and bool((labels == np.rint(labels)).all()))
        if not whole:
            raise ValueError(
                f"expected whole numbers as labels, found others in the {name} ({labels.dtype}); "
                "hand in a label map, not probabilities"
            )


def _checked_spacing(spacing_mm: Sequence[SupportsFloat] | Float[np.ndarray, "3"]) -> Spacing:
    values = [float(value) for value in spacing_mm]
    if len(values) != 3 or not all(math.isfinite(value) and value > 0 for value in values):
        raise ValueError(f"expected three voxel sizes above 0 mm as spacing_mm, found {values}")
    return values[0], values[1], values[2]
