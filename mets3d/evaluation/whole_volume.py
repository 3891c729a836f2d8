"""Surface scores of chosen parts of a region, and the scores of the region as a whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from mets3d.evaluation.border import BorderDistances, normalised_surface_dice, pooled_hausdorff
from mets3d.evaluation.matched import Parts
from mets3d.evaluation.overlap import Overlap
from mets3d.evaluation.point_distances import Contact, Points, contact
from mets3d.evaluation.rules import RuleSet
from mets3d.evaluation.surface import hausdorff
from mets3d.ops.voxels import Spacing

NSD_TOLERANCES_MM = {"nsd_0.5": 0.5, "nsd_1.0": 1.0, "nsd_spacing": None}  # None: the smallest side of a voxel
SURFACE_SCORES = ("hd95", *NSD_TOLERANCES_MM)
GLOBAL_TOLERANCE_VOXELS = 0.5

Numbers = Int[np.ndarray, " _"]


class Surfaces:
    """Both kinds of surface of a region, and their scores for all of it or for some lesions and components.

    Which kind HD95 is read off is the rules' choice; NSD is always that of border voxels.
    """

    def __init__(self, found: Parts, spacing_mm: Spacing, rules: RuleSet):
        self.rules, self.spacing_mm = rules, spacing_mm
        self._borders = contact(found.prediction.borders(), found.reference.borders(), spacing_mm)
        self._areas = None
        if rules.hd95 == "area":
            self._areas = contact(
                found.prediction.surfaces(spacing_mm), found.reference.surfaces(spacing_mm), spacing_mm
            )

    def scores(self, components: Numbers | None, lesion: int | None) -> dict[str, float]:
        """`hd95` in mm and NSD at each tolerance, of one lesion (None: all) and some components (None: all).

        Both empty: NaN; one empty: HD95 +inf, NSD 0.
        """
        distances = self._borders.borders(*_chosen(self._borders, components, lesion))
        scores = {"hd95": self._hd95(distances, components, lesion)}
        for name, tolerance_mm in NSD_TOLERANCES_MM.items():
            tolerance = min(self.spacing_mm) if tolerance_mm is None else tolerance_mm
            scores[name] = normalised_surface_dice(distances, tolerance) * (2 / (2 + self.rules.nsd_smoothing))
        return scores

    def in_voxels(self, found: Parts) -> BorderDistances:
        """Distances between the whole borders in voxels, whatever their size."""
        unit = (1.0, 1.0, 1.0)
        own = self._borders
        if self.spacing_mm != unit:
            own = contact(found.prediction.borders(), found.reference.borders(), unit)
        return own.borders(own.prediction.all, own.reference.all)

    def _hd95(self, distances: BorderDistances, components: Numbers | None, lesion: int | None) -> float:
        if self._areas is None:
            return pooled_hausdorff(distances)
        predicted, expected = _chosen(self._areas, components, lesion)
        if not len(predicted) and not len(expected):
            return math.nan
        return hausdorff(self._areas.surfaces(predicted, expected))


def whole_volume(
    found: Parts, shape: Sequence[int], spacing_mm: Spacing, rules: RuleSet, surfaces: Surfaces | None
) -> dict[str, Any]:
    """Scores of a region as a whole; without `surfaces` no distances."""
    counts = _overlap(found, math.prod(shape), cleaned=False)
    voxel_mm3 = math.prod(spacing_mm)
    reference_mm3 = float(counts.true_positives + counts.false_negatives) * voxel_mm3
    prediction_mm3 = float(counts.true_positives + counts.false_positives) * voxel_mm3
    row: dict[str, Any] = {
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
        row |= _legacy(found, shape, rules, surfaces, row)
    if surfaces and rules.scores_in_voxels:
        row |= _global(found, counts, shape, rules, surfaces)
    return row


def _settled(scores: dict[str, float], shape: Sequence[int], rules: RuleSet) -> dict[str, float]:
    """What the rules put for masks without a surface: nothing on both sides, or the penalty for nothing on one."""
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


def _legacy(
    found: Parts, shape: Sequence[int], rules: RuleSet, surfaces: Surfaces | None, row: dict[str, Any]
) -> dict[str, float]:
    """Dice and NSD of the table of 2024, of the whole volume without the predicted lesions that the rules delete."""
    names = ("dice", "nsd_0.5", "nsd_1.0")
    whole = sum(int(np.count_nonzero(mask)) for mask in found.prediction.masks)
    if int(found.prediction.voxels.sum()) == whole:  # nothing was deleted
        return {f"legacy_{name}": row[name] for name in names if name in row}
    counts = _overlap(found, math.prod(shape), cleaned=True)
    scores = {"dice": rules.score_of_nothing if counts.both_empty else counts.dice}
    if surfaces:
        kept = np.arange(1, len(found.prediction.voxels))
        scores |= _settled(surfaces.scores(kept, None), shape, rules)
    return {f"legacy_{name}": scores[name] for name in names if name in scores}


def _global(
    found: Parts, counts: Overlap, shape: Sequence[int], rules: RuleSet, surfaces: Surfaces
) -> dict[str, float]:
    """HD95 and NSD of 2026 in voxels, the voxel size ignored. Without a common voxel: the penalty and 0."""
    if counts.both_empty:
        return {"global_hd95": math.nan, "global_nsd": math.nan}
    if not counts.true_positives:
        return {"global_hd95": rules.penalty_mm(shape), "global_nsd": 0.0}
    distances = surfaces.in_voxels(found)
    return {
        "global_hd95": pooled_hausdorff(distances),
        "global_nsd": normalised_surface_dice(distances, GLOBAL_TOLERANCE_VOXELS),
    }


def _overlap(found: Parts, voxels: int, *, cleaned: bool) -> Overlap:
    """Voxel counts of the region; `cleaned`: without predicted lesions that the rules delete."""
    both = false = missed = 0
    for ours, theirs, numbers in zip(
        found.prediction.masks, found.reference.masks, found.prediction.numbers, strict=True
    ):
        predicted = numbers > 0 if cleaned else ours
        common = int(np.count_nonzero(predicted & theirs))
        both += common
        false += int(np.count_nonzero(predicted)) - common
        missed += int(np.count_nonzero(theirs)) - common
    return Overlap(both, false, missed, voxels - both - false - missed)


def _chosen(surfaces: Contact, components: Numbers | None, lesion: int | None) -> tuple[Numbers, Numbers]:
    """Indices of the points of the components and of the lesion."""
    return (
        surfaces.prediction.all if components is None else _points_of(surfaces.prediction, components),
        surfaces.reference.all if lesion is None else np.flatnonzero(surfaces.reference.part == lesion),
    )


def _points_of(points: Points, components: Numbers) -> Numbers:
    if len(components) == 1:
        return np.flatnonzero(points.part == components[0])
    return np.flatnonzero(np.isin(points.part, components))
