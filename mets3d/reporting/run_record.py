"""What a run directory holds, read once: settings, curves, scores, predictions, and plainly what is not there."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mets3d.config import Config
from mets3d.evaluation.tables import Row
from mets3d.files import read_json
from mets3d.regions import Region, Target, scored_regions
from mets3d.rundir import PREDICTION_NOTE, RunDir, open_run
from mets3d.statistics.score_table import numbers, read_cells

CaseValues = dict[str, float]
LesionKey = tuple[str, str, str]  # case, region, number of the lesion in the reference


@dataclass(frozen=True)
class Note:
    """Something a reader has to know, and the command that would change it, if there is one."""

    text: str
    command: str = ""


@dataclass(frozen=True)
class Score:
    """One row of scores.csv: what a rule set says about one case and region. Cells without a value are left out."""

    case: str
    region: str
    rules: str
    values: CaseValues


@dataclass(frozen=True)
class LesionRow:
    """One row of lesions.csv: a reference lesion or a false component. Cells without a value are left out."""

    case: str
    region: str
    lesion: str
    kind: str
    size_class: str  # empty in tables without the column
    values: CaseValues


@dataclass(frozen=True)
class FrocRow:
    """One row of froc.csv: the counts of a case and region when the map is cut at `threshold`."""

    case: str
    region: str
    threshold: float
    found: float
    missed: float
    false: float


@dataclass
class RunRecord:
    """One run as the page shows it. Whatever is missing is empty here and has a note."""

    run: RunDir
    config: Config
    label: str
    imported_from: str = ""  # file of the original weights, where the run is an import
    environment: Row = field(default_factory=dict)
    split: dict[str, Any] = field(default_factory=dict)
    baseline: dict[str, Any] = field(default_factory=dict)
    training: list[Row] = field(default_factory=list)
    validation: list[Row] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    lesions: list[LesionRow] = field(default_factory=list)
    froc: list[FrocRow] = field(default_factory=list)
    found_lesions: dict[LesionKey, float] = field(default_factory=dict)  # HD95 in mm of each reference lesion found
    predictions: dict[str, Path] = field(default_factory=dict)
    data: Path | None = None
    notes: list[Note] = field(default_factory=list)

    @property
    def regions(self) -> tuple[Region, ...]:
        """Regions with scores, outermost first; without scores, those of the run's target."""
        scored = {score.region for score in self.scores}
        known = tuple(region for region in scored_regions(cavity=True) if region.name in scored)
        return known or Target(self.config.data.target, self.config.data.cavity).regions

    @property
    def rules(self) -> str:
        return ", ".join(sorted({score.rules for score in self.scores}))

    @property
    def cases(self) -> list[str]:
        """Scored cases by name."""
        return sorted({score.case for score in self.scores})

    @property
    def trained_on(self) -> set[str]:
        """Scored cases that the network has seen in training."""
        return set(self.cases) & set(self.split.get("training", ()))

    @property
    def held_out(self) -> list[str]:
        """Scored cases that training has not seen; all scored cases where there are no others."""
        return [case for case in self.cases if case not in self.trained_on] or self.cases

    def score_rows(self, cases: Sequence[str]) -> list[Row]:
        """The rows of scores.csv of `cases`, as `evaluation` takes them."""
        wanted = set(cases)
        return [
            {**score.values, "case": score.case, "region": score.region, "rules": score.rules}
            for score in self.scores
            if score.case in wanted
        ]

    def lesion_rows(self) -> list[Row]:
        """The rows of lesions.csv of scored cases, as `evaluation` takes them."""
        rules = {(score.case, score.region): score.rules for score in self.scores}
        return [
            {**row.values, "case": row.case, "region": row.region, "rules": rules[row.case, row.region]}
            | {"kind": row.kind, "size_class": row.size_class}
            for row in self.lesions
            if (row.case, row.region) in rules
        ]

    def values(self, region: str, column: str, cases: Sequence[str] | None = None) -> CaseValues:
        """A column of scores.csv for a region: case -> value, over those of `cases` (None: held out) that have one."""
        wanted = set(self.held_out if cases is None else cases)
        return {
            score.case: score.values[column]
            for score in self.scores
            if score.region == region and score.case in wanted and column in score.values
        }


def read_run(path: Path) -> RunRecord:
    """Reads a run directory. Only `config.yaml` must be there; any other piece missing or unreadable is a note.

    Raises the FileNotFoundError of `rundir.open_run` if `path` is not a run directory.
    """
    run = open_run(path, needs=("config",))
    record = RunRecord(run, run.load_config(), run.name)
    _read_training(record)
    _read_predictions(record)
    _read_scores(record)
    _read_lesions(record)
    _read_froc(record)
    return record


def read_runs(paths: Sequence[Path]) -> list[RunRecord]:
    """`read_run` for each path. Runs whose folders have the same name are labelled by their whole path."""
    records = [read_run(path) for path in paths]
    names = [record.label for record in records]
    for record in records:
        if names.count(record.label) > 1:
            record.label = str(record.run.path)
    return records


def _read_training(record: RunRecord) -> None:
    run, steps = record.run, record.config.train.steps
    if run.plan.exists():
        plan = _guarded(record, run.plan, lambda: read_json(run.plan)) or {}
        record.imported_from = str(plan.get("imported_from") or "")
    if record.imported_from:
        record.notes.append(Note("The weights were imported: how they were trained is not known here."))
        return
    record.environment = _json(record, run.environment, "hardware, time and command are unknown")
    record.split = _json(record, run.split, "which cases were held out is unknown, so all scored cases are taken")
    record.baseline = _json(record, run.baseline, "no comparison with a threshold on one sequence")
    rows = _guarded(record, run.metrics, run.read_metrics) or []
    record.training = sorted((row for row in rows if row.get("kind") == "train"), key=lambda row: row["step"])
    record.validation = sorted((row for row in rows if row.get("kind") == "validation"), key=lambda row: row["step"])
    if not record.training:
        record.notes.append(Note("No training steps in metrics.jsonl: no training curves."))
    elif (last := record.training[-1]["step"]) < steps:
        record.notes.append(Note(f"Training has not reached its end: {last:,} of {steps:,} steps are logged."))
    if record.training and not record.validation:
        record.notes.append(Note("No validation in metrics.jsonl: no validation curve."))
    skipped = max((row.get("skipped") or 0 for row in record.training), default=0)  # the log counts them up
    if skipped:
        record.notes.append(Note(f"{skipped:g} training steps were skipped because the loss was not finite."))


def _read_predictions(record: RunRecord) -> None:
    folder = Path(record.run.predictions)
    files = sorted(file for file in folder.glob("*.nii*") if not file.name.startswith("."))
    record.predictions = {file.name.removesuffix(".gz").removesuffix(".nii"): file for file in files}
    if not files:
        held_out = " --held-out" if record.split else ""
        record.notes.append(
            Note("No predictions: no slices.", f"mets3d predict {_quoted(record.run.path)} DATA{held_out}")
        )
        return
    source = folder / PREDICTION_NOTE
    said = _json(record, source, "the scans that were predicted are unknown, so there are no slices")
    if "data" in said:
        record.data = Path(said["data"])
        if not record.data.is_dir():
            record.notes.append(Note(f"The scans that were predicted, which slices need, are not at {record.data}."))
            record.data = None


def _read_scores(record: RunRecord) -> None:
    file = Path(record.run.scores)
    command = f"mets3d evaluate {_quoted(record.run.predictions)} REFERENCES --out {_quoted(file)}"
    if not file.exists():
        record.notes.append(Note("No scores.csv: no scores on this page.", command))
        return
    rows = _guarded(record, file, lambda: read_cells(file, ("case", "region", "rules"))) or []
    record.scores = [
        Score(row["case"], row["region"], row["rules"], numbers(row)) for row in rows if row["case"] and row["region"]
    ]
    if not record.scores:
        record.notes.append(Note("scores.csv holds no score: no scores on this page.", command))
    unseen, seen = set(record.cases) - record.trained_on, record.trained_on
    if seen and unseen:
        record.notes.append(
            Note(f"{len(seen)} scored cases were used in training; they are left out: {', '.join(sorted(seen))}.")
        )
    elif seen:
        record.notes.append(
            Note("Every scored case was used in training: these scores say nothing about patients not seen before.")
        )


def _read_lesions(record: RunRecord) -> None:
    """lesions.csv is the finer table beside scores.csv; what it lacks is said where it would have been shown."""
    file = Path(record.run.lesions)
    if not file.exists():
        return
    rows = _guarded(record, file, lambda: read_cells(file, ("case", "region", "lesion", "kind"))) or []
    for row in rows:
        values = numbers(row)
        key = row["case"], row["region"], row["lesion"]
        record.lesions.append(LesionRow(*key, row["kind"], row.get("size_class", ""), values))
        if row["kind"] == "found" and "hd95" in values:
            record.found_lesions[key] = values["hd95"]


def _read_froc(record: RunRecord) -> None:
    """froc.csv is there when probabilities were kept; rows without their numbers are left out."""
    file = Path(record.run.froc)
    if not file.exists():
        return
    counts = ("threshold", "lesions_found", "lesions_missed", "lesions_false")
    for row in _guarded(record, file, lambda: read_cells(file, ("case", "region", *counts))) or []:
        values = numbers(row)
        if all(column in values for column in counts):
            record.froc.append(FrocRow(row["case"], row["region"], *(values[column] for column in counts)))


def _json(record: RunRecord, file: Path, consequence: str) -> dict[str, Any]:
    if not file.exists():
        record.notes.append(Note(f"No {file.name}: {consequence}."))
        return {}
    content = _guarded(record, file, lambda: read_json(file))
    return content if isinstance(content, dict) else {}


def _guarded(record: RunRecord, file: Path, read: Callable[[], Any]) -> Any:
    """What `read` returns, or None and a note where the file is cut off or not what it should be."""
    try:
        return read()
    except (OSError, ValueError, KeyError, csv.Error) as error:
        record.notes.append(Note(f"{file.name} cannot be read and is left out: {error}"))
        return None


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
