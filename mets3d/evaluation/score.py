"""A folder of predictions against a folder of references -> scores.csv and lesions.csv.

A folder is flat, FOLDER/CASE.nii.gz or FOLDER/CASE-seg.nii.gz, or a data set with CASE-seg.nii.gz at any depth; `.nii`
is read too.
What is wrong with one case is collected and does not keep the others from being scored.
"""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mets3d.data import DataError, Progress, quiet
from mets3d.data.cases import LABELS, SEQUENCES, SUFFIXES, visible_files
from mets3d.evaluation.lesions import Row, lesion_scores, rules_named
from mets3d.regions import KNOWN_LABELS
from mets3d.rundir import write_text

if TYPE_CHECKING:
    from mets3d.data.nifti import LabelVolume

SCORE_COLUMNS = (
    *("case", "region", "rules", "lesion_wise_dice", "lesion_wise_hd95", "dice", "hd95"),
    *("lesions_found", "lesions_missed", "lesions_false"),
    *("sensitivity", "specificity", "reference_volume_mm3", "prediction_volume_mm3"),
)
LESION_COLUMNS = (
    *("case", "region", "rules", "lesion", "kind", "reference_volume_mm3", "prediction_volume_mm3"),
    *("x_mm", "y_mm", "z_mm", "dice", "hd95"),
)
SUMMARISED = ("lesion_wise_dice", "lesion_wise_hd95", "dice", "hd95")
AFFINE_TOLERANCE = 1e-3  # mm; headers round, and a voxel is never that small
REGRID = "write the prediction on the case's own grid"


@dataclass
class EvaluationReport:
    """What an evaluation found: the rows as written, what was wrong, and references nobody predicted."""

    rows: list[Row] = field(default_factory=list)
    lesions: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unpredicted: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Summary:
    """One score over the cases that have a value."""

    mean: float
    median: float
    n: int


def evaluate(
    predictions: Path,
    references: Path,
    *,
    rules: str = "brats2023",
    scores: Path,
    lesions: Path | None = None,
    jobs: int = 1,
    progress: Progress = quiet,
) -> EvaluationReport:
    """Scores every prediction that has a reference of the same case name and writes the tables.

    `scores` gets one row per case and region, `lesions` (where given) one per lesion, both sorted by case, numbers in
    full precision, no value as an empty cell. A table is written whole or, when no case could be scored, not at all.
    `jobs` processes share the cases; the result does not depend on their number.

    Collected in `problems`, one line each, naming the case: a case found twice, a prediction without a reference, a
    file that cannot be read, grids that differ (shape, or affine by more than 1e-3), and labels outside 0 to 4, which
    are scored as background. References without a prediction are in `unpredicted` and no problem.

    Raises ValueError for unknown rules, and FileNotFoundError or DataError (a ValueError) for a folder that does not
    exist or holds no label map.
    """
    rules_named(rules)
    predicted, expected = _label_files(predictions, "predictions"), _label_files(references, "references")
    report = EvaluationReport(unpredicted=sorted(set(expected) - set(predicted)))
    work = []
    for case in sorted(predicted):
        problem = _no_pair(case, predicted[case], expected.get(case, []), references)
        if problem:
            report.problems.append(problem)
        else:
            work.append((case, predicted[case][0], expected[case][0], rules))
    for done, result in enumerate(_results(work, jobs), start=1):
        report.rows += result.rows
        report.lesions += result.lesions
        report.problems += result.problems
        progress(done, len(work), result.case)
    if report.rows:
        write_text(scores, _table(SCORE_COLUMNS, report.rows))
        if lesions is not None:
            write_text(lesions, _table(LESION_COLUMNS, report.lesions))
    return report


def summarise(rows: Iterable[Row]) -> dict[str, dict[str, Summary]]:
    """Mean, median and number of cases by region (in the rows' order) and score; empty values are left out."""
    values: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        scores = values.setdefault(row["region"], {name: [] for name in SUMMARISED})
        for name, found in scores.items():
            if _has_value(row[name]):
                found.append(row[name])
    return {
        region: {
            name: Summary(statistics.fmean(found), statistics.median(found), len(found))
            for name, found in scores.items()
            if found
        }
        for region, scores in values.items()
    }


# ---------------------------------------------------------------- pairs


def _label_files(folder: Path, role: str) -> dict[str, list[Path]]:
    """The label maps in a folder by case name; more than one path where a case is there twice."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of {role}; expected label maps CASE.nii.gz or a data set")
    found: dict[str, list[Path]] = {}
    for place, names in visible_files(folder):
        for name in names:
            case = _case_of(name, flat=place == folder)
            if case:
                found.setdefault(case, []).append(place / name)
    if not found:
        raise DataError(
            f"{folder}: expected {role} as CASE.nii.gz or CASE-{LABELS}.nii.gz in it, or as a data set "
            f"CASE/CASE-{LABELS}.nii.gz, found no label map; name the folder that holds them"
        )
    return found


def _case_of(name: str, flat: bool) -> str | None:
    """The case whose label map a file is by its name, None if it is something else."""
    stem = next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), "")
    if stem.endswith(f"-{LABELS}"):
        return stem.removesuffix(f"-{LABELS}")
    return stem if flat and not stem.endswith(tuple(f"-{sequence}" for sequence in SEQUENCES)) else None


def _no_pair(case: str, predicted: list[Path], expected: list[Path], references: Path) -> str | None:
    for role, files in (("predictions", predicted), ("references", expected)):
        if len(files) > 1:
            return f"{case}: twice among the {role}: {', '.join(map(str, files))}; not scored, keep one of them"
    if not expected:
        return f"{case}: {references} holds no reference {case}-{LABELS}.nii.gz for {predicted[0]}; not scored"
    return None


# ---------------------------------------------------------------- one case


@dataclass(frozen=True)
class _Result:
    case: str
    rows: list[Row]
    lesions: list[Row]
    problems: list[str]


def _results(work: Sequence[tuple[str, Path, Path, str]], jobs: int) -> Iterator[_Result]:
    """The results in the order of the work."""
    if jobs <= 1 or len(work) <= 1:
        yield from (_score(*item) for item in work)
        return
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # Spawned, for the caller may hold threads, which a fork would leave locked.
    with ProcessPoolExecutor(min(jobs, len(work)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(_score, *zip(*work, strict=True))


def _score(case: str, prediction: Path, reference: Path, rules: str) -> _Result:
    from mets3d.data.nifti import read_labels

    try:
        ours, theirs = read_labels(prediction), read_labels(reference)
    except (OSError, ValueError) as error:
        return _Result(case, [], [], [f"{case}: {error}; not scored"])
    differs = _grids_differ(ours, theirs)
    if differs:
        return _Result(case, [], [], [f"{case}: {prediction} and {reference} {differs}; not scored"])
    problems = [
        f"{case}: {path} holds labels {found}, expected 0 to {max(KNOWN_LABELS)}; scored as background"
        for path, volume in ((prediction, ours), (reference, theirs))
        if (found := _unknown_labels(volume))
    ]
    scores = lesion_scores(ours.labels, theirs.labels, _header_spacing(ours), rules=rules)
    return _Result(
        case, [{"case": case} | row for row in scores], [{"case": case} | row for row in scores.lesions], problems
    )


def _grids_differ(ours: LabelVolume, theirs: LabelVolume) -> str | None:
    if ours.labels.shape != theirs.labels.shape:
        return f"differ in shape, {ours.labels.shape} and {theirs.labels.shape} in RAS order; {REGRID}"
    off = float(np.abs(ours.affine - theirs.affine).max())
    if off > AFFINE_TOLERANCE:
        return f"lie differently, affines {off:g} apart where {AFFINE_TOLERANCE:g} is allowed; {REGRID}"
    return None


def _unknown_labels(volume: LabelVolume) -> str:
    if volume.labels.max(initial=0) <= max(KNOWN_LABELS):
        return ""
    return ", ".join(str(label) for label in np.unique(volume.labels).tolist() if label not in KNOWN_LABELS)


def _header_spacing(volume: LabelVolume) -> tuple[float, float, float]:
    """The voxel size to the last bit of the header, in RAS order.

    `read_labels` rounds it to six digits; the organisers' programs do not, and over 30 mm that is more than 1e-6.
    """
    x, y, z = (min(volume.source.zooms, key=lambda zoom: abs(zoom - side)) for side in volume.spacing_mm)
    return x, y, z


# ---------------------------------------------------------------- tables


def _table(columns: Sequence[str], rows: Iterable[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({column: value if _has_value(value) else "" for column, value in row.items()} for row in rows)
    return text.getvalue()


def _has_value(value: object) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))
