"""Decides by which settings a case is decoded: those of a patient that the tuning knew were chosen without the patient.

So scores of held-out cases on which the settings were tuned are out-of-fold, and a new case gets the settings that were
chosen on all of them. Cases are recognised by their patient, so that a later time point counts as known, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mets3d.data.patients import patient_of, patients_of
from mets3d.files import COUNT, NAMES, OBJECT, OBJECTS, TEXT, Kind, read_object
from mets3d.inference.decoding_settings import Decoding, RegionDecoding, decoding_for, read_decoding, settings_of
from mets3d.regions import Target
from mets3d.rundir import DEFAULT_DECODING, PERHAPS_TUNED_ON, RunDir
from mets3d.settings import Data, Predict

# How a case was decoded, as its record and scores.csv say it.
BY_FILE = "file"  # settings that a person wrote
NEW = "tuned (new case)"
OUT_OF_FOLD = "tuned out-of-fold"
ON_THIS_CASE = "tuned on this case"
FORCED = "forced: "  # before those of a tuning that cross-validation does not support

CASES = Kind("a list of names, or their number", lambda value: NAMES.fits(value) or COUNT.fits(value))
FOLD = {"patients": NAMES, "regions": OBJECT}


@dataclass(frozen=True)
class Fold:
    """Some of the tuning's patients, and the settings that were chosen on the others."""

    patients: frozenset[str]
    decoding: Decoding


@dataclass(frozen=True)
class CaseDecoding:
    """The settings of one case, and how they came about in the words above."""

    decoding: Decoding
    how: str


@dataclass(frozen=True)
class DecodingPlan:
    """The settings of new cases, and what is known of the tuning that chose them.

    how: of new cases. folds: none where the file has none. patients: the patient of every case that is known by name.
    pattern: `data.patients` of the run, for the others. tuned_on: patients of the tuning, None where it does not say.
    rules: the rule set of the tuning, empty without one. forced: regions written against cross-validation.
    """

    new: Decoding
    how: str = DEFAULT_DECODING
    folds: Sequence[Fold] = ()
    patients: Mapping[str, str] = field(default_factory=dict)
    pattern: str | None = None
    tuned_on: frozenset[str] | None = None
    rules: str = ""
    objective: str = ""
    forced: Sequence[str] = ()

    @property
    def tuned(self) -> bool:
        """Whether `mets3d tune` chose the settings."""
        return self.how == NEW

    def of(self, case: str | None, patient: str | None = None) -> CaseDecoding:
        """Returns the settings of a case, by its name and, where that is not known here, its patient.

        Without both a tuned decoding is that of new cases, and said to be perhaps tuned on this one.
        """
        if not self.tuned:
            return CaseDecoding(self.new, self.how)
        whose = self._patient(case, patient)
        for fold in self.folds:
            if whose in fold.patients:
                return CaseDecoding(fold.decoding, self._said(OUT_OF_FOLD))
        if self.tuned_on is None or whose is None:
            return CaseDecoding(self.new, self._said(PERHAPS_TUNED_ON))
        return CaseDecoding(self.new, self._said(ON_THIS_CASE if whose in self.tuned_on else NEW))

    def recipe(self) -> dict[str, Any]:
        """Returns all that decides a case's label map and what is said of it, but the settings of new cases."""
        if not self.tuned:
            return {}
        folds = [{"patients": sorted(fold.patients), "regions": settings_of(fold.decoding)} for fold in self.folds]
        about = {"rules": self.rules, "objective": self.objective, "forced": list(self.forced)}
        return {"tuning": {**about, "folds": folds, "patients": sorted(self.tuned_on or ()), "of": dict(self.patients)}}

    def _patient(self, case: str | None, patient: str | None) -> str | None:
        if case is None:
            return patient
        if case in self.patients:
            return self.patients[case]
        if self.pattern is not None:
            with suppress(OSError, ValueError):  # the file or pattern is about the training's own cases
                return patients_of([case], self.pattern)[case]
        return patient or patient_of(case)

    def _said(self, how: str) -> str:
        return f"{FORCED if self.forced else ''}{how}"


def decoding_plan(
    target: Target, predict: Predict, file: Path | None, runs: Sequence[RunDir] = (), data: Data | None = None
) -> DecodingPlan:
    """Reads how cases are decoded from a file, None for the default: one threshold, `predict.threshold`.

    runs: those that predict; their split.json knows the patients of their cases, as `data` says of others.

    Raises ValueError as `decoding_for`, and for folds or names of another form, naming the key.
    """
    new = decoding_for(target, predict, file)
    if file is None:
        usual = predict.threshold == RegionDecoding.threshold
        return DecodingPlan(new, DEFAULT_DECODING if usual else f"threshold {predict.threshold:g}")
    may = {"cases": CASES, "patients": OBJECT, "folds": OBJECTS, "forced": NAMES, "rules": TEXT, "objective": TEXT}
    content = read_object(file, may=may)
    if "objective" not in content:
        return DecodingPlan(new, BY_FILE)
    of_case = _patients_of_splits(runs) | content.get("patients", {})
    cases = content.get("cases")
    known = None if not isinstance(cases, list) else frozenset(of_case.get(case) or patient_of(case) for case in cases)
    return DecodingPlan(
        new,
        NEW,
        _folds(file, content.get("folds", []), target, predict),
        of_case,
        None if data is None or data.patients is None else str(data.patients),
        known,
        content.get("rules", ""),
        content["objective"],
        tuple(content.get("forced", ())),
    )


def _folds(file: Path, content: Sequence[Mapping[str, Any]], target: Target, predict: Predict) -> list[Fold]:
    default = RegionDecoding(threshold=predict.threshold)
    folds = []
    for number, fold in enumerate(content):
        for key, kind in FOLD.items():
            if not kind.fits(fold.get(key)):
                raise ValueError(f"{file}: folds[{number}].{key}: expected {kind.words}, found {fold.get(key)!r}")
        decoding = read_decoding(file, target, default, given=fold["regions"], where=f"folds[{number}].")
        folds.append(Fold(frozenset(fold["patients"]), decoding))
    return folds


def _patients_of_splits(runs: Sequence[RunDir]) -> dict[str, str]:
    """Returns the patient of every case of the runs, as they recorded it; the first run that names a case counts."""
    found: dict[str, Any] = {}
    for run in reversed(runs):
        if run.split.is_file():
            found |= read_object(run.split, may={"patients": OBJECT}).get("patients", {})
    return {case: patient for case, patient in found.items() if isinstance(patient, str)}
