"""Defines the rule set of each edition of the challenge: its lesions, their matches, and the cost of a miss.

  brats2023  The reference grown by one voxel (18 neighbours) falls into 26-connected parts; the reference inside one is
             a lesion, so that pieces up to two voxels apart are one. The prediction is not grown. All predicted
             components that meet a grown lesion are its match, and one may match several lesions. Lesions of at most
             2 mm3 count for nothing, yet what meets them is not false.
  brats2024  As 2023, and of 2025: the prediction is merged by growing too, then predicted lesions of at most 2 voxels
             are deleted. Parts of ET that touch the same part of NETC are one lesion. RC is scored. NSD besides HD95.
  brats2026  26-connected components on both sides, matched one to one so that the sum of 1 - Dice is least. Lesions
             from 27 mm3 and every false one make the segmentation score; detection is scored apart.

A rule set is a value at the end of this file; nothing else in the package decides by its name.
Facts from the organisers' programs: rachitsaluja/BraTS-2023-Metrics at 43c9052, rachitsaluja/BraTS-2024-Metrics at
f1131e3, BraTS-evaluation 0.0.10 with panoptica 2.1.7.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, Integer, UInt8

from mets3d.ops.components import Mask, Numbers, components
from mets3d.ops.voxels import Shape3, Voxels, extent, voxels_of
from mets3d.regions import ET, NETC, Region, scored_regions

BLOCK = 8  # voxels a side; two clusters are at least this far apart, and no rule joins parts more than three apart


@dataclass(frozen=True)
class Cluster:
    """Both label maps in a box with a margin of one voxel of background, which may lie beyond the image."""

    prediction: UInt8[np.ndarray, "x y z"]
    reference: UInt8[np.ndarray, "x y z"]
    corner: Shape3  # the image's voxel where the box begins; -1 for a margin beyond the image


@dataclass(frozen=True)
class Detection:
    """The lesions of one region in one cluster by a rule set, and the predicted components that belong to them."""

    lesions: Numbers
    components: Numbers
    matches: Sequence[Integer[np.ndarray, " _"]]  # for lesion i + 1 the numbers of its components
    false: Integer[np.ndarray, " F"]  # the numbers of the components that count as false


@dataclass(frozen=True)
class RuleSet:
    """The rules of one edition."""

    name: str
    regions: tuple[Region, ...]
    detect: Callable[[Cluster, Region, RuleSet], Detection]
    penalty_mm: Callable[[Sequence[int]], float]  # HD95 of a miss, by the image's shape
    hd95: Literal["area", "pooled"]  # surface elements weighted by area, or border voxels of both directions pooled
    ignored_up_to_mm3: float = 0.0  # smaller lesions are neither found nor missed
    scored_from_mm3: float = 0.0  # smaller lesions are found or missed, but not in the lesion-wise means
    detected_from_dice: float | None = None  # Dice from which a match counts in the detection of large and small ones
    score_of_nothing: float = 1.0  # Dice and NSD where neither mask has a voxel
    nsd_smoothing: float = 0.0  # what the edition's program adds to the denominator, which is 2
    deleted_up_to_voxels: int = 0  # predicted lesions that vanish before anything is scored
    unknown_labels: Literal["background", "refused"] = "background"
    missing_prediction: Literal["not scored", "worst"] = "not scored"
    scores_in_voxels: bool = False  # HD95 and NSD of the whole volume in voxels besides those in mm
    joins_et_by_netc: bool = False  # parts of ET that touch one part of NETC are one lesion
    organisers_swap_spacing: bool = False  # the edition's program takes the first side of a voxel for the last
    ranked_by: tuple[str, ...] = ()  # columns of scores.csv by which the edition ranks methods
    official_ranking: bool = True
    citation: str = ""  # of the edition and its program


def rules_named(name: str) -> RuleSet:
    """Returns the rule set of this name, or raises ValueError that lists the known names."""
    found = rule_set_of(name)
    if found is None:
        raise ValueError(f"expected rules to be one of {', '.join(known.name for known in RULE_SETS)}; found {name!r}")
    return found


def rule_set_of(name: str) -> RuleSet | None:
    """Returns the rule set of a name, None for one that is not known here."""
    return next((known for known in RULE_SETS if known.name == name), None)


# ---------------------------------------------------------------- clusters


def clusters(prediction: Integer[np.ndarray, "X Y Z"], reference: Integer[np.ndarray, "X Y Z"]) -> list[Cluster]:
    """Splits a case into clusters of labelled voxels so far apart that no rule can join them.

    They come in the order of their first voxel.

    A case of 46 million voxels holds a few hundred thousand that are labelled. Labelling, growing and matching cluster
    by cluster costs what the lesions cost and not what the volume does. Between voxels of two clusters there are at
    least `BLOCK` voxels along some axis. Both maps empty: none.
    """
    voxels = voxels_of((prediction != 0) | (reference != 0))
    if not len(voxels):
        return []
    number = _cluster_numbers(voxels)
    order = np.argsort(number.astype(np.uint16) if number.max() < 2**16 else number, kind="stable")  # 16 bits: radix
    found = []
    for own in np.split(voxels[order], np.flatnonzero(np.diff(number[order])) + 1):
        first, last = extent(own)
        corner, shape = first - 1, last - first + 3
        boxes = []
        for labels in (prediction, reference):
            box = np.zeros(shape, np.uint8)
            box[tuple((own - corner).T)] = labels[tuple(own.T)]
            boxes.append(box)
        x, y, z = corner.tolist()
        found.append(Cluster(boxes[0], boxes[1], (x, y, z)))
    return found


def _cluster_numbers(voxels: Voxels) -> Int[np.ndarray, " N"]:
    """Numbers the cluster of each voxel: blocks that hold voxels, joined where they touch; by their first voxel."""
    first, last = extent(voxels)
    blocks = (voxels - first) // BLOCK
    filled = np.zeros((last - first) // BLOCK + 1, bool)
    filled[tuple(blocks.T)] = True
    number = components(filled)[tuple(blocks.T)]
    _, where, inverse = np.unique(number, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(where))[inverse]


# ---------------------------------------------------------------- detection


def detect_2023(cluster: Cluster, region: Region, _rules: RuleSet) -> Detection:
    """Matches the lesions of the grown reference and the components of the prediction that share a voxel."""
    grown = grown_parts(region.mask(cluster.reference))
    return _many_to_many(grown, region.mask(cluster.reference), components(region.mask(cluster.prediction)))


def detect_2024(cluster: Cluster, region: Region, rules: RuleSet) -> Detection:
    """Matches as in 2023, both sides merged by growing, small predicted lesions deleted, parts of ET joined by NETC."""
    prediction, reference = region.mask(cluster.prediction), region.mask(cluster.reference)
    grown = grown_parts(reference)
    predicted = _kept(grown_parts(prediction) * prediction, rules)
    if rules.joins_et_by_netc and region == ET:
        grown = _joined(grown, reference, _netc_parts(cluster.reference))
        predicted = _joined(predicted, prediction, _kept(_netc_parts(cluster.prediction), rules))
    return _many_to_many(grown, reference, predicted)


def detect_2026(cluster: Cluster, region: Region, _rules: RuleSet) -> Detection:
    """Matches components one to one: the pairing with the least sum of 1 - Dice, unmatched ones costing 1."""
    lesions, predicted = components(region.mask(cluster.reference)), components(region.mask(cluster.prediction))
    lesion_count, component_count = int(lesions.max()), int(predicted.max())
    matches = [np.zeros(0, np.int64) for _ in range(lesion_count)]
    lesion, component, voxels = meetings(lesions, predicted)
    sizes = np.bincount(lesions[lesions > 0])[lesion] + np.bincount(predicted[predicted > 0])[component]
    cost = 1 - 2 * voxels / sizes
    for pairs in _overlapping_groups(lesion, component, lesion_count + 1):
        for row, column in _cheapest_pairs(lesion[pairs], component[pairs], cost[pairs]):
            matches[row - 1] = np.array([column])
    used = np.concatenate([*matches, np.zeros(0, np.int64)])
    return Detection(lesions, predicted, matches, np.setdiff1d(np.arange(1, component_count + 1), used))


def _overlapping_groups(
    lesion: Int[np.ndarray, " P"], component: Int[np.ndarray, " P"], first_component: int
) -> list[Int[np.ndarray, " _"]]:
    """Returns the pairs of each group of lesions and components that are linked, as indices: groups do not compete."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    if not len(lesion):
        return []
    ends = lesion, component + first_component
    nodes = int(ends[1].max()) + 1
    graph = coo_matrix((np.ones(len(lesion), np.int8), ends), shape=(nodes, nodes))
    group = connected_components(graph, directed=False)[1][lesion]
    order = np.argsort(group, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(group[order])) + 1)


def _cheapest_pairs(
    lesion: Int[np.ndarray, " P"], component: Int[np.ndarray, " P"], cost: Float[np.ndarray, " P"]
) -> list[tuple[int, int]]:
    """Pairs lesions and components of one group so that the cost is least."""
    from scipy.optimize import linear_sum_assignment

    rows, row = np.unique(lesion, return_inverse=True)
    columns, column = np.unique(component, return_inverse=True)
    table = np.full((len(rows), len(columns)), UNMATCHED)
    table[row, column] = cost
    chosen = zip(*linear_sum_assignment(table), strict=True)
    return [(int(rows[i]), int(columns[j])) for i, j in chosen if table[i, j] < 1]


UNMATCHED = 1.0 + 1e-6  # what a pair without a common voxel costs; the organisers' program, so that ties fall alike


def _many_to_many(grown: Numbers, reference: Mask, predicted: Numbers) -> Detection:
    """Matches all that meet: `grown` numbers the grown reference, 1 to L; `predicted` the components, 1 to C."""
    lesion_count, component_count = int(grown.max()), int(predicted.max())
    lesion, component, _ = meetings(grown, predicted)
    ends = np.searchsorted(lesion, np.arange(1, lesion_count + 2))
    matches = [component[start:end] for start, end in pairwise(ends)]
    return Detection(grown * reference, predicted, matches, np.setdiff1d(np.arange(1, component_count + 1), component))


def meetings(
    lesions: Numbers, predicted: Numbers
) -> tuple[Int[np.ndarray, " P"], Int[np.ndarray, " P"], Int[np.ndarray, " P"]]:
    """Returns lesion, component and number of common voxels of each pair that has any, sorted by both."""
    common = np.flatnonzero((lesions > 0) & (predicted > 0))
    base = int(predicted.max()) + 1
    pairs, voxels = np.unique(
        lesions.ravel()[common].astype(np.int64) * base + predicted.ravel()[common], return_counts=True
    )
    return *np.divmod(pairs, base), voxels


# ---------------------------------------------------------------- components


def grown_parts(mask: Mask) -> Numbers:
    """Numbers the 26-connected parts of the grown mask from 1. The mask needs an empty margin of one voxel."""
    return components(grow(mask))


def grow(mask: Mask) -> Mask:
    """Grows a mask by its 18 neighbours: all voxels one step away along one axis or two."""
    along_x, along_y = _spread(mask, 0), _spread(mask, 1)
    return np.asarray(_spread(along_x, 1) | _spread(along_x, 2) | _spread(along_y, 2))


def _spread(mask: Mask, axis: int) -> Mask:
    wider = mask.copy()
    moved, still = np.moveaxis(wider, axis, 0), np.moveaxis(mask, axis, 0)
    moved[1:] |= still[:-1]
    moved[:-1] |= still[1:]
    return wider


def _kept(numbers: Numbers, rules: RuleSet) -> Numbers:
    """Leaves out the parts that the rules delete and numbers the others anew."""
    keep = np.bincount(numbers[numbers > 0], minlength=1) > rules.deleted_up_to_voxels
    keep[0] = False
    return np.asarray(np.where(keep, np.cumsum(keep), 0).astype(np.int32)[numbers])


def _netc_parts(labels: UInt8[np.ndarray, "X Y Z"]) -> Numbers:
    """Numbers NETC, merged by growing, in the order of the grown parts' first voxel, x running fastest.

    That is the order of the organisers' program, and it decides what joins what.
    """
    netc = labels == NETC
    parts = grown_parts(netc)
    last_to_first = parts.transpose(2, 1, 0)
    found, first = np.unique(last_to_first.ravel(), return_index=True)
    rank = np.zeros(len(found), np.int32)
    rank[found[found > 0][np.argsort(first[found > 0])]] = np.arange(1, (found > 0).sum() + 1)
    return np.asarray(rank[parts] * netc)


def _joined(parts: Numbers, mask: Mask, netc: Numbers) -> Numbers:
    """Gives one number to parts of ET whose lowest-numbered touching part of NETC is the same.

    Touching: an 18-neighbour. Each part goes with one part of NETC, so joining is not passed on.
    """
    amount = int(parts.max())
    if not amount or not netc.any():
        return parts
    nobody = int(netc.max()) + 1
    lowest = np.full(amount + 1, nobody)
    own = np.where(mask, parts, 0)
    voxels = voxels_of(netc > 0)
    number = netc[tuple(voxels.T)]
    for shift in SHIFTS:  # the margin of a cluster keeps them inside
        touched = own[tuple((voxels + shift).T)]
        np.minimum.at(lowest, touched[touched > 0], number[touched > 0])
    group = np.where(lowest < nobody, amount + lowest, np.arange(amount + 1))
    _, numbered = np.unique(group, return_inverse=True)
    return np.asarray(numbered.astype(np.int32)[parts])


SHIFTS = [(x, y, z) for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1) if 0 < abs(x) + abs(y) + abs(z) < 3]


# ---------------------------------------------------------------- the rule sets


def _diagonal(shape: Sequence[int]) -> float:
    return math.sqrt(sum(side**2 for side in shape))


BRATS_2023 = RuleSet(
    name="brats2023",
    regions=scored_regions(),
    detect=detect_2023,
    penalty_mm=lambda _shape: 374.0,  # the diagonal of 240 x 240 x 155 voxels of 1 mm, rounded up
    hd95="area",
    ignored_up_to_mm3=2.0,
    ranked_by=("lesion_wise_dice", "lesion_wise_hd95"),  # as by the organisers
    citation="BraTS-METS 2023 (Moawad et al., arXiv 2306.00838; program rachitsaluja/BraTS-2023-Metrics)",
)
BRATS_2024 = RuleSet(
    name="brats2024",
    regions=scored_regions(cavity=True),
    detect=detect_2024,
    penalty_mm=_diagonal,  # in voxels, whatever their size
    hd95="area",
    ignored_up_to_mm3=2.0,
    nsd_smoothing=1e-8,
    deleted_up_to_voxels=2,
    joins_et_by_netc=True,
    ranked_by=("lesion_wise_dice", "lesion_wise_nsd_1.0"),  # no ranking was found; NSD is what these rules add
    official_ranking=False,
    citation="BraTS 2024 (program rachitsaluja/BraTS-2024-Metrics)",
)
BRATS_2026 = RuleSet(
    name="brats2026",
    regions=scored_regions(cavity=True),
    detect=detect_2026,
    penalty_mm=lambda _shape: 373.0,  # the same diagonal, rounded down
    hd95="pooled",
    scored_from_mm3=27.0,
    detected_from_dice=0.2,
    score_of_nothing=math.nan,
    unknown_labels="refused",
    missing_prediction="worst",
    scores_in_voxels=True,
    organisers_swap_spacing=True,
    ranked_by=("lesion_wise_dice", "lesion_wise_nsd_spacing", "small_f1"),  # as participants state it
    citation="BraTS 2026 (program BraTS-evaluation 0.0.10; panoptica, Kofler et al., arXiv 2312.02608)",
)
RULE_SETS = (BRATS_2023, BRATS_2024, BRATS_2026)
DEFAULT_RULES = BRATS_2023.name
