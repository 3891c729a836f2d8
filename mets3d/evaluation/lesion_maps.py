"""Draws the lesions of a case as images that hold their numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int32, Integer

from mets3d.evaluation.arguments import AnyLabels, AnySpacing, checked_labels, checked_spacing
from mets3d.evaluation.lesions import score_lesions, sorted_lesions
from mets3d.evaluation.region_scores import Side, match_lesions
from mets3d.evaluation.rules import DEFAULT_RULES, clusters, rules_named
from mets3d.ops.voxels import voxels_of


@dataclass(frozen=True, eq=False)
class LesionMap:
    """The lesions of one region as images of their numbers, 0 where there is none."""

    reference: Int32[np.ndarray, "X Y Z"]  # number of the lesion that each reference voxel belongs to
    false: Int32[np.ndarray, "X Y Z"]  # number of the false component that each predicted voxel belongs to
    prediction: Bool[np.ndarray, "X Y Z"]  # without the lesions that the rules delete
    kinds: dict[int, str]  # found, missed, false or ignored


def lesion_maps(
    prediction: AnyLabels, reference: AnyLabels, spacing_mm: AnySpacing, *, rules: str = DEFAULT_RULES
) -> dict[str, LesionMap]:
    """Returns the map of each region, numbered as in `lesion_scores(...).lesions`. Raises as `lesion_scores`."""
    rule_set = rules_named(rules)
    case_clusters = clusters(*checked_labels(prediction, reference, rule_set))
    spacing = checked_spacing(spacing_mm)
    maps = {}
    for region in rule_set.regions:
        match = match_lesions(case_clusters, region, rule_set)
        lesions = sorted_lesions(score_lesions(match, spacing, rule_set, {"dice": 0.0}, None))
        lesion_numbers = np.zeros(len(match.matches) + 1, np.int64)
        false_numbers = np.zeros(len(match.prediction.voxels), np.int64)
        for number, lesion in enumerate(lesions, start=1):
            (false_numbers if lesion.kind == "false" else lesion_numbers)[lesion.component] = number
        maps[region.name] = LesionMap(
            _drawn(match.reference, lesion_numbers, reference.shape),
            _drawn(match.prediction, false_numbers, reference.shape),
            _drawn(match.prediction, np.arange(len(match.prediction.voxels)), reference.shape) > 0,
            {number: lesion.kind for number, lesion in enumerate(lesions, start=1)},
        )
    return maps


def _drawn(side: Side, number: Integer[np.ndarray, " N"], shape: Sequence[int]) -> Int32[np.ndarray, "X Y Z"]:
    """Returns an image with `number` of each component where the component lies."""
    image = np.zeros(tuple(shape), np.int32)
    for _, local, corner, before in side.placed():
        voxels = voxels_of(local > 0)
        image[tuple((voxels + corner).T)] = number[local[tuple(voxels.T)] + before]
    return image
