"""Prepares held-out cases so that their label maps are scored quickly under many settings.

The components at every threshold are found once and kept as a list of voxels by falling probability, so that the voxels
above any threshold are the first n of it. Peak and size limits are then looked up in tables of components.
"""

from __future__ import annotations

import hashlib
import math
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, UInt8

from mets3d.data.grids import lie_apart, sizes_differ
from mets3d.evaluation.case import reference_labels
from mets3d.evaluation.lesions import lesion_scores
from mets3d.evaluation.rules import rules_named
from mets3d.inference.decoding_settings import Decoding, RegionDecoding
from mets3d.inference.region_masks import Components, filled, kept, measure
from mets3d.inference.region_probabilities import likeliest_label, region_probability
from mets3d.ops.components import components
from mets3d.ops.voxels import Box, Spacing, bounding_box
from mets3d.regions import ET, KNOWN_LABELS, Region, Target

if TYPE_CHECKING:
    from mets3d.data.nifti import LabelVolume, ProbabilityVolume
    from mets3d.tuning.held_out_cases import HeldOutCase

EVERYWHERE: Box = (slice(None),) * 3
NOWHERE: Box = (slice(0, 1),) * 3  # where there is nothing at all: one voxel, for a crop must have one

FlatVoxels = Int64[np.ndarray, " _"]  # flat indices in the crop


@dataclass(frozen=True, eq=False)
class RegionVoxels:
    """A region's voxels by falling probability; by threshold the component, from 1, of each of the first n of them."""

    voxels: FlatVoxels
    numbers: dict[float, Int32[np.ndarray, " _"]]
    parts: dict[float, Components]


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """A case cropped to the box of its reference and of all voxels above the lowest threshold."""

    shape: tuple[int, ...]
    spacing_mm: Spacing  # of the reference, as in the evaluation
    predicted_voxel_mm3: float  # by which the decoding drops small components
    reference: tuple[FlatVoxels, UInt8[np.ndarray, " _"]]
    regions: dict[str, RegionVoxels]


def prepare(case: HeldOutCase, file: Path, *, target: Target, thresholds: Sequence[float], rules: str) -> str | None:
    """Reads a case and writes it to `file` as `score` reads it. Returns its fault, if any, naming the case."""
    from mets3d.data.nifti import read_probabilities

    try:
        ours = read_probabilities(case.probabilities)
        theirs = reference_labels(case.reference, case.label_map, case.illegal_labels)
    except (OSError, ValueError) as error:
        return f"{case.name}: {error}"
    fault = _fault(ours, theirs, target, rules)
    if fault:
        return f"{case.name}: {case.probabilities}: {fault}"
    with file.open("wb") as stream:
        pickle.dump(_prepared(ours, theirs, target, thresholds), stream, protocol=pickle.HIGHEST_PROTOCOL)
    return None


def score(
    file: Path,
    *,
    target: Target,
    region: Region,
    decoding: Decoding,
    candidates: Sequence[RegionDecoding],
    rules: str,
    objective: str,
) -> list[float]:
    """Scores a prepared case for one region with each of the candidates for it, the others as in `decoding`.

    The scores are `lesion_scores` of the label map that `decode` paints; NaN where the rules give no value. They are
    kept by mask beside `file`: use one file with the same rules and objective, and in one process at a time.
    """
    with file.open("rb") as stream:
        case: PreparedCase = pickle.load(stream)
    order = list(reversed(target.regions))
    whole_map = region.name in needs_outer(rules)
    inner, outer = order[: order.index(region)], order[order.index(region) + 1 :] if whole_map else []
    reference = _labels(case, [])
    where, labels = case.reference
    counts = np.full(len(where), True) if whole_map else region.mask(labels)
    reference[where[counts]] = labels[counts]
    base = _labels(case, [(other, _selected(case, other, decoding[other.name])) for other in inner])
    known = _known(file)
    found = []
    for candidate in candidates:
        prediction = base.copy()
        _paint(prediction, _selected(case, region, candidate), region)
        for other in outer:
            _paint(prediction, _selected(case, other, decoding[other.name]), other)
        if not whole_map:
            prediction = np.where(region.mask(prediction), np.uint8(region.decoded_as), np.uint8(0))
        where = np.flatnonzero(prediction)
        key = region.name, hashlib.blake2b(where.tobytes() + prediction[where].tobytes()).digest()
        if key not in known:
            known[key] = _score(prediction, reference, case, region, rules, objective)
        found.append(known[key])
    with _known_file(file).open("wb") as stream:
        pickle.dump(known, stream)
    return found


Known = dict[tuple[str, bytes], float]


def _known(file: Path) -> Known:
    """Reads the scores of masks from earlier calls. Other inner settings often leave an outer mask alone."""
    if not _known_file(file).exists():
        return {}
    with _known_file(file).open("rb") as stream:
        known: Known = pickle.load(stream)
    return known


def _known_file(file: Path) -> Path:
    return file.with_suffix(".known")


def needs_outer(rules: str) -> tuple[str, ...]:
    """Returns the regions whose score, under these rules, depends also on the regions painted around them."""
    return (ET.name,) if rules_named(rules).joins_et_by_netc else ()


# ---------------------------------------------------------------- making ready


def _fault(ours: ProbabilityVolume, theirs: LabelVolume, target: Target, rules: str) -> str | None:
    if ours.names != target.names:
        return f"expected the channels {' '.join(target.names)}, found {' '.join(ours.names)}; predict again"
    if ours.shape != theirs.shape:
        return f"differs in shape from the reference, {ours.shape} and {theirs.shape}; predict again"
    if lie_apart(ours, theirs) or sizes_differ(ours.spacing_mm, theirs.spacing_mm):
        return "lies differently from the reference; predict again"
    if np.isnan(ours.data).any():
        return "holds NaN; the weights may be broken"
    if rules_named(rules).unknown_labels == "refused" and theirs.labels.max(initial=0) > max(KNOWN_LABELS):
        return (
            f"{rules} refuses its reference, which holds label {theirs.labels.max()}; correct it or name other --rules"
        )
    return None


def _prepared(
    ours: ProbabilityVolume, theirs: LabelVolume, target: Target, thresholds: Sequence[float]
) -> PreparedCase:
    channels = list(ours.data)
    winner = likeliest_label(channels, target) if target.kind == "labels" else None

    def masks(region: Region, box: Box, thresholds: Sequence[float]) -> dict[float, Bool[np.ndarray, "X Y Z"]]:
        if winner is not None:
            return {threshold: region.mask(winner[box]) for threshold in thresholds}
        probability = region_probability(channels, target, region)[box]
        return {threshold: probability > threshold for threshold in thresholds}

    counts = theirs.labels > 0
    for region in target.regions:
        counts |= next(iter(masks(region, EVERYWHERE, thresholds[:1]).values()))
    box = bounding_box(counts) or NOWHERE
    regions = {}
    for region in target.regions:
        probability = np.ascontiguousarray(region_probability(channels, target, region)[box])
        regions[region.name] = _region_voxels(probability, masks(region, box, thresholds))
    labels = np.ascontiguousarray(theirs.labels[box])
    where = np.flatnonzero(labels)
    voxel_mm3 = math.prod(ours.spacing_mm)
    return PreparedCase(labels.shape, theirs.spacing_mm, voxel_mm3, (where, labels.ravel()[where]), regions)


def _region_voxels(
    probability: Float32[np.ndarray, "X Y Z"], masks: dict[float, Bool[np.ndarray, "X Y Z"]]
) -> RegionVoxels:
    """Lists a region's voxels and components; `masks` are by threshold, the lowest first."""
    voxels = np.flatnonzero(next(iter(masks.values())))
    voxels = voxels[np.argsort(-probability.ravel()[voxels], kind="stable")]
    numbers, parts = {}, {}
    for threshold, mask in masks.items():
        of_components = components(mask)
        parts[threshold] = measure(of_components, probability)
        inside = voxels[: np.count_nonzero(mask)]
        numbers[threshold] = of_components.ravel()[inside].astype(np.int32)
    return RegionVoxels(voxels, numbers, parts)


# ---------------------------------------------------------------- scoring


def _selected(case: PreparedCase, region: Region, setting: RegionDecoding) -> FlatVoxels:
    """Returns the voxels that `region_masks.selected` leaves of a region."""
    own = case.regions[region.name]
    numbers, parts = own.numbers[setting.threshold], own.parts[setting.threshold]
    voxels = own.voxels[: len(numbers)]
    if setting.filters:
        voxels = voxels[kept(parts, setting, case.predicted_voxel_mm3)[numbers - 1]]
    if setting.fill_holes and len(voxels):
        mask = np.zeros(case.shape, bool)
        mask.ravel()[voxels] = True
        voxels = np.flatnonzero(filled(mask))
    return voxels


def _labels(case: PreparedCase, painted: Sequence[tuple[Region, FlatVoxels]]) -> UInt8[np.ndarray, " _"]:
    labels = np.zeros(math.prod(case.shape), np.uint8)
    for region, voxels in painted:
        _paint(labels, voxels, region)
    return labels


def _paint(labels: UInt8[np.ndarray, " _"], voxels: FlatVoxels, region: Region) -> None:
    """Paints as `region_masks.paint`: only where no region further inside is painted."""
    labels[voxels[labels[voxels] == 0]] = region.decoded_as


def _score(
    prediction: UInt8[np.ndarray, " _"],
    reference: UInt8[np.ndarray, " _"],
    case: PreparedCase,
    region: Region,
    rules: str,
    objective: str,
) -> float:
    rows = lesion_scores(
        prediction.reshape(case.shape),
        reference.reshape(case.shape),
        case.spacing_mm,
        rules=rules,
        regions=(region.name,),
        distances=False,
    )
    value = rows[0][objective]
    return math.nan if value is None else float(value)
