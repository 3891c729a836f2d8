"""A folder of predictions against a folder of references -> scores.csv, lesions.csv and froc.csv.

What is wrong with one case is collected and does not keep the others from being scored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mets3d.data import Progress, quiet
from mets3d.data.grids import TOLERANCE_VOXELS, apart_mm, lie_apart, sizes_differ
from mets3d.evaluation.folders import FilePair, file_pairs
from mets3d.evaluation.froc import FROC_COLUMNS, froc_rows
from mets3d.evaluation.lesions import SIZE_EDGES_MM3, CaseScores, lesion_scores, numbered
from mets3d.evaluation.rules import rules_named
from mets3d.evaluation.scores import score_columns, score_of
from mets3d.evaluation.tables import Row, csv_text
from mets3d.files import write_text
from mets3d.regions import KNOWN_LABELS
from mets3d.rundir import scan_name

if TYPE_CHECKING:
    from mets3d.data.nifti import LabelVolume

LESION_COLUMNS = (
    *("case", "region", "rules", "lesion", "kind", "size_class", "reference_volume_mm3", "prediction_volume_mm3"),
    *("x_mm", "y_mm", "z_mm", "dice", "hd95", "nsd_0.5", "nsd_1.0", "nsd_spacing"),
)
BEYOND = 255  # stands for all labels that a byte does not hold; of no region either
REGRID = "write the prediction on the case's own grid"


@dataclass
class EvaluationReport:
    """What an evaluation found: the rows as written, what was wrong, and references nobody predicted."""

    rows: list[Row] = field(default_factory=list)
    lesions: list[Row] = field(default_factory=list)
    froc: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unpredicted: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Work:
    """One case to score. prediction: None where there is none and the rules count that."""

    case: str
    prediction: Path | None
    reference: Path
    probabilities: Path | None
    rules: str
    compat: str | None
    size_edges_mm3: tuple[float, ...]


def evaluate(
    predictions: Path,
    references: Path,
    *,
    rules: str = "brats2023",
    compat: str | None = None,
    size_edges_mm3: Sequence[float] = SIZE_EDGES_MM3,
    scores: Path,
    lesions: Path | None = None,
    probabilities: Path | None = None,
    froc: Path | None = None,
    jobs: int = 1,
    progress: Progress = quiet,
) -> EvaluationReport:
    """Scores every prediction that has a reference of the same case name and writes the tables.

    `scores` gets one row per case and region, `lesions` (where given) one per lesion, `froc` one per case, region and
    threshold from the maps CASE.nii.gz in `probabilities`. All are sorted by case, numbers in full precision, no value
    as an empty cell. A table is written whole or, when no case could be scored, not at all. `jobs` processes share the
    cases; the result does not depend on their number.

    References without a prediction are in `unpredicted`. Under brats2026 they count: Dice, NSD and F1 0, HD95 373 mm,
    all lesions missed. Under the others they are not scored, since those rules do not say.

    Collected in `problems`, one line each, naming the case: a case found twice, a prediction without a reference, a
    file that cannot be read, grids that differ (see `mets3d.data.grids`), and labels outside 0 to 4, which
    are scored as background or, under brats2026, keep the case from being scored.

    Raises ValueError for unknown rules, and FileNotFoundError or DataError (a ValueError) for a folder that does not
    exist or holds no label map.
    """
    rule_set = rules_named(rules)
    found = file_pairs(predictions, references)
    report = EvaluationReport(problems=list(found.problems), unpredicted=list(found.unpredicted))
    pairs: list[FilePair | tuple[str, Path]] = [*found.pairs]
    if rule_set.missing_prediction == "worst":
        pairs += found.unpredicted.items()
    edges = tuple(float(edge) for edge in size_edges_mm3)
    nothing = np.zeros((1, 1, 1), np.uint8)
    lesion_scores(nothing, nothing, (1.0, 1.0, 1.0), rules=rules, compat=compat, size_edges_mm3=edges)  # or refuses
    for table in filter(None, (scores, lesions, froc)):
        if table.is_dir():
            raise IsADirectoryError(f"{table} is a folder, and a table is to be written there; move it away")
    work = sorted((_work(pair, probabilities, rules, compat, edges) for pair in pairs), key=lambda item: item.case)
    for done, result in enumerate(_results(work, jobs), start=1):
        report.rows += result.rows
        report.lesions += result.lesions
        report.froc += result.froc
        report.problems += result.problems
        progress(done, len(work), result.case)
    if report.rows:
        _write(report, scores, lesions, froc)
    return report


# ---------------------------------------------------------------- one case


@dataclass(frozen=True)
class _Result:
    case: str
    rows: list[Row] = field(default_factory=list)
    lesions: list[Row] = field(default_factory=list)
    froc: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def _work(
    pair: FilePair | tuple[str, Path],
    probabilities: Path | None,
    rules: str,
    compat: str | None,
    edges: tuple[float, ...],
) -> _Work:
    if not isinstance(pair, FilePair):
        return _Work(pair[0], None, pair[1], None, rules, compat, edges)
    soft = None if probabilities is None else probabilities / scan_name(pair.case)
    return _Work(pair.case, pair.prediction, pair.reference, soft, rules, compat, edges)


def _results(work: Sequence[_Work], jobs: int) -> Iterator[_Result]:
    """The results in the order of the work."""
    if jobs <= 1 or len(work) <= 1:
        yield from map(_score, work)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # Spawned, for the caller may hold threads, which a fork would leave locked.
    with ProcessPoolExecutor(min(jobs, len(work)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(_score, work)


def _score(work: _Work) -> _Result:
    from mets3d.data.nifti import read_labels

    try:
        theirs = read_labels(work.reference, beyond=BEYOND)
        ours = theirs if work.prediction is None else read_labels(work.prediction, beyond=BEYOND)
        differs = _grids_differ(ours, theirs)
        if differs:
            return _failed(work, f"{work.prediction} and {work.reference} {differs}")
        scores = _worst(theirs, work) if work.prediction is None else _scores(ours, theirs, work)
    except (OSError, ValueError) as error:
        return _failed(work, str(error))
    problems = [
        f"{work.case}: {path} holds labels {found}, expected 0 to {max(KNOWN_LABELS)}; scored as background"
        for path, volume in ((work.prediction, ours), (work.reference, theirs))
        if (found := _unknown_labels(volume))
    ]
    froc: list[Row] = []
    try:
        froc = [] if work.probabilities is None else _froc(work.probabilities, theirs, work)
    except (OSError, ValueError) as error:
        problems.append(f"{work.case}: {error}; scored, but not in the FROC table")
    named = {"case": work.case}
    return _Result(
        work.case,
        [named | row for row in scores],
        [named | row for row in scores.lesions],
        [named | row for row in froc],
        problems,
    )


def _failed(work: _Work, reason: str) -> _Result:
    return _Result(work.case, problems=[f"{work.case}: {reason}; not scored"])


def _scores(ours: LabelVolume, theirs: LabelVolume, work: _Work) -> CaseScores:
    """Scored in the axis order of the file, as the organisers' programs do: it decides what `compat` swaps.

    It also decides which part of NETC is the first, and so what it joins. Positions are then told in RAS order.
    """
    from mets3d.data.nifti import in_file_order, ras_position_mm

    grid = ours.source
    scores = lesion_scores(
        in_file_order(ours.labels, grid),
        in_file_order(theirs.labels, grid),
        grid.zooms,
        rules=work.rules,
        compat=work.compat,
        size_edges_mm3=work.size_edges_mm3,
    )
    for row in scores.lesions:
        position = ras_position_mm((row["x_mm"], row["y_mm"], row["z_mm"]), grid)
        row |= dict(zip(("x_mm", "y_mm", "z_mm"), position, strict=True))
    by_region = (numbered(row for row in scores.lesions if row["region"] == region["region"]) for region in scores)
    return CaseScores(scores, [row for rows in by_region for row in rows])


def _worst(theirs: LabelVolume, work: _Work) -> CaseScores:
    """A missing prediction by the rules of 2026: 0 and the penalty everywhere, where others have no value too."""
    empty = replace(theirs, labels=np.zeros_like(theirs.labels))
    scores = _scores(empty, theirs, work)
    penalty_mm = rules_named(work.rules).penalty_mm(theirs.labels.shape)
    for row in scores:
        for name, value in row.items():
            score = score_of(name)
            worst = 0.0 if score is None else score.worst
            if worst == "penalty":
                row[name] = penalty_mm
            elif isinstance(value, float) and math.isnan(value):
                row[name] = worst
    return scores


def _froc(file: Path, theirs: LabelVolume, work: _Work) -> list[Row]:
    from mets3d.data.nifti import LabelVolume, read_probabilities

    soft = read_probabilities(file)
    ours = LabelVolume(np.zeros(soft.data.shape[1:], np.uint8), soft.spacing_mm, soft.affine, soft.source)
    differs = _grids_differ(ours, theirs)
    if differs:
        raise ValueError(f"{file} and {work.reference} {differs}")
    return froc_rows(soft.data, soft.names, theirs.labels, theirs.spacing_mm, rules=work.rules)


def _grids_differ(ours: LabelVolume, theirs: LabelVolume) -> str | None:
    if ours.labels.shape != theirs.labels.shape:
        return f"differ in shape, {ours.labels.shape} and {theirs.labels.shape} in RAS order; {REGRID}"
    if lie_apart(ours, theirs):
        off = f"affines {apart_mm(ours, theirs):g} apart in mm"
        return f"lie differently, {off} where {TOLERANCE_VOXELS:g} of a voxel is allowed; {REGRID}"
    if sizes_differ(ours.spacing_mm, theirs.spacing_mm):
        return f"have voxels of {ours.spacing_mm} and {theirs.spacing_mm} mm by their headers; {REGRID}"
    return None


def _unknown_labels(volume: LabelVolume) -> str:
    if volume.labels.max(initial=0) <= max(KNOWN_LABELS):
        return ""
    unknown = (label for label in np.unique(volume.labels).tolist() if label not in KNOWN_LABELS)
    return ", ".join("outside 0 to 254" if label == BEYOND else str(label) for label in unknown)


# ---------------------------------------------------------------- tables


def _write(report: EvaluationReport, scores: Path, lesions: Path | None, froc: Path | None) -> None:
    columns = dict.fromkeys((*score_columns(), *(column for row in report.rows for column in row)))
    write_text(scores, csv_text(tuple(columns), report.rows))
    if lesions is not None:
        write_text(lesions, csv_text(LESION_COLUMNS, report.lesions))
    if froc is not None:
        if report.froc:
            write_text(froc, csv_text(FROC_COLUMNS, report.froc))
        else:
            froc.unlink(missing_ok=True)  # of an earlier evaluation, which the other tables no longer belong to
