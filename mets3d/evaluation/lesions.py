"""Scores of one case: every region as a whole and lesion by lesion, by the rules of a challenge edition (`rules`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import SupportsFloat

import numpy as np
from jaxtyping import Bool, Float, Int32, Integer, Shaped, UInt8

from mets3d.evaluation.clusters import Island, islands
from mets3d.evaluation.lesion_wise import lesion_wise, size_class
from mets3d.evaluation.matched import Parts, Side, parts
from mets3d.evaluation.rules import RuleSet, rules_named
from mets3d.evaluation.tables import Row
from mets3d.evaluation.whole_volume import SURFACE_SCORES, Surfaces, whole_volume
from mets3d.ops.voxels import Spacing, voxels_of
from mets3d.regions import KNOWN_LABELS, Region

SIZE_EDGES_MM3 = (2.0, 27.0, 100.0, 275.0)


class CaseScores(list[Row]):
    """One row per region, outermost region first; `lesions` holds one row per lesion and per false component."""

    def __init__(self, rows: Iterable[Row], lesions: Iterable[Row]):
        super().__init__(rows)
        self.lesions = list(lesions)


@dataclass(frozen=True, eq=False)
class LesionMap:
    """Where the lesions of one region lie that a table of lesions numbers."""

    reference: Int32[np.ndarray, "X Y Z"]  # number of the lesion each reference voxel belongs to; 0 none
    false: Int32[np.ndarray, "X Y Z"]  # number of the false component each predicted voxel belongs to; 0 none
    prediction: Bool[np.ndarray, "X Y Z"]  # without what the rules delete
    kinds: dict[int, str]  # found, missed, false or ignored


def lesion_scores(
    prediction: Shaped[np.ndarray, "..."],
    reference: Shaped[np.ndarray, "..."],
    spacing_mm: Sequence[SupportsFloat] | Float[np.ndarray, "3"],
    *,
    rules: str = "brats2023",
    compat: str | None = None,
    size_edges_mm3: Sequence[float] = SIZE_EDGES_MM3,
    regions: Sequence[str] | None = None,
    distances: bool = True,
) -> CaseScores:
    """The scores of one case: two label volumes [X, Y, Z] on one grid with voxels of `spacing_mm`.

    Returns a list with one dict per region of the rule set (WT, TC, ET; RC from 2024 on), or of those named by
    `regions`; docs/evaluation.md describes every key. Its attribute `lesions` has one dict per reference lesion and per
    false component: `region`, `rules`, `lesion` (a number within the region), `kind` (found, missed, false, or ignored
    as too small), both volumes (a component that matches several lesions is whole in each), the centroid `x_mm`,
    `y_mm`, `z_mm` along the array's axes (index times spacing), and the scores of the match.

    compat: `organisers` swaps the first and last voxel size in the lesion-wise distances of brats2026, as the
    challenge's program does to NIfTI files. distances: False leaves out HD95 and NSD, and is several times faster.

    A value that the rules do not give is NaN. Both masks of a region empty: Dice 1, HD95 0, NSD 1 under brats2023 and
    brats2024, NaN under brats2026. One empty: Dice 0, NSD 0 and the rules' penalty. Labels of no region are background,
    but brats2026 refuses labels other than 0 to 4.
    Raises ValueError for unknown rules or regions, shapes that differ or are not 3-D, fractional labels, labels that
    the rules refuse, or a senseless spacing.
    """
    rule_set = rules_named(rules)
    chosen = _chosen(rule_set, regions)
    edges = _checked_edges(size_edges_mm3)
    ours, theirs = _checked_labels(prediction, reference, rule_set)
    spacing = _checked_spacing(spacing_mm)
    if compat not in (None, "organisers"):
        raise ValueError(f"expected compat to be organisers or None, found {compat!r}")
    distance_mm = spacing[::-1] if compat and rule_set.organisers_swap_spacing else spacing
    shape = tuple(reference.shape)
    rows, lesions = [], []
    for region, found in _found(islands(ours, theirs), chosen, rule_set):
        head = {"region": region.name, "rules": rules}
        surfaces = Surfaces(found, spacing, rule_set) if distances else None
        by_lesion = surfaces if distance_mm == spacing or not distances else Surfaces(found, distance_mm, rule_set)
        own = numbered(_lesion_rows(found, spacing, _nothing_right(rule_set, shape, distances), by_lesion, rule_set))
        for row in own:
            del row["part"]
            row["size_class"] = size_class(row, edges)
        rows.append(
            head
            | lesion_wise(own, rule_set, edges, ("dice", *(SURFACE_SCORES if distances else ())))
            | whole_volume(found, shape, spacing, rule_set, surfaces)
        )
        lesions += [head | row for row in own]
    return CaseScores(rows, lesions)


def lesion_maps(
    prediction: Shaped[np.ndarray, "..."],
    reference: Shaped[np.ndarray, "..."],
    spacing_mm: Sequence[SupportsFloat] | Float[np.ndarray, "3"],
    *,
    rules: str = "brats2023",
) -> dict[str, LesionMap]:
    """Where the lesions lie, by region, numbered as in `lesion_scores(...).lesions`. Raises as `lesion_scores`."""
    rule_set = rules_named(rules)
    ours, theirs = _checked_labels(prediction, reference, rule_set)
    spacing = _checked_spacing(spacing_mm)
    maps = {}
    for region, found in _found(islands(ours, theirs), rule_set.regions, rule_set):
        rows = numbered(_lesion_rows(found, spacing, {"dice": 0.0}, None, rule_set))
        lesion_number = np.zeros(len(found.matches) + 1, np.int64)
        false_number = np.zeros(len(found.prediction.voxels), np.int64)
        for row in rows:
            (false_number if row["kind"] == "false" else lesion_number)[row["part"]] = row["lesion"]
        maps[region.name] = LesionMap(
            _drawn(found.reference, lesion_number, reference.shape),
            _drawn(found.prediction, false_number, reference.shape),
            _drawn(found.prediction, np.arange(len(found.prediction.voxels)), reference.shape) > 0,
            {row["lesion"]: row["kind"] for row in rows},
        )
    return maps


# ---------------------------------------------------------------- one region


def _found(
    found_islands: Sequence[Island], regions: Sequence[Region], rules: RuleSet
) -> Iterator[tuple[Region, Parts]]:
    for region in regions:
        yield region, parts(found_islands, [rules.detect(island, region, rules) for island in found_islands], region)


def _lesion_rows(
    found: Parts, spacing_mm: Spacing, nothing_right: Row, surfaces: Surfaces | None, rules: RuleSet
) -> list[Row]:
    """One row per reference lesion, then one per false component; `part` is the number inside its mask."""
    voxel_mm3 = math.prod(spacing_mm)
    rows: list[Row] = []
    for number, (matched, common) in enumerate(zip(found.matches, found.common, strict=True), start=1):
        voxels, predicted = int(found.reference.voxels[number]), int(found.prediction.voxels[matched].sum())
        reference_mm3 = float(voxels) * voxel_mm3
        counts = reference_mm3 > rules.ignored_up_to_mm3
        scores = nothing_right
        if len(matched):
            scores = {"dice": 2 * common / (voxels + predicted)}
            scores |= surfaces.scores(matched, number) if surfaces else {}
        rows.append(
            {
                "lesion": 0,
                "part": number,
                "kind": ("found" if len(matched) else "missed") if counts else "ignored",
                "reference_volume_mm3": reference_mm3,
                "prediction_volume_mm3": float(predicted) * voxel_mm3,
                **_position(found.reference.centres[number], spacing_mm),
                **scores,
            }
        )
    for component in found.false:
        rows.append(
            {
                "lesion": 0,
                "part": int(component),
                "kind": "false",
                "reference_volume_mm3": 0.0,
                "prediction_volume_mm3": float(found.prediction.voxels[component]) * voxel_mm3,
                **_position(found.prediction.centres[component], spacing_mm),
                **nothing_right,
            }
        )
    return rows


def numbered(lesions: Iterable[Row]) -> list[Row]:
    """Rows of one region in the order of their numbers: reference lesions, then false ones, largest first.

    Equal volumes go by position, so that the numbers do not depend on how a file's axes lie.
    """
    rows = sorted(lesions, key=_rank)
    return [row | {"lesion": number} for number, row in enumerate(rows, start=1)]


def _rank(row: Row) -> tuple[bool, float, float, float, float]:
    false = row["kind"] == "false"
    volume_mm3 = row["prediction_volume_mm3" if false else "reference_volume_mm3"]
    x, y, z = (round(row[f"{axis}_mm"], 3) for axis in "xyz")
    return false, -round(volume_mm3, 6), z, y, x


def _nothing_right(rules: RuleSet, shape: Sequence[int], distances: bool) -> Row:
    """The scores of a missed or a false lesion."""
    row = {"dice": 0.0}
    if distances:
        row |= dict.fromkeys(SURFACE_SCORES, 0.0) | {"hd95": rules.penalty_mm(shape)}
    return row


def _position(centre: Float[np.ndarray, "3"], spacing_mm: Spacing) -> Row:
    return {
        f"{axis}_mm": float(voxels) * side_mm for axis, voxels, side_mm in zip("xyz", centre, spacing_mm, strict=True)
    }


def _drawn(side: Side, number: Integer[np.ndarray, " N"], shape: Sequence[int]) -> Int32[np.ndarray, "X Y Z"]:
    """An image with `number` of each part where the part lies."""
    image = np.zeros(tuple(shape), np.int32)
    for local, corner, before in zip(side.numbers, side.corners, side.before, strict=True):
        voxels = voxels_of(local > 0)
        image[tuple((voxels + corner).T)] = number[local[tuple(voxels.T)] + before]
    return image


# ---------------------------------------------------------------- arguments


def _chosen(rules: RuleSet, names: Sequence[str] | None) -> tuple[Region, ...]:
    known = {region.name: region for region in rules.regions}
    unknown = [name for name in names or () if name not in known]
    if unknown:
        raise ValueError(f"expected regions of {rules.name}: {', '.join(known)}; found {', '.join(unknown)}")
    return rules.regions if names is None else tuple(known[name] for name in known if name in names)


def _checked_labels(
    prediction: Shaped[np.ndarray, "..."], reference: Shaped[np.ndarray, "..."], rules: RuleSet
) -> tuple[UInt8[np.ndarray, "X Y Z"], UInt8[np.ndarray, "X Y Z"]]:
    """Both as uint8; labels of no region are background, or refused."""
    if prediction.shape != reference.shape or reference.ndim != 3 or not reference.size:
        raise ValueError(
            f"expected two label volumes [X, Y, Z] of one shape, found {prediction.shape} for the prediction and "
            f"{reference.shape} for the reference; bring both onto the case's own grid"
        )
    checked = []
    for name, labels in (("prediction", prediction), ("reference", reference)):
        whole = labels.dtype.kind in "biu" or (labels.dtype.kind == "f" and bool((labels == np.rint(labels)).all()))
        if not whole:
            raise ValueError(
                f"expected whole numbers as labels, found others in the {name} ({labels.dtype}); "
                "hand in a label map, not probabilities"
            )
        unknown: list[float] = []
        if labels.min() < 0 or labels.max() > max(KNOWN_LABELS):
            unknown = sorted(set(np.unique(labels).tolist()) - set(KNOWN_LABELS))
            if rules.unknown_labels == "refused":
                raise ValueError(
                    f"expected labels 0 to {max(KNOWN_LABELS)} under {rules.name}, found "
                    f"{', '.join(f'{label:g}' for label in unknown)} in the {name}; "
                    "these rules give such a case no scores"
                )
        known = labels if not unknown else np.where(np.isin(labels, KNOWN_LABELS), labels, 0)
        checked.append(known.astype(np.uint8, copy=False))
    return checked[0], checked[1]


def _checked_spacing(spacing_mm: Sequence[SupportsFloat] | Float[np.ndarray, "3"]) -> Spacing:
    values = [float(value) for value in spacing_mm]
    if len(values) != 3 or not all(math.isfinite(value) and value > 0 for value in values):
        raise ValueError(f"expected three voxel sizes above 0 mm as spacing_mm, found {values}")
    return values[0], values[1], values[2]


def _checked_edges(edges_mm3: Sequence[float]) -> tuple[float, ...]:
    edges = tuple(float(edge) for edge in edges_mm3)
    if any(not edge > 0 for edge in edges) or list(edges) != sorted(set(edges)):
        raise ValueError(f"expected ascending size edges above 0 mm3, found {list(edges)}")
    return edges
