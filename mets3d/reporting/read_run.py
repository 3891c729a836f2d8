"""Reads run directories into records; a piece that is missing or broken becomes a note and no error."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mets3d.evaluation.decoded import recorded_decodings
from mets3d.evaluation.scores import KEYS, PATIENT, TEXTS
from mets3d.evaluation.tables import Row
from mets3d.files import read_json
from mets3d.reporting.run_record import Note, RunRecord
from mets3d.reporting.run_state import state_of
from mets3d.rundir import DECODED_BY, PREDICTION_NOTE, TUNED_BY, open_run
from mets3d.statistics.decodings import decoding_remarks
from mets3d.statistics.edited_table import signs_of_a_spreadsheet
from mets3d.statistics.score_table import numbers, read_cells, score_cells
from mets3d.statistics.table_gaps import of_known_regions, table_gaps
from mets3d.wording import agreed, counted

# Of the records of a run: what the page does more with than write it.
TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("training", "validation"), list),
    **dict.fromkeys(("patients", "per_case"), dict),
    **dict.fromkeys(("parameters", "processes", "validation_dice", "seconds"), (int, float)),
    "data": str,
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
    """Reads run directories; runs whose folders have the same name are labelled by their whole path."""
    records = [read_run(path) for path in paths]
    names = [record.label for record in records]
    for record in records:
        if names.count(record.label) > 1:
            record.label = str(record.run.path)
    return records


def evaluate_command(record: RunRecord) -> str:
    """Returns the command that scores a run's predictions."""
    return f"mets3d evaluate {shlex.quote(str(record.run.path))} REFERENCES"


# ---------------------------------------------------------------- training


def _read_training(record: RunRecord) -> None:
    run = record.run
    if run.plan.exists():
        plan = _json(record, run.plan, "how the data were prepared is unknown")
        record.imported_from = str(plan.get("imported_from") or "")
    if record.imported_from:
        record.notes.append(Note("The weights were imported: how they were trained is not known here."))
        return
    record.state = state_of(run)
    record.environment = _json(record, run.environment, "hardware, time and command are unknown")
    record.split = _json(record, run.split, "which cases were held out is unknown, so all scored cases are taken")
    record.baseline = _json(record, run.baseline, "no comparison with a threshold on one sequence")
    rows = _guarded(record, run.metrics, run.read_metrics) or []
    record.training, record.validation = (_of_kind(rows, kind) for kind in ("train", "validation"))
    record.notes += _training_notes(record)


def _of_kind(rows: Sequence[Row], kind: str) -> list[Row]:
    """Returns the rows of a kind by step, of each what is a number: a damaged line may hold anything."""
    own = [row for row in rows if row.get("kind") == kind]
    sound = [{key: value for key, value in row.items() if type(value) in (int, float)} | {"kind": kind} for row in own]
    return sorted(sound, key=lambda row: row["step"])


def _training_notes(record: RunRecord) -> list[Note]:
    steps, log = record.config.train.steps, record.run.metrics.name
    if not record.training:
        return [Note(f"No training steps in {log}: no training curves.")]
    notes = []
    if (last := record.training[-1]["step"]) < steps:
        ended = record.environment.get("exit_code") == 0 and record.config.validate_.patience is not None
        done = f"{last:,} of {counted(steps, 'step')}"
        early = f"Training ended early: {done}, then validations found no better score."
        there = f"Training has not reached its end: {done} {agreed(last, 'is', 'are')} logged."
        if record.state == "training":
            there = f"This run is in the middle of its training: {done} {agreed(last, 'is', 'are')} logged."
        notes.append(Note(early if ended else there, weighty=True))
    if not record.validation:
        notes.append(Note(f"No validation in {log}: no validation curve."))
    skipped = max(row.get("skipped") or 0 for row in record.training)  # the log counts them up
    if skipped:
        notes.append(
            Note(f"{counted(int(skipped), 'training step')} skipped because the loss was not finite.", weighty=True)
        )
    return notes


# ---------------------------------------------------------------- predictions and tables


def _read_predictions(record: RunRecord) -> None:
    folder = Path(record.run.predictions)
    files = sorted(file for file in folder.glob("*.nii*") if not file.name.startswith("."))
    record.predictions = {file.name.removesuffix(".gz").removesuffix(".nii"): file for file in files}
    if not files:
        held_out = " --held-out" if record.split else ""
        command = f"mets3d predict {shlex.quote(str(record.run.path))} DATA{held_out}"
        record.notes.append(Note("No predictions are saved, so there are no pictures of cases.", command))
        return
    note = _json(record, folder / PREDICTION_NOTE, "the scans that were predicted are unknown, so there are no slices")
    record.predicted = note
    if "data" in note:
        record.data = Path(note["data"])
        if not record.data.is_dir():
            record.notes.append(Note(f"The scans that were predicted, which slices need, are not at {record.data}."))
            record.data = None


def _read_scores(record: RunRecord) -> None:
    file = Path(record.run.scores)
    if not file.exists():
        record.notes.append(Note(f"No {file.name}: no scores on this page.", evaluate_command(record)))
        return
    before = len(record.notes)
    cells = _of_known_regions(record, _cells(record, file, score_cells))
    record.scores = [_with_patient(record, row, KEYS) for row in cells]
    if not record.scores and len(record.notes) == before:
        record.notes.append(Note(f"{file.name} holds no score: no scores on this page.", evaluate_command(record)))
    _check_rules(record)
    for gap in table_gaps(record.scores, cells[0] if cells else (), record.split.get("validation", ())):
        record.notes.append(Note(f"{file.name}: {gap}.", evaluate_command(record), weighty=True))
    _check_cases(record)
    _check_decoding(record)
    seen, unseen = record.trained_on, set(record.cases) - record.trained_on
    if seen and unseen:
        left_out = (
            f"{counted(len(seen), 'scored case')} {agreed(len(seen), 'was', 'were')} used in "
            f"training and left out: {', '.join(sorted(seen))}."
        )
        record.notes.append(Note(left_out, weighty=True))
    elif seen:
        every = "Every scored case was used in training: these scores say nothing about patients not seen before."
        record.notes.append(Note(every, weighty=True))


def _of_known_regions(record: RunRecord, cells: list[dict[str, str]]) -> list[dict[str, str]]:
    """Leaves out rows of regions that are none of ours, with a note."""
    known, left_out = of_known_regions(cells)
    if left_out:
        record.notes.append(Note(f"{record.run.scores.name}: {left_out}.", evaluate_command(record), weighty=True))
    return known


def _check_cases(record: RunRecord) -> None:
    """Notes scored cases that are none of the data set which the run was trained and validated on."""
    known = {case for side in ("training", "validation") for case in record.split.get(side, ())}
    strange = [case for case in record.cases if case not in known]
    if known and strange:
        text = (
            f"{len(strange)} of {counted(len(record.cases), 'case')} in {record.run.scores.name}, "
            f"such as {strange[0]}, {agreed(len(strange), 'is', 'are')} not of the data that the run was "
            "split on: scores of another data set, taken as not seen before."
        )
        record.notes.append(Note(text, weighty=True))


def _check_rules(record: RunRecord) -> None:
    """Leaves out scores of several rule sets, whose means say nothing, and notes scores by others than the run's."""
    rules, name, own = sorted({row["rules"] for row in record.scores}), record.run.scores.name, record.config.validate_
    if len(rules) > 1:
        record.scores = []
        text = f"{name} holds scores by several rule sets ({', '.join(rules)}): no scores on this page."
        record.notes.append(Note(text, evaluate_command(record), weighty=True))
    elif rules and rules != [own.rules]:
        text = f"{name} is scored by {rules[0]}; the rule set of the run (validate.rules) is {own.rules}."
        record.notes.append(Note(text, evaluate_command(record), weighty=True))


def _check_decoding(record: RunRecord) -> None:
    """Notes what to know of the decoding of the scored cases, and scores of other label maps than are there now."""
    record.notes += [
        Note(f"{remark[0].upper()}{remark[1:]}.", weighty=True) for remark in decoding_remarks(record.scores)
    ]
    now = recorded_decodings(Path(record.run.predictions), record.cases)
    of_scores = {row["case"]: row[DECODED_BY] for row in record.scores if DECODED_BY in row}
    other = [case for case, how in of_scores.items() if now.get(case, {}).get(DECODED_BY, how) != how]
    if other:
        text = (
            f"{record.run.scores.name} has the scores of {counted(len(other), 'case')} decoded as "
            f"{of_scores[other[0]]}, and the label maps that are there now are {now[other[0]][DECODED_BY]}."
        )
        record.notes.append(Note(text, evaluate_command(record), weighty=True))


def _by_the_rules(record: RunRecord, file: Path, rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Leaves out rows by another rule set than the scores', as of a table that another evaluation wrote."""
    kept = [row for row in rows if row.get("rules") in (None, "", record.rules)]
    if record.rules and len(kept) < len(rows):
        others = ", ".join(sorted({row["rules"] for row in rows if row.get("rules")} - {record.rules}))
        text = f"{file.name} is by {others} and {record.run.scores.name} by {record.rules}: its rows are left out."
        record.notes.append(Note(text, evaluate_command(record), weighty=True))
    return kept


def _read_lesions(record: RunRecord) -> None:
    """Reads the lesions of scored cases; columns that are missing are noted where they would have been shown."""
    file = Path(record.run.lesions)
    texts = ("case", "region", "lesion", "kind")
    if not file.exists():
        return
    rules = {(row["case"], row["region"]): row["rules"] for row in record.scores}
    record.lesions = [
        _row(row, texts) | {"size_class": row.get("size_class", ""), "rules": rules[row["case"], row["region"]]}
        for row in _by_the_rules(record, file, _cells(record, file, partial(read_cells, needed=texts)))
        if (row["case"], row["region"]) in rules
    ]


def _read_froc(record: RunRecord) -> None:
    """Reads froc.csv, which is there when probabilities were kept; rows without their numbers are left out."""
    file = Path(record.run.froc)
    counts = ("threshold", "lesions_found", "lesions_missed", "lesions_false")
    if not file.exists():
        return
    patients = record.patients
    read = partial(read_cells, needed=("case", "region", *counts))
    rows = [
        _row(row, ("case", "region")) | {PATIENT: patients.get(row["case"])}
        for row in _by_the_rules(record, file, _cells(record, file, read))
    ]
    record.froc = [row for row in rows if all(column in row for column in counts)]


def _row(cells: dict[str, str], texts: Sequence[str]) -> Row:
    """Returns the finite numbers of a row by column, and the columns `texts` as text."""
    return {**numbers(cells), **{column: cells[column] for column in texts}}


def _with_patient(record: RunRecord, cells: dict[str, str], texts: Sequence[str]) -> Row:
    """Returns a row of scores with the patient of its case: by the table, else by the run's split, else none."""
    row = _row({column: cell for column, cell in cells.items() if column not in TEXTS}, texts)
    row |= {column: cells[column] for column in (DECODED_BY, TUNED_BY) if cells.get(column)}
    patients = record.split.get("patients")
    recorded = patients.get(cells["case"]) if isinstance(patients, dict) else None
    patient = cells.get(PATIENT) or recorded
    return row | {PATIENT: patient} if patient else row


def _cells(record: RunRecord, file: Path, read: Callable[[Path], list[dict[str, str]]]) -> list[dict[str, str]]:
    cells: list[dict[str, str]] = _guarded(record, file, lambda: read(file)) or []
    if cells and (sign := signs_of_a_spreadsheet(file)):
        record.notes.append(Note(f"{file.name} was saved by a spreadsheet: {sign}.", weighty=True))
    return cells


# ---------------------------------------------------------------- files that may be broken


def _json(record: RunRecord, file: Path, consequence: str) -> dict[str, Any]:
    """Returns the object in a file; of the values that the page reads, those of another type are left out with a note.

    A file that is not there is a note, with its consequence.
    """
    if not file.exists():
        record.notes.append(Note(f"No {file.name}: {consequence}."))
        return {}
    content = _guarded(record, file, lambda: read_json(file))
    if content is None:
        return {}
    if not isinstance(content, dict):
        record.notes.append(Note(f"{file.name} is left out: expected an object, found {type(content).__name__}."))
        return {}
    wrong = [key for key in TYPES if content.get(key) is not None and not _fits(key, content[key])]
    if wrong:
        record.notes.append(Note(f"{file.name}: {', '.join(wrong)} cannot be read and is left out."))
    return {
        key: value for key, value in content.items() if key not in wrong and (value is not None or key not in TYPES)
    }


def _fits(key: str, value: Any) -> bool:
    """Returns whether a value of a record is of its type; cases and patients are names, scores of cases numbers."""
    of_patients = value.values() if key == "patients" and isinstance(value, dict) else ()
    names = value if isinstance(value, list) else of_patients
    numbers = value.values() if key == "per_case" and isinstance(value, dict) else ()
    return (
        isinstance(value, TYPES[key])
        and all(isinstance(name, str) for name in names)
        and all(isinstance(number, int | float | None) for number in numbers)
    )


def _guarded(record: RunRecord, file: Path, read: Callable[[], Any]) -> Any:
    """Returns the result of `read`, or None and a note where the file is cut off or not as expected."""
    try:
        return read()
    except (OSError, ValueError, KeyError, csv.Error) as error:
        record.notes.append(Note(f"{file.name} cannot be read and is left out: {error}"))
        return None
