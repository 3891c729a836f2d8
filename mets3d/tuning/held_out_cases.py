"""Finds the held-out cases of a run and refuses predictions that must not be tuned on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mets3d.data.cases import find_cases
from mets3d.files import NAMES, OBJECT, OBJECTS, TEXT, read_object, sha256_of
from mets3d.inference.decoding_settings import WEIGHTS
from mets3d.inference.outputs import recipe_of
from mets3d.regions import IllegalLabels
from mets3d.rundir import PredictionsDir, RunDir, mapped_cases
from mets3d.settings import Data
from mets3d.wording import counted


@dataclass(frozen=True)
class HeldOutCase:
    """A case that the run was not trained on: its predicted probabilities and its reference."""

    name: str
    probabilities: Path
    reference: Path
    patient: str
    label_map: Mapping[int, int]  # the integers of the reference's file to our labels
    illegal_labels: IllegalLabels = "error"  # as data.illegal_labels


def held_out_cases(run: RunDir, data: Path, settings: Data) -> tuple[list[HeldOutCase], str | None]:
    """Finds all held-out cases of a run, and the sha256 of the weights that predicted them, None where it is unknown.

    settings: how the run's data was read.

    Raises FileNotFoundError or ValueError naming the cases if probabilities are missing, were made of training data or
    by other weights, or a case has no reference.
    """
    split = read_object(run.split, {"training": NAMES, "validation": NAMES}, {"patients": OBJECT})
    names = sorted(split["validation"])
    predictions = PredictionsDir(run.predictions)
    again = f"run `mets3d predict {run.path} {data} --held-out --probabilities`"
    _check_probabilities(predictions, set(split["training"]), names, again)
    weights = _weights(run, names, again)
    found_cases = {case.name: case for case in find_cases(data, settings)}
    references = {name: case.labels for name, case in found_cases.items()}
    unknown = [name for name in names if references.get(name) is None]
    if unknown:
        raise FileNotFoundError(
            f"{data} lacks the reference CASE-seg.nii.gz of {counted(len(unknown), 'held-out case')}: "
            f"{_some(unknown)}; "
            "name the data set that the run was trained on"
        )
    patients = {name: found_cases[name].patient for name in names} | split.get("patients", {})
    found = [(name, predictions.probability_map(name), references[name]) for name in names]
    return [
        HeldOutCase(name, ours, theirs, patients[name], found_cases[name].label_map, settings.illegal_labels)
        for name, ours, theirs in found
        if theirs is not None
    ], weights


def _check_probabilities(predictions: PredictionsDir, training: set[str], names: Sequence[str], again: str) -> None:
    """Raises an error for probabilities of training cases, and for missing ones of held-out cases."""
    folder = predictions.probabilities
    there = mapped_cases(folder)
    trained_on = sorted(there & training)
    if trained_on:
        raise ValueError(
            f"{folder} holds probabilities of {counted(len(trained_on), 'case')} that the run was trained on, which "
            f"say nothing "
            f"about new ones: {_some(trained_on)}; remove {predictions.path} and {again}"
        )
    missing = sorted(set(names) - there)
    if missing:
        raise FileNotFoundError(
            f"{folder} lacks the probabilities of {counted(len(missing), 'held-out case')}: {_some(missing)}; {again}"
        )


def _weights(run: RunDir, names: Sequence[str], again: str) -> str | None:
    """Returns the sha256 of the weights that made the predictions, by the run or predict.json; None if neither has it.

    Raises ValueError if predict.json is broken, or names other weights than the run's, several runs, or another recipe
    than a case's record.
    """
    predictions = PredictionsDir(run.predictions)
    may = {WEIGHTS: TEXT, "members": OBJECTS, "recipe": TEXT}
    note = read_object(predictions.note, may=may, advice=again) if predictions.note.exists() else {}
    if len(note.get("members", [])) > 1:
        raise ValueError(
            f"{predictions.note}: an average of {len(note['members'])} runs, expected this run alone; {again}"
        )
    recipe = note.get("recipe")
    otherwise = [name for name in names if recipe and recipe_of(predictions, name) not in (None, recipe)]
    if otherwise:
        raise ValueError(
            f"{predictions.path}: probabilities of {counted(len(otherwise), 'held-out case')} were made with other "
            f"settings than "
            f"`{predictions.note.name}` records; a later prediction did not reach them: {_some(otherwise)}; {again}"
        )
    made_by: str | None = note.get(WEIGHTS)
    if not run.weights.exists():
        return made_by
    own = sha256_of(run.weights)
    if made_by not in (None, own):
        raise ValueError(
            f"{predictions.note}: made by other weights than {run.weights}, most likely older ones; {again}"
        )
    return own


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
