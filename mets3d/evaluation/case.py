"""Scores the files of one case and lists their problems."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mets3d.data.grids import TOLERANCE_VOXELS, apart_mm, lie_apart, sizes_differ
from mets3d.evaluation.froc import froc_rows
from mets3d.evaluation.lesions import SIZE_EDGES_MM3, Asked, CaseScores, stored_scores
from mets3d.evaluation.rules import DEFAULT_RULES, rules_named
from mets3d.evaluation.scores import score_of
from mets3d.evaluation.tables import Row
from mets3d.regions import KNOWN_LABELS, IllegalLabels

if TYPE_CHECKING:
    from mets3d.data.nifti import LabelVolume

BEYOND = 255  # stands for all labels that a byte does not hold; of no region either
REGRID = "write the prediction on the case's own grid"


@dataclass(frozen=True)
class Scoring:
    """The arguments of `lesion_scores` that are the same for all cases."""

    rules: str = DEFAULT_RULES
    compat: str | None = None
    size_edges_mm3: tuple[float, ...] = SIZE_EDGES_MM3


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case.

    label_map: the integers of the reference's file to our labels. illegal_labels: as the setting data.illegal_labels.
    """

    case: str
    prediction: Path | None  # None where there is none and the rules count that
    reference: Path
    probabilities: Path | None = None
    label_map: Mapping[int, int] = field(default_factory=dict)
    illegal_labels: IllegalLabels = "error"


@dataclass(frozen=True)
class CaseResult:
    """The rows of one case in the three tables, its problems, a line each, and the labels of its reference."""

    case: str
    rows: list[Row] = field(default_factory=list)
    lesions: list[Row] = field(default_factory=list)
    froc: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)


def score_case(files: CaseFiles, scoring: Scoring) -> CaseResult:
    """Reads and scores one case. A file that cannot be used leaves out what needs it and is named in `problems`."""
    from mets3d.data.nifti import read_labels

    try:
        expected = reference_labels(files.reference, files.label_map, files.illegal_labels)
        predicted = expected if files.prediction is None else read_labels(files.prediction, beyond=BEYOND)
        differs = _grids_differ(predicted, expected)
        if differs:
            return _failed(files, f"{files.prediction} and {files.reference} {differs}")
        scores = _worst(expected, scoring) if files.prediction is None else _scores(predicted, expected, scoring)
    except (OSError, ValueError) as error:
        return _failed(files, str(error))
    problems = [
        f"{files.case}: {path} holds labels {unknown}, expected 0 to {max(KNOWN_LABELS)}; scored as background"
        for path, volume in ((files.prediction, predicted), (files.reference, expected))
        if (unknown := _unknown_labels(volume))
    ]
    froc: list[Row] = []
    try:
        froc = [] if files.probabilities is None else _froc(files.probabilities, expected, files.reference, scoring)
    except (OSError, ValueError) as error:
        problems.append(f"{files.case}: {error}; scored, but not in the FROC table")
    rows, lesions, froc = ([{"case": files.case} | row for row in table] for table in (scores, scores.lesions, froc))
    found = [label for label in KNOWN_LABELS[1:] if (expected.labels == label).any()]
    return CaseResult(files.case, rows, lesions, froc, problems, found)


def reference_labels(file: Path, label_map: Mapping[int, int], illegal_labels: IllegalLabels) -> LabelVolume:
    """Reads a reference with our labels; one that is none of them is background where `illegal_labels` says so."""
    from mets3d.data.nifti import read_labels

    volume = read_labels(file, beyond=BEYOND, mapped=label_map)
    if illegal_labels == "error":
        return volume
    return replace(volume, labels=np.where(np.isin(volume.labels, KNOWN_LABELS), volume.labels, np.uint8(0)))


def _failed(files: CaseFiles, reason: str) -> CaseResult:
    return CaseResult(files.case, problems=[f"{files.case}: {reason}; not scored"])


def _scores(predicted: LabelVolume, expected: LabelVolume, scoring: Scoring) -> CaseScores:
    """Scores in the axis order of the file, as the organisers' programs do: it decides what `compat` swaps.

    It also decides which part of NETC is the first, and so what it joins. Voxel sizes are those of the reference: its
    volumes are the same for every method. So are the voxels of the lesions, and their points are in scanner space.
    """
    from mets3d.data.nifti import in_file_order, index_in, world_mm, zooms_along

    grid = replace(predicted.source, zooms=zooms_along(expected.source, predicted.source))
    labels, reference = (in_file_order(volume.labels, grid) for volume in (predicted, expected))
    scores = stored_scores(labels, reference, grid.zooms, Asked(**vars(scoring)), grid.orientation)
    for row, point in zip(scores.lesions, scores.points, strict=True):
        position = world_mm(index_in(point.place, grid, expected.source), expected.source)
        voxel = map(round, index_in(point.voxel, grid, expected.source))
        row |= dict(zip(("x_mm", "y_mm", "z_mm", "i", "j", "k"), (*position, *voxel), strict=True))
    return scores


def _worst(expected: LabelVolume, scoring: Scoring) -> CaseScores:
    """Scores a missing prediction by the worst values of the table of scores, where an empty one has no value too."""
    empty = replace(expected, labels=np.zeros_like(expected.labels))
    scores = _scores(empty, expected, scoring)
    penalty_mm = rules_named(scoring.rules).penalty_mm(expected.labels.shape)
    for row in scores:
        for name, value in row.items():
            score = score_of(name)
            worst = 0.0 if score is None else score.worst
            if worst == "penalty":
                row[name] = penalty_mm
            elif isinstance(value, float) and math.isnan(value):
                row[name] = worst
    return scores


def _froc(file: Path, expected: LabelVolume, reference: Path, scoring: Scoring) -> list[Row]:
    from mets3d.data.nifti import LabelVolume, read_probabilities

    soft = read_probabilities(file)
    predicted = LabelVolume(np.zeros(soft.data.shape[1:], np.uint8), soft.spacing_mm, soft.affine, soft.source)
    differs = _grids_differ(predicted, expected)
    if differs:
        raise ValueError(f"{file} and {reference} {differs}")
    return froc_rows(soft.data, soft.names, expected.labels, expected.spacing_mm, rules=scoring.rules)


def _grids_differ(predicted: LabelVolume, expected: LabelVolume) -> str | None:
    """Says how two grids differ, None where they do not."""
    if predicted.labels.shape != expected.labels.shape:
        return f"differ in shape, {predicted.labels.shape} and {expected.labels.shape} in RAS order; {REGRID}"
    if lie_apart(predicted, expected):
        off = f"affines {apart_mm(predicted, expected):g} apart in mm"
        return f"lie differently, {off} where {TOLERANCE_VOXELS:g} of a voxel is allowed; {REGRID}"
    if sizes_differ(predicted.spacing_mm, expected.spacing_mm):
        return f"have voxels of {predicted.spacing_mm} and {expected.spacing_mm} mm by their headers; {REGRID}"
    return None


def _unknown_labels(volume: LabelVolume) -> str:
    if volume.labels.max(initial=0) <= max(KNOWN_LABELS):
        return ""
    unknown = (label for label in np.unique(volume.labels).tolist() if label not in KNOWN_LABELS)
    return ", ".join("outside 0 to 254" if label == BEYOND else str(label) for label in unknown)
