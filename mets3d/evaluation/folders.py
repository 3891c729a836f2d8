"""Finds the prediction and the reference of each case in two folders.

A folder is flat, FOLDER/CASE.nii.gz or FOLDER/CASE-seg.nii.gz, or a data set with CASE-seg.nii.gz at any depth; `.nii`
is read too. References may be those of a data set of any layout that `mets3d.data.layouts` knows. Predictions may have
the names of a submission, which end as those of their references (`case_names`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from mets3d.data import DataError
from mets3d.data.cases import LABELS, SEQUENCES, SUFFIXES, Case, CaseList, excluded_cases, find_cases, visible_files
from mets3d.data.patients import patient_of
from mets3d.evaluation.case_names import matched_by_ending, refuse_other_names
from mets3d.evaluation.swapped_folders import refuse_swapped
from mets3d.files import OBJECT, read_json, read_object
from mets3d.regions import IllegalLabels
from mets3d.rundir import PREDICTION_NOTE, runs_of_predictions
from mets3d.wording import counted


@dataclass(frozen=True)
class References:
    """A folder of references: how the cases of a data set are found in it, and whose they are.

    find: `find_cases`, with the settings by which labels, corrected references and cases to leave out are known.
    patients: as the setting data.patients; None: see `recorded_patients`. labels: as data.labels, for the files of a
    flat folder; cases of a data set have a map of their own. illegal_labels: as data.illegal_labels.
    """

    folder: Path
    find: Callable[[Path], CaseList] = find_cases
    patients: str | None = None
    labels: Mapping[int, int] = field(default_factory=dict)
    illegal_labels: IllegalLabels = "error"


@dataclass(frozen=True)
class FilePair:
    """The two label maps of a case."""

    case: str  # as the reference names it
    prediction: Path
    reference: Path
    predicted_as: str  # the case by the name of the prediction


@dataclass(frozen=True)
class Pairs:
    """Cases with both files; references without a prediction, by case; problems and remarks, a line each."""

    pairs: Sequence[FilePair]
    unpredicted: Mapping[str, Path]
    problems: Sequence[str]
    expected: Sequence[str]  # cases with a reference, those that were not asked for too
    label_maps: Mapping[str, Mapping[int, int]]  # by case, the integers of its reference's file to our labels
    remarks: Sequence[str] = ()


def file_pairs(predictions: Path, references: References) -> Pairs:
    """Pairs up the label maps of two folders by case name, or by the ending NNNNN-TTT where the names differ.

    A prediction is missing where a reference has none, unless `predict` noted that it was to predict other cases only.
    Raises FileNotFoundError or DataError (a ValueError) for a folder that does not exist or holds no label map, for
    folders in the wrong order, and for files most of which have no partner because they are named otherwise.
    """
    refuse_swapped(predictions, references.folder)
    wanted, failed, problems = _noted_cases(predictions)
    predicted = _label_files(predictions, "predictions", needed=not wanted)
    for case in sorted(failed & predicted.keys()):
        problems.append(
            f"{case}: by {predictions / PREDICTION_NOTE} its prediction failed; {predicted.pop(case)[0]} is older"
        )
    expected, label_maps = _reference_files(references)
    names = matched_by_ending({*predicted, *(wanted or ())}, expected)
    own_names = {case: name for name, case in names.by_ending.items()}
    predicted = {names.by_ending.get(name, name): files for name, files in predicted.items()}
    wanted = wanted and {names.by_ending.get(name, name) for name in wanted}
    problems += names.problems
    pairs, missing = [], {}
    for case in sorted({*predicted, *expected}):
        if case in names.unclear or (case not in predicted and wanted is not None and case not in wanted):
            continue
        problem = _no_pair(case, predicted.get(case, []), expected.get(case, []), references.folder)
        if problem:
            problems.append(problem)
        elif case in predicted:
            pairs.append(FilePair(case, predicted[case][0], expected[case][0], own_names.get(case, case)))
        else:
            missing[case] = expected[case][0]
    counted_on = [*missing, *(pair.case for pair in pairs)] if pairs else [*expected]
    alone = [
        own.keys() - set(other) - set(names.unclear) for own, other in ((predicted, expected), (expected, predicted))
    ]
    refuse_other_names(
        (predictions, references.folder),
        (predicted, counted_on),
        (
            [predicted[case][0] for case in sorted(alone[0])],
            [expected[case][0] for case in sorted(alone[1] & set(counted_on))],
        ),
    )
    return Pairs(pairs, missing, problems, sorted(expected), label_maps, _remarks(names.by_ending))


def _remarks(by_ending: Mapping[str, str]) -> list[str]:
    """Says how many predictions were matched by the ending of their names."""
    if not by_ending:
        return []
    name, case = next(iter(by_ending.items()))
    return [f"{counted(len(by_ending), 'prediction')} matched by the ending NNNNN-TTT, such as {name} with {case}"]


def recorded_patients(predictions: Path, references: References, cases: Sequence[str]) -> dict[str, str]:
    """Returns case -> patient: by the run that predicted, else by the data set of the references, else by the name.

    The run is the one whose folder holds the predictions, or that the note beside them names; it knows its own cases.
    """
    known = {}
    with suppress(OSError, DataError):  # a flat folder is no data set
        known = {case.name: case.patient for case in references.find(references.folder)}
    known |= _patients_of_run(predictions)
    return {case: known.get(case) or patient_of(case) for case in cases}


def _patients_of_run(predictions: Path) -> dict[str, str]:
    """Returns case -> patient of the cases that the run was trained and validated on; none where that is not known."""
    split = next((run.split for run in runs_of_predictions(predictions) if run.split.is_file()), None)
    if split is None:
        return {}
    try:
        return dict(read_object(split, may={"patients": OBJECT}).get("patients", {}))
    except ValueError:
        return {}


def _noted_cases(predictions: Path) -> tuple[set[str] | None, set[str], list[str]]:
    """Returns the cases that were to be predicted, those that failed, and problems with the note that `predict` left.

    Without a note, None and no failures.
    """
    note = predictions / PREDICTION_NOTE
    if not note.is_file():
        return None, set(), []
    broken = f"{note}: cannot be read as what `mets3d predict` writes; every reference counts as asked for"
    try:
        content = read_json(note)
        failed = [*content.get("failures", ())]
        names = [*content.get("asked", ()), *content.get("cases", ()), *failed]
    except (OSError, ValueError, AttributeError, TypeError):
        return None, set(), [broken]
    if not all(isinstance(name, str) for name in names):
        return None, set(), [broken]
    return set(names) or None, set(failed), []


def _reference_files(references: References) -> tuple[dict[str, list[Path]], dict[str, Mapping[int, int]]]:
    """Returns the references in a folder by case name, and the label maps that the folder's layout has.

    Of a data set they are those that training reads: a file that lies apart from its case is none, nor that of a
    case that is left out.
    """
    known: dict[str, Case] = {}
    excluded: set[str] = set()
    folder = references.folder
    if folder.name in ("labelsTr", "labelsTs") and (folder.parent / "dataset.json").is_file():
        raise DataError(
            f"{folder}: what its labels mean is in {folder.parent / 'dataset.json'}; expected the folder of the data "
            f"set, {folder.parent}"
        )
    if folder.is_dir():
        with _flat_allowed(references):
            cases = references.find(folder)
            doubled = {finding.case for finding in cases.findings if finding.severity == "error"}
            excluded = excluded_cases(cases)
            known = {case.name: case for case in cases if case.labels is not None and case.name not in doubled}
    found = _label_files(folder, "references", needed=not known)
    found |= {name: [case.labels] for name, case in known.items() if case.labels is not None}
    found = {name: files for name, files in found.items() if name not in excluded}
    return found, {name: known[name].label_map if name in known else references.labels for name in found}


@contextmanager
def _flat_allowed(references: References) -> Iterator[None]:
    """Suppresses that a folder is no data set where it need not be one: without settings, or where it is flat."""
    try:
        yield
    except DataError:
        flat = any(_case_of(file.name, flat=True) for file in references.folder.iterdir() if file.is_file())
        if references.find is not find_cases and not flat:
            raise


def _label_files(folder: Path, role: str, *, needed: bool = True) -> dict[str, list[Path]]:
    """Returns the label maps in a folder by case name, more than one path where a case is there twice.

    needed: a folder without any is refused.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of {role}; expected label maps CASE.nii.gz or a data set")
    found: dict[str, list[Path]] = {}
    for place, names in visible_files(folder):
        for name in names:
            case = _case_of(name, flat=place == folder)
            if case:
                found.setdefault(case, []).append(place / name)
    if needed and not found:
        raise DataError(
            f"{folder}: expected {role} as CASE.nii.gz or CASE-{LABELS}.nii.gz in it, or as a data set "
            f"CASE/CASE-{LABELS}.nii.gz, found no label map; name the folder that holds them"
        )
    return found


def _case_of(name: str, flat: bool) -> str | None:
    """Returns the case whose label map a file is by its name, None if it is something else."""
    stem = next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), "")
    if stem.endswith(f"-{LABELS}"):
        return stem.removesuffix(f"-{LABELS}")
    return stem if flat and not stem.endswith(tuple(f"-{sequence}" for sequence in SEQUENCES)) else None


def _no_pair(case: str, predicted: list[Path], expected: list[Path], references: Path) -> str | None:
    for role, files in (("predictions", predicted), ("references", expected)):
        if len(files) > 1:
            return f"{case}: twice among the {role}: {', '.join(map(str, files))}; not scored, keep one of them"
    if predicted and not expected:
        return f"{case}: {references} holds no reference {case}-{LABELS}.nii.gz for {predicted[0]}; not scored"
    return None
