"""Scores one case: every region as a whole and lesion by lesion, by the rules of an edition of the challenge.

`lesion_scores` takes four steps. `clusters` (rules.py) splits the case. For each region, `match_lesions`
(region_scores.py, with the rule set's `detect` in rules.py) finds the lesions and their matches, and `score_lesions`
(here) scores each lesion. `lesion_wise` and `whole_volume` (region_scores.py) and `_row` (here) make the rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mets3d.evaluation.arguments import (
    AnyLabels,
    AnySpacing,
    checked_edges,
    checked_labels,
    checked_orientation,
    checked_regions,
    checked_spacing,
    lesion_spacing,
)
from mets3d.evaluation.region_scores import (
    SURFACE_SCORES,
    Kind,
    Lesion,
    Matched,
    Surfaces,
    lesion_wise,
    match_lesions,
    size_class,
    whole_volume,
)
from mets3d.evaluation.rules import DEFAULT_RULES, RuleSet, clusters, rules_named
from mets3d.evaluation.tables import Row
from mets3d.ops.voxels import RAS, Point, Position, Spacing, Toward

# The rules of 2023 and 2024 ignore lesions of up to 2 mm3, and those of 2026 score lesions from 27 mm3. The other two
# edges are this project's choice: they split the lesions from 27 mm3 into small, medium and large ones.
SIZE_EDGES_MM3 = (2.0, 27.0, 100.0, 275.0)


class CaseScores(list[Row]):
    """One row per region, outermost region first; `lesions` holds one row per lesion and per false component.

    points: where each of `lesions` lies in the array, in the same order.
    """

    def __init__(self, rows: Iterable[Row], lesions: Iterable[Row], points: Iterable[Point] = ()):
        super().__init__(rows)
        self.lesions = list(lesions)
        self.points = list(points)


@dataclass(frozen=True)
class Asked:
    """The arguments of `lesion_scores` that say how is scored."""

    rules: str = DEFAULT_RULES
    compat: str | None = None
    size_edges_mm3: Sequence[float] = SIZE_EDGES_MM3
    regions: Sequence[str] | None = None
    distances: bool = True


def lesion_scores(
    prediction: AnyLabels,
    reference: AnyLabels,
    spacing_mm: AnySpacing,
    *,
    rules: str = DEFAULT_RULES,
    compat: str | None = None,
    size_edges_mm3: Sequence[float] = SIZE_EDGES_MM3,
    regions: Sequence[str] | None = None,
    distances: bool = True,
) -> CaseScores:
    """Scores one case: two label volumes [X, Y, Z] on one grid with voxels of `spacing_mm`.

    Returns a list with one dict per region of the rule set (WT, TC, ET; RC from 2024 on), or of those named by
    `regions`; docs/evaluation.md describes every key. Its attribute `lesions` has one dict per reference lesion and per
    false component: `region`, `rules`, `lesion` (a number within the region), `kind` (found, missed, false, or ignored
    as too small), both volumes (a component that matches several lesions is counted in full for each), the centroid
    `x_mm`, `y_mm`, `z_mm` along the array's axes (index times spacing), and the scores of the match. Its attribute
    `points` has a place inside each of them, as indices.

    compat: `organisers` reproduces published scores: it swaps the first and last voxel size in the lesion-wise
    distances where the challenge's program does so (brats2026).
    distances: False leaves out HD95 and NSD, and is several times faster.

    Where the rules define no value, it is NaN. Both masks of a region empty: Dice 1, HD95 0, NSD 1 under brats2023 and
    brats2024, NaN under brats2026. One empty: Dice 0, NSD 0 and the rules' penalty. Labels of no region are background,
    but brats2026 refuses labels other than 0 to 4.
    Raises ValueError for unknown rules or regions, shapes that differ or are not 3-D, fractional labels, labels that
    the rules refuse, or a senseless spacing.
    """
    asked = Asked(rules, compat, size_edges_mm3, regions, distances)
    return stored_scores(prediction, reference, spacing_mm, asked)


def stored_scores(
    prediction: AnyLabels, reference: AnyLabels, spacing_mm: AnySpacing, asked: Asked, orientation: str = "RAS"
) -> CaseScores:
    """Scores arrays as `lesion_scores`, whose axes point as `orientation` says, by the letters of RAS and LPI.

    Lesions of one size are numbered from the bottom up, then from back to front and from left to right, so that
    numbers and points do not depend on how a file is stored.
    """
    rule_set = rules_named(asked.rules)
    chosen = checked_regions(rule_set, asked.regions)
    edges = checked_edges(asked.size_edges_mm3)
    prediction_labels, reference_labels = checked_labels(prediction, reference, rule_set)
    spacing = checked_spacing(spacing_mm)
    toward = checked_orientation(orientation)
    lesion_mm = lesion_spacing(spacing, asked.compat, rule_set)
    names = ("dice", *(SURFACE_SCORES if asked.distances else ()))
    scores_of_a_miss = {name: rule_set.penalty_mm(reference.shape) if name == "hd95" else 0.0 for name in names}
    case_clusters = clusters(prediction_labels, reference_labels)
    rows, lesion_rows, points = [], [], []
    for region in chosen:
        match = match_lesions(case_clusters, region, rule_set)
        surfaces = Surfaces(match, spacing, rule_set) if asked.distances else None
        lesion_surfaces = surfaces
        if surfaces and lesion_mm != spacing:  # computed again only where `compat` swaps the voxel sizes
            lesion_surfaces = Surfaces(match, lesion_mm, rule_set)
        lesions = sorted_lesions(score_lesions(match, spacing, rule_set, scores_of_a_miss, lesion_surfaces, toward))
        head = {"region": region.name, "rules": asked.rules}
        whole = whole_volume(match, reference.shape, spacing, rule_set, surfaces)
        rows.append(head | lesion_wise(lesions, rule_set, edges, names) | whole)
        lesion_rows += [head | _row(lesion, number, edges, spacing) for number, lesion in enumerate(lesions, start=1)]
        points += [lesion.point for lesion in lesions]
    return CaseScores(rows, lesion_rows, points)


def score_lesions(
    match: Matched,
    spacing_mm: Spacing,
    rules: RuleSet,
    scores_of_a_miss: dict[str, float],
    surfaces: Surfaces | None,
    toward: Toward = RAS,
) -> list[Lesion]:
    """Scores the lesions of the reference, then the false components, which have the scores of a miss too."""
    voxel_mm3, prediction, reference = math.prod(spacing_mm), match.prediction, match.reference
    lesions, points = [], reference.points(spacing_mm, toward)
    for number, (components, common) in enumerate(zip(match.matches, match.common, strict=True), start=1):
        voxels, predicted = int(reference.voxels[number]), int(prediction.voxels[components].sum())
        scores = scores_of_a_miss
        if len(components):
            scores = {"dice": 2 * common / (voxels + predicted)}
            scores |= surfaces.scores(components, number) if surfaces else {}
        volume_mm3 = float(voxels) * voxel_mm3
        kind: Kind = "ignored" if volume_mm3 <= rules.ignored_up_to_mm3 else "found" if len(components) else "missed"
        at = _position_mm(reference.centres[number], spacing_mm, toward), points[number]
        lesions.append(Lesion(number, kind, volume_mm3, float(predicted) * voxel_mm3, *at, scores))
    points = prediction.points(spacing_mm, toward) if len(match.false) else []
    for number in match.false.tolist():
        volume_mm3 = float(prediction.voxels[number]) * voxel_mm3
        at = _position_mm(prediction.centres[number], spacing_mm, toward), points[number]
        lesions.append(Lesion(number, "false", 0.0, volume_mm3, *at, scores_of_a_miss))
    return lesions


def _position_mm(centre: Float[np.ndarray, "3"], spacing_mm: Spacing, toward: Toward) -> Position:
    x, y, z = (direction * float(centre[axis]) * spacing_mm[axis] for axis, direction in toward)
    return x, y, z


def sorted_lesions(lesions: Iterable[Lesion]) -> list[Lesion]:
    """Sorts the lesions of one region: reference lesions first, then false ones, each largest first.

    Their place is their number in lesions.csv.
    """
    return sorted(lesions, key=lambda lesion: sort_key(lesion.kind, lesion.volume_mm3, lesion.position_mm))


def sort_key(kind: str, volume_mm3: float, position_mm: Position) -> tuple[bool, float, float, float, float]:
    """Returns the key that lesions are sorted by; see `sorted_lesions`.

    Equal volumes go by position, so that the order does not depend on how a file's axes lie.
    """
    x, y, z = (round(place, 3) for place in position_mm)
    return kind == "false", -round(volume_mm3, 6), z, y, x


def _row(lesion: Lesion, number: int, edges_mm3: Sequence[float], spacing_mm: Spacing) -> Row:
    x, y, z = (index * side_mm for index, side_mm in zip(lesion.point.centroid, spacing_mm, strict=True))
    return {
        "lesion": number,
        "kind": lesion.kind,
        "reference_volume_mm3": lesion.reference_volume_mm3,
        "prediction_volume_mm3": lesion.prediction_volume_mm3,
        "x_mm": x,
        "y_mm": y,
        "z_mm": z,
        **lesion.scores,
        "size_class": size_class(lesion.volume_mm3, edges_mm3),
    }
