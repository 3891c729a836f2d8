"""Scores a folder of predictions against a folder of references and writes scores.csv, lesions.csv and froc.csv.

What is wrong with one case is collected and does not keep the others from being scored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from mets3d.data import Progress, quiet
from mets3d.data.patients import patients_of
from mets3d.evaluation.case import CaseFiles, CaseResult, Scoring, score_case
from mets3d.evaluation.decoded import recorded_decodings
from mets3d.evaluation.folders import Pairs, References, file_pairs, recorded_patients
from mets3d.evaluation.froc import FROC_COLUMNS
from mets3d.evaluation.lesion_columns import LESION_COLUMNS
from mets3d.evaluation.lesions import lesion_scores
from mets3d.evaluation.rules import rules_named
from mets3d.evaluation.scores import PATIENT, score_columns
from mets3d.evaluation.tables import Row, csv_text
from mets3d.files import write_text
from mets3d.processes import worker_processes
from mets3d.regions import ET_LABEL, IllegalLabels
from mets3d.rundir import scan_name
from mets3d.wording import counted


@dataclass(frozen=True)
class Tables:
    """The files that an evaluation writes; None for one that is not wanted."""

    scores: Path
    lesions: Path | None = None
    froc: Path | None = None


@dataclass
class EvaluationReport:
    """The rows of an evaluation as written, its problems and remarks, and references without a prediction."""

    rows: list[Row] = field(default_factory=list)
    lesions: list[Row] = field(default_factory=list)
    froc: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unpredicted: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def evaluate(
    predictions: Path,
    references: Path | References,
    tables: Tables,
    scoring: Scoring | None = None,
    *,
    probabilities: Path | None = None,
    jobs: int = 1,
    progress: Progress = quiet,
) -> EvaluationReport:
    """Scores every prediction that has a reference, as `folders.file_pairs` finds it, and writes the tables.

    `tables.scores` gets one row per case and region, `tables.lesions` one per lesion, `tables.froc` one per case,
    region and threshold from the maps CASE.nii.gz in `probabilities`. All are sorted by case, numbers in full
    precision, no value as an empty cell. A table is written whole or, when no case could be scored, not at all.
    `jobs` processes share the cases; the result does not depend on their number.

    References without a prediction are in `unpredicted`. Where the rules count them (brats2026: Dice, NSD and F1 0,
    HD95 373 mm, all lesions missed) they are scored; under the others they are not, since those rules do not say.

    Collected in `problems`, one line each, naming the case: a case found twice, a prediction without a reference, a
    file that cannot be read, grids that differ (see `mets3d.data.grids`), and labels outside 0 to 4, which are scored
    as background or, under brats2026, keep the case from being scored. `remarks` says where no reference has enhancing
    tumour, as where its label is another one.

    Raises ValueError for unknown rules, and FileNotFoundError or DataError (a ValueError) as `folders.file_pairs`.
    """
    scoring = scoring or Scoring()
    references = References(references) if isinstance(references, Path) else references
    counts_missing = rules_named(scoring.rules).missing_prediction == "worst"
    found = file_pairs(predictions, references)
    report = EvaluationReport(
        problems=list(found.problems), unpredicted=list(found.unpredicted), remarks=list(found.remarks)
    )
    nothing = np.zeros((1, 1, 1), np.uint8)
    lesion_scores(nothing, nothing, (1.0, 1.0, 1.0), **vars(scoring))  # raises for arguments that fit no case
    for table in filter(None, (tables.scores, tables.lesions, tables.froc)):
        if table.is_dir():
            raise IsADirectoryError(f"{table} is a folder, and a table is to be written there; move it away")
    work = _cases(found, probabilities, counts_missing=counts_missing, illegal_labels=references.illegal_labels)
    names = [files.case for files in work]
    if references.patients is None:
        patient = recorded_patients(predictions, references, names)
    else:
        patient = patients_of(names, references.patients, also_known=found.expected)
    decoded = recorded_decodings(predictions, [files.case for files in work if files.prediction is not None])
    seen: Counter[int] = Counter()
    for done, result in enumerate(_results(work, scoring, jobs), start=1):
        seen.update(result.labels)
        report.rows += [row | {PATIENT: patient[row["case"]]} | decoded.get(row["case"], {}) for row in result.rows]
        report.lesions += result.lesions
        report.froc += result.froc
        report.problems += result.problems
        progress(done, len(work), result.case)
    report.remarks += _remarks(seen, len(work))
    if report.rows:
        _write(report, tables)
    return report


def _cases(
    found: Pairs, probabilities: Path | None, *, counts_missing: bool, illegal_labels: IllegalLabels
) -> list[CaseFiles]:
    """Returns the files of the cases to score, sorted by case."""
    cases = [
        CaseFiles(
            pair.case,
            pair.prediction,
            pair.reference,
            None if probabilities is None else probabilities / scan_name(pair.predicted_as),
            found.label_maps.get(pair.case, {}),
            illegal_labels,
        )
        for pair in found.pairs
    ]
    if counts_missing:
        cases += [
            CaseFiles(case, None, reference, None, found.label_maps.get(case, {}), illegal_labels)
            for case, reference in found.unpredicted.items()
        ]
    return sorted(cases, key=lambda files: files.case)


def _results(work: Sequence[CaseFiles], scoring: Scoring, jobs: int) -> Iterator[CaseResult]:
    """Scores the cases in their order."""
    score = partial(score_case, scoring=scoring)
    with worker_processes(min(jobs, len(work))) as run_all:
        yield from run_all(score, work)


def _remarks(seen: Mapping[int, int], references: int) -> list[str]:
    """Says where no reference has enhancing tumour. `seen`: how many references have each label."""
    if not seen or ET_LABEL in seen:
        return []
    counts = ", ".join(f"{label} in {count}" for label, count in sorted(seen.items()))
    remark = (
        f"no label {ET_LABEL}, the enhancing tumour, in any of {counted(references, 'reference')}; found "
        f"label {counts}. If they "
        'have labels of their own, give the map, as --data.labels="{4: 3}" for BraTS up to 2021'
    )
    return [remark]


def _write(report: EvaluationReport, tables: Tables) -> None:
    columns = dict.fromkeys((*score_columns(), *(column for row in report.rows for column in row)))
    write_text(tables.scores, csv_text(tuple(columns), report.rows))
    if tables.lesions is not None:
        write_text(tables.lesions, csv_text(LESION_COLUMNS, report.lesions))
    if tables.froc is not None:
        if report.froc:
            write_text(tables.froc, csv_text(FROC_COLUMNS, report.froc))
        else:
            tables.froc.unlink(missing_ok=True)  # of an earlier evaluation, which the other tables no longer belong to
