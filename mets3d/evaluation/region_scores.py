"""Scores one region: numbers its lesions through all clusters, scores them one by one, then the region as a whole."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from mets3d.evaluation.rules import Cluster, RuleSet, meetings
from mets3d.evaluation.surfaces import (
    BoxMask,
    BoxNumbers,
    Chosen,
    Distances,
    PlacedMask,
    PointDistances,
    border_points,
    element_points,
    hausdorff,
    normalised_surface_dice,
    point_distances,
    pooled_hausdorff,
)
from mets3d.evaluation.tables import Row
from mets3d.ops.voxels import Point, Position, Shape3, Spacing, Toward, points_inside, sizes_and_centres
from mets3d.regions import Region

Kind = Literal["found", "missed", "false", "ignored"]
KINDS: tuple[Kind, ...] = ("found", "missed", "false")  # that count
NSD_TOLERANCES_MM = {"nsd_0.5": 0.5, "nsd_1.0": 1.0, "nsd_spacing": None}  # None: the smallest side of a voxel
SURFACE_SCORES = ("hd95", *NSD_TOLERANCES_MM)
GLOBAL_TOLERANCE_VOXELS = 0.5


# ---------------------------------------------------------------- matches


@dataclass(frozen=True, eq=False)
class Side:
    """The lesions of the reference, or the components of the prediction, numbered through all clusters.

    Per cluster: the region's mask, the numbers 1, 2, ... inside it, its corner, and how many came in earlier clusters.
    """

    masks: Sequence[BoxMask]
    numbers: Sequence[BoxNumbers]
    corners: Sequence[Shape3]
    before: Sequence[int]

    @cached_property
    def voxels(self) -> Int[np.ndarray, " N"]:
        """The size of each component in voxels; the first entry belongs to none."""
        return np.concatenate([[0], *(sizes for sizes, _ in self._measured)]).astype(np.int64)

    @cached_property
    def centres(self) -> Float[np.ndarray, "N 3"]:
        """The centre of each component in voxels of the image."""
        own = [centres + corner for (_, centres), corner in zip(self._measured, self.corners, strict=True)]
        return np.concatenate([np.zeros((1, 3)), *own])

    @cached_property
    def _measured(self) -> list[tuple[Int[np.ndarray, " _"], Float[np.ndarray, "_ 3"]]]:
        return [sizes_and_centres(numbers) for numbers in self.numbers]

    def points(self, spacing_mm: Spacing, toward: Toward) -> list[Point]:
        """Returns a point inside each component, see `Point`; the first entry belongs to none."""
        found = [Point((0, 0, 0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))]
        for numbers, corner, (_, centres) in zip(self.numbers, self.corners, self._measured, strict=True):
            found += points_inside(numbers, centres, corner, spacing_mm, toward)
        return found

    def placed(self) -> Iterable[PlacedMask]:
        """Returns, for each cluster, the mask, its numbers, its corner, and how many came before."""
        return zip(self.masks, self.numbers, self.corners, self.before, strict=True)


@dataclass(frozen=True, eq=False)
class Matched:
    """The lesions and the predicted components of a region, and which belong together."""

    prediction: Side
    reference: Side
    matches: Sequence[Int[np.ndarray, " _"]]  # for lesion i + 1 the numbers of its components
    common: Sequence[int]  # for lesion i + 1 the voxels that it has in common with them
    false: Int[np.ndarray, " F"]  # the numbers of the false components


def match_lesions(clusters: Sequence[Cluster], region: Region, rules: RuleSet) -> Matched:
    """Detects the lesions of a region in each cluster by the rules and numbers them through."""
    detections = [rules.detect(cluster, region, rules) for cluster in clusters]
    corners = [cluster.corner for cluster in clusters]
    lesions_before = list(accumulate((len(detection.matches) for detection in detections), initial=0))[:-1]
    components_before = list(accumulate((int(detection.components.max()) for detection in detections), initial=0))[:-1]
    matches: list[Int[np.ndarray, " _"]] = []
    common: list[int] = []
    false = [np.zeros(0, np.int64)]
    for detection, before in zip(detections, components_before, strict=True):
        shared = [0] * len(detection.matches)
        for lesion, component, voxels in zip(*meetings(detection.lesions, detection.components), strict=True):
            if component in detection.matches[lesion - 1]:
                shared[lesion - 1] += int(voxels)
        matches += [components + before for components in detection.matches]
        common += shared
        false.append(detection.false + before)
    prediction = [region.mask(cluster.prediction) for cluster in clusters]
    reference = [region.mask(cluster.reference) for cluster in clusters]
    return Matched(
        Side(prediction, [detection.components for detection in detections], corners, components_before),
        Side(reference, [detection.lesions for detection in detections], corners, lesions_before),
        matches,
        common,
        np.concatenate(false),
    )


class Surfaces:
    """Both kinds of surface of a region, with scores of all of it or of some lesions and components.

    Which kind HD95 is read off is the rules' choice; NSD is always that of border voxels.
    """

    def __init__(self, match: Matched, spacing_mm: Spacing, rules: RuleSet):
        self.rules, self.spacing_mm = rules, spacing_mm
        sides = match.prediction, match.reference
        borders = [border_points(side.placed()) for side in sides]
        self._borders = point_distances(borders[0], borders[1], spacing_mm)
        self._areas = None
        if rules.hd95 == "area":
            elements = [element_points(side.placed(), spacing_mm) for side in sides]
            self._areas = point_distances(elements[0], elements[1], spacing_mm)

    def scores(self, components: Chosen | None, lesion: int | None) -> dict[str, float]:
        """Returns `hd95` in mm and NSD at each tolerance, of one lesion (None: all) and some components (None: all).

        Both empty: NaN; one empty: HD95 +inf, NSD 0.
        """
        distances = _chosen(self._borders, components, lesion)
        scores = {"hd95": self._hd95(distances, components, lesion)}
        for name, tolerance_mm in NSD_TOLERANCES_MM.items():
            tolerance = min(self.spacing_mm) if tolerance_mm is None else tolerance_mm
            scores[name] = normalised_surface_dice(distances, tolerance) * (2 / (2 + self.rules.nsd_smoothing))
        return scores

    def in_voxels(self) -> Distances:
        """Returns the distances between the whole borders in voxels, whatever their size."""
        unit = (1.0, 1.0, 1.0)
        own = self._borders
        if self.spacing_mm != unit:
            own = point_distances(own.prediction, own.reference, unit)
        return _chosen(own, None, None)

    def _hd95(self, borders: Distances, components: Chosen | None, lesion: int | None) -> float:
        if self._areas is None:
            return pooled_hausdorff(borders)
        distances = _chosen(self._areas, components, lesion)
        nothing = not len(distances.prediction_areas_mm2) and not len(distances.reference_areas_mm2)
        return math.nan if nothing else hausdorff(distances)


def _chosen(surfaces: PointDistances, components: Chosen | None, lesion: int | None) -> Distances:
    prediction, reference = surfaces.prediction, surfaces.reference
    return surfaces.between(
        prediction.all if components is None else prediction.of(components),
        reference.all if lesion is None else reference.of(np.array([lesion])),
    )


# ---------------------------------------------------------------- lesion by lesion


@dataclass(frozen=True)
class Lesion:
    """A reference lesion with its match, or a false component."""

    component: int  # its number in `Matched`, of the reference or, for a false one, of the prediction
    kind: Kind
    reference_volume_mm3: float
    prediction_volume_mm3: float
    position_mm: Position  # of the centroid, along axes to the right, front and top, from wherever
    point: Point
    scores: dict[str, float]  # Dice, HD95 and NSD of the match

    @property
    def volume_mm3(self) -> float:
        """Its own volume: in the reference, or of a false one in the prediction."""
        return self.prediction_volume_mm3 if self.kind == "false" else self.reference_volume_mm3


def size_classes(edges_mm3: Sequence[float]) -> list[str]:
    """Returns names of the size classes between ascending edges, each from its lower edge to below its upper one."""
    if not edges_mm3:
        return []
    between = [f"{low:g}_to_{high:g}" for low, high in pairwise(edges_mm3)]
    return [f"below_{edges_mm3[0]:g}", *between, f"from_{edges_mm3[-1]:g}"]


def size_class(volume_mm3: float, edges_mm3: Sequence[float]) -> str:
    """Returns the class of a lesion by its own volume; empty without edges."""
    names = size_classes(edges_mm3)
    return names[int(np.searchsorted(edges_mm3, volume_mm3, side="right"))] if names else ""


def lesion_wise(lesions: Sequence[Lesion], rules: RuleSet, edges_mm3: Sequence[float], scores: Sequence[str]) -> Row:
    """Returns means of `scores` over the lesions that count and the false ones; counts and detection, all and by size.

    Missed and false ones enter the means with Dice 0, NSD 0 and the penalty as HD95, which are their scores.
    """
    row = _means(lesions, rules, scores)
    kinds = [lesion.kind for lesion in lesions]
    row |= {f"lesions_{kind}": kinds.count(kind) for kind in KINDS}
    row |= detection(*(kinds.count(kind) for kind in KINDS))
    sizes = [size_class(lesion.volume_mm3, edges_mm3) for lesion in lesions]
    for name in size_classes(edges_mm3):
        own = [kind for kind, size in zip(kinds, sizes, strict=True) if size == name]
        counts = [own.count(kind) for kind in KINDS]
        row |= {f"{kind}_{name}": count for kind, count in zip(KINDS, counts, strict=True)}
        row |= {f"{score}_{name}": value for score, value in detection(*counts).items()}
    if rules.detected_from_dice is not None:
        row |= _large_and_small(lesions, rules, rules.detected_from_dice)
    return row


def detection(found: int, missed: int, false: int) -> dict[str, float]:
    """Returns precision TP / (TP + FP), recall TP / (TP + FN), F1 2 TP / (2 TP + FP + FN); NaN where that is 0 / 0."""
    return {
        "precision": _share(found, found + false, math.nan),
        "recall": _share(found, found + missed, math.nan),
        "f1": _share(2 * found, 2 * found + false + missed, math.nan),
    }


def _means(lesions: Sequence[Lesion], rules: RuleSet, scores: Sequence[str]) -> Row:
    large = [
        lesion
        for lesion in lesions
        if lesion.kind in ("found", "missed") and lesion.reference_volume_mm3 >= rules.scored_from_mm3
    ]
    false = [lesion for lesion in lesions if lesion.kind == "false"]
    # Under rules that score large lesions alone, false ones without a large one make no score.
    counted = large + false if large or not rules.scored_from_mm3 else []
    nothing = {"hd95": 1 - rules.score_of_nothing}
    row = {}
    for name in scores:
        values = [lesion.scores[name] for lesion in counted]
        row[f"lesion_wise_{name}"] = sum(values) / len(values) if values else nothing.get(name, rules.score_of_nothing)
        if rules.scored_from_mm3:
            row[f"lesion_wise_{name}_sd"] = float(np.std(values)) if values else math.nan
    return row


def _large_and_small(lesions: Sequence[Lesion], rules: RuleSet, from_dice: float) -> Row:
    """Detects lesions above and below the size limit, a match counting from a Dice; all false ones in each."""
    row: Row = {}
    false = sum(lesion.kind == "false" for lesion in lesions)
    for name, large in (("large", True), ("small", False)):
        own = [
            lesion.scores["dice"] >= from_dice
            for lesion in lesions
            if lesion.kind in ("found", "missed") and (lesion.reference_volume_mm3 >= rules.scored_from_mm3) == large
        ]
        found, missed = sum(own), len(own) - sum(own)
        counts = {"found": found, "missed": missed, "false": false}
        scores = {
            score: 0.0 if math.isnan(value) else value for score, value in detection(found, missed, false).items()
        }
        row |= {f"{name}_{key}": value if own else math.nan for key, value in (counts | scores).items()}
    return row


def _share(part: int, whole: int, of_nothing: float) -> float:
    return part / whole if whole else of_nothing


# ---------------------------------------------------------------- as a whole


@dataclass(frozen=True)
class Overlap:
    """Voxel counts of a predicted mask against a reference mask, and the scores that follow from them."""

    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def both_empty(self) -> bool:
        """Whether neither mask has a voxel."""
        return self.true_positives + self.false_positives + self.false_negatives == 0

    @property
    def dice(self) -> float:
        """2 TP / (2 TP + FP + FN). Both masks empty: 1; one empty: 0."""
        right = 2 * self.true_positives
        return _share(right, right + self.false_positives + self.false_negatives, 1.0)

    @property
    def sensitivity(self) -> float:
        """TP / (TP + FN), voxel by voxel. Both masks empty: 1; the reference alone empty: 0."""
        return _share(self.true_positives, self.true_positives + self.false_negatives, float(self.both_empty))

    @property
    def specificity(self) -> float:
        """TN / (TN + FP), voxel by voxel. A reference that fills the image leaves nothing to get wrong: 1."""
        return _share(self.true_negatives, self.true_negatives + self.false_positives, 1.0)


def overlap(masks: Iterable[tuple[Bool[np.ndarray, "..."], Bool[np.ndarray, "..."]]], voxels: int) -> Overlap:
    """Counts the voxels of pairs of prediction and reference in boxes that together hold all of both.

    voxels: size of the image, which beyond the boxes is background.
    """
    both = false = missed = 0
    for prediction, reference in masks:
        common = int(np.count_nonzero(prediction & reference))
        both += common
        false += int(np.count_nonzero(prediction)) - common
        missed += int(np.count_nonzero(reference)) - common
    return Overlap(both, false, missed, voxels - both - false - missed)


def whole_volume(
    match: Matched, shape: Sequence[int], spacing_mm: Spacing, rules: RuleSet, surfaces: Surfaces | None
) -> Row:
    """Returns the scores of a region as a whole; without `surfaces` no distances."""
    prediction, reference = match.prediction, match.reference
    counts = overlap(zip(prediction.masks, reference.masks, strict=True), math.prod(shape))
    voxel_mm3 = math.prod(spacing_mm)
    reference_mm3 = float(counts.true_positives + counts.false_negatives) * voxel_mm3
    prediction_mm3 = float(counts.true_positives + counts.false_positives) * voxel_mm3
    row: Row = {
        "dice": rules.score_of_nothing if counts.both_empty else counts.dice,
        "sensitivity": counts.sensitivity,
        "specificity": counts.specificity,
        "reference_volume_mm3": reference_mm3,
        "prediction_volume_mm3": prediction_mm3,
        "volume_error_mm3": prediction_mm3 - reference_mm3,
        "smallest_spacing_mm": min(spacing_mm),
    }
    if surfaces:
        row |= _settled(surfaces.scores(None, None), shape, rules)
    if rules.deleted_up_to_voxels:
        row |= _without_deleted(match, shape, rules, surfaces, row)
    if surfaces and rules.scores_in_voxels:
        row |= _in_voxels(counts, shape, rules, surfaces)
    return row


def _settled(scores: dict[str, float], shape: Sequence[int], rules: RuleSet) -> dict[str, float]:
    """Replaces scores of masks without a surface: nothing on both sides, or the penalty for nothing on one."""
    nothing = math.isnan(scores["nsd_spacing"])
    hd95 = scores["hd95"]
    if nothing:
        hd95 = 1 - rules.score_of_nothing  # 0 where Dice is 1, no value where it has none
    elif math.isinf(hd95):
        hd95 = rules.penalty_mm(shape)
    return {
        "hd95": hd95,
        **{name: rules.score_of_nothing if nothing else scores[name] for name in NSD_TOLERANCES_MM},
    }


def _without_deleted(
    match: Matched, shape: Sequence[int], rules: RuleSet, surfaces: Surfaces | None, row: Row
) -> dict[str, float]:
    """Returns Dice and NSD of the table of 2024, as a whole without the predicted lesions that the rules delete."""
    names = ("dice", "nsd_0.5", "nsd_1.0")
    prediction, reference = match.prediction, match.reference
    whole = sum(int(np.count_nonzero(mask)) for mask in prediction.masks)
    if int(prediction.voxels.sum()) == whole:  # nothing was deleted
        return {f"legacy_{name}": row[name] for name in names if name in row}
    left = (numbers > 0 for numbers in prediction.numbers)
    counts = overlap(zip(left, reference.masks, strict=True), math.prod(shape))
    scores = {"dice": rules.score_of_nothing if counts.both_empty else counts.dice}
    if surfaces:
        scores |= _settled(surfaces.scores(np.arange(1, len(prediction.voxels)), None), shape, rules)
    return {f"legacy_{name}": scores[name] for name in names if name in scores}


def _in_voxels(counts: Overlap, shape: Sequence[int], rules: RuleSet, surfaces: Surfaces) -> dict[str, float]:
    """Returns HD95 and NSD in voxels, the voxel size ignored. Without a common voxel: the penalty and 0."""
    if counts.both_empty:
        return {"global_hd95": math.nan, "global_nsd": math.nan}
    if not counts.true_positives:
        return {"global_hd95": rules.penalty_mm(shape), "global_nsd": 0.0}
    distances = surfaces.in_voxels()
    return {
        "global_hd95": pooled_hausdorff(distances),
        "global_nsd": normalised_surface_dice(distances, GLOBAL_TOLERANCE_VOXELS),
    }
