"""Scores one case: every region as a whole and lesion by lesion, by the rules of an edition of the challenge.

Four steps: `clusters` splits the case, `matched` finds the lesions of a region and their matches, `scored` scores each
lesion, and `lesion_wise`, `whole_volume` and `_row` make rows of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from mets3d.evaluation.arguments import (
    AnyLabels,
    AnySpacing,
    checked_edges,
    checked_labels,
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
    matched,
    size_class,
    whole_volume,
)
from mets3d.evaluation.rules import DEFAULT_RULES, RuleSet, clusters, rules_named
from mets3d.evaluation.tables import Row
from mets3d.ops.voxels import Spacing

SIZE_EDGES_MM3 = (2.0, 27.0, 100.0, 275.0)


class CaseScores(list[Row]):
    """One row per region, outermost region first; `lesions` holds one row per lesion and per false component."""

    def __init__(self, rows: Iterable[Row], lesions: Iterable[Row]):
        super().__init__(rows)
        self.lesions = list(lesions)


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
    as too small), both volumes (a component that matches several lesions is whole in each), the centroid `x_mm`,
    `y_mm`, `z_mm` along the array's axes (index times spacing), and the scores of the match.

    compat: `organisers` swaps the first and last voxel size in the lesion-wise distances where the challenge's program
    does so (brats2026). distances: False leaves out HD95 and NSD, and is several times faster.

    A value that the rules do not give is NaN. Both masks of a region empty: Dice 1, HD95 0, NSD 1 under brats2023 and
    brats2024, NaN under brats2026. One empty: Dice 0, NSD 0 and the rules' penalty. Labels of no region are background,
    but brats2026 refuses labels other than 0 to 4.
    Raises ValueError for unknown rules or regions, shapes that differ or are not 3-D, fractional labels, labels that
    the rules refuse, or a senseless spacing.
    """
    rule_set = rules_named(rules)
    chosen = checked_regions(rule_set, regions)
    edges = checked_edges(size_edges_mm3)
    ours, theirs = checked_labels(prediction, reference, rule_set)
    spacing = checked_spacing(spacing_mm)
    lesion_mm = lesion_spacing(spacing, compat, rule_set)
    names = ("dice", *(SURFACE_SCORES if distances else ()))
    miss = {name: rule_set.penalty_mm(reference.shape) if name == "hd95" else 0.0 for name in names}
    found = clusters(ours, theirs)
    rows, lesion_rows = [], []
    for region in chosen:
        match = matched(found, region, rule_set)
        surfaces = Surfaces(match, spacing, rule_set) if distances else None
        by_lesion = surfaces if lesion_mm == spacing or not distances else Surfaces(match, lesion_mm, rule_set)
        lesions = in_order(scored(match, spacing, rule_set, miss, by_lesion))
        head = {"region": region.name, "rules": rules}
        whole = whole_volume(match, reference.shape, spacing, rule_set, surfaces)
        rows.append(head | lesion_wise(lesions, rule_set, edges, names) | whole)
        lesion_rows += [head | _row(lesion, number, edges) for number, lesion in enumerate(lesions, start=1)]
    return CaseScores(rows, lesion_rows)


def scored(
    match: Matched, spacing_mm: Spacing, rules: RuleSet, miss: dict[str, float], surfaces: Surfaces | None
) -> list[Lesion]:
    """Scores the lesions of the reference, then the false components. `miss`: the scores of a missed or false one."""
    voxel_mm3, ours, theirs = math.prod(spacing_mm), match.prediction, match.reference
    lesions = []
    for number, (components, common) in enumerate(zip(match.matches, match.common, strict=True), start=1):
        voxels, predicted = int(theirs.voxels[number]), int(ours.voxels[components].sum())
        scores = miss
        if len(components):
            scores = {"dice": 2 * common / (voxels + predicted)}
            scores |= surfaces.scores(components, number) if surfaces else {}
        volume_mm3 = float(voxels) * voxel_mm3
        kind: Kind = "ignored" if volume_mm3 <= rules.ignored_up_to_mm3 else "found" if len(components) else "missed"
        position_mm = _position_mm(theirs.centres[number], spacing_mm)
        lesions.append(Lesion(number, kind, volume_mm3, float(predicted) * voxel_mm3, position_mm, scores))
    for number in match.false.tolist():
        volume_mm3 = float(ours.voxels[number]) * voxel_mm3
        position_mm = _position_mm(ours.centres[number], spacing_mm)
        lesions.append(Lesion(number, "false", 0.0, volume_mm3, position_mm, miss))
    return lesions


def _position_mm(centre: Iterable[float], spacing_mm: Spacing) -> tuple[float, float, float]:
    x, y, z = (float(voxels) * side_mm for voxels, side_mm in zip(centre, spacing_mm, strict=True))
    return x, y, z


def in_order(lesions: Iterable[Lesion]) -> list[Lesion]:
    """Returns the lesions of one region in the order of their numbers."""
    return sorted(lesions, key=lambda lesion: rank(lesion.kind, lesion.volume_mm3, lesion.position_mm))


def rank(
    kind: str, volume_mm3: float, position_mm: tuple[float, float, float]
) -> tuple[bool, float, float, float, float]:
    """Returns what lesions are sorted by: those of the reference come first, then false ones, each largest first.

    Equal volumes go by position, so that the order does not depend on how a file's axes lie.
    """
    x, y, z = (round(place, 3) for place in position_mm)
    return kind == "false", -round(volume_mm3, 6), z, y, x


def _row(lesion: Lesion, number: int, edges_mm3: Sequence[float]) -> Row:
    x, y, z = lesion.position_mm
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
