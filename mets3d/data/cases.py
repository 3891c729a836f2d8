"""Finds the cases of a folder, the patient of each, and the folds of cross-validation.

A data set is DATA/**/CASE/CASE-{t1n,t1c,t2w,t2f}.nii.gz and, where known, CASE-seg.nii.gz (`.nii` is read too).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mets3d.data import DataError
from mets3d.settings import Data

SEQUENCES = ("t1n", "t1c", "t2w", "t2f")  # channel order
LABELS = "seg"
SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mgz", ".mgh", ".img")  # the first one found is read

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Finding:
    """A finding about one case: `what` in short, `detail` with the values found, `advice` on what to do."""

    case: str
    severity: Severity
    what: str
    detail: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.case}: {self.what}: {self.detail}" + (f"; {self.advice}" if self.advice else "")


@dataclass(frozen=True)
class Scan:
    """One image on disk: a file and, where it is 4-D, which of its volumes."""

    path: Path
    volume: int | None = None


@dataclass(frozen=True)
class Case:
    """One time point of one patient: the scans that exist, by sequence.

    label_map: the integers of the reference's file to ours; one that is not named stays as it is.
    """

    name: str
    folder: Path
    sequences: dict[str, Scan]
    labels: Path | None
    patient: str
    label_map: dict[int, int] = field(default_factory=dict)

    @property
    def missing(self) -> tuple[str, ...]:
        """Sequences without a file, in channel order."""
        return tuple(sequence for sequence in SEQUENCES if sequence not in self.sequences)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file of the case: sequences in channel order, then the reference."""
        images = [self.sequences[sequence].path for sequence in SEQUENCES if sequence in self.sequences]
        return tuple(dict.fromkeys(images if self.labels is None else [*images, self.labels]))


class CaseList(list[Case]):
    """Cases sorted by name; `where` counts them per parent folder, `findings` are about the `layout`."""

    def __init__(self, cases: Sequence[Case], where: dict[Path, int], findings: list[Finding], layout: str):
        super().__init__(cases)
        self.where = where
        self.findings = findings
        self.layout = layout


def find_cases(folder: Path, data: Data | None = None) -> CaseList:
    """Finds every case at any depth below `folder` (or `folder` itself, if it is one). `data` None: the defaults.

    A folder is a case if it holds at least one file named like itself, FOLDER-{t1n,t1c,t2w,t2f}.nii.gz or .nii; a
    missing sequence is left to `check`. Files that start with a dot, such as macOS's `._*`, do not exist.
    `findings` names a case that lies in two folders (error; the first folder, alphabetically, is taken), a scan that is
    there twice (warning) and folders with NIfTI files that are no case (warning).

    Raises FileNotFoundError if there is no such folder and DataError, saying what was found, if it holds no case.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected a data set DATA/CASE/CASE-t1n.nii.gz ...")
    found: dict[str, Case] = {}
    findings: list[Finding] = []
    data = data or Data()
    strangers: dict[str, list[Path]] = {}  # NIfTI files by the folder that holds them, which is no case
    for place, names, seen in _walk(folder):
        real = os.path.realpath(place)
        if seen and real not in strangers:
            continue
        case = _case_in(place, names, findings, data)
        if case is None:
            scans = [place / name for name in names if name.endswith(SUFFIXES)]
            if scans and not seen:
                strangers[real] = scans
            continue
        strangers.pop(real, None)  # a link has the name that its folder lacks
        if case.name in found:
            findings.append(_named_twice(case, found[case.name]))
        else:
            found[case.name] = case
    if not found:
        raise DataError(_no_case(folder, [file for files in strangers.values() for file in files]))
    findings += [_not_a_case(files[0].parent, len(files)) for files in strangers.values()]
    cases = sorted(found.values(), key=lambda case: case.name)
    return CaseList(cases, dict(Counter(case.folder.parent for case in cases)), findings, "BraTS-METS")


def patient_of(name: str) -> str:
    """Returns the name without a final hyphen and exactly three digits, the time point; else the whole name."""
    return re.sub(r"-\d{3}\Z", "", name)


def make_folds(names: Sequence[str], folds: int, seed: int) -> list[list[str]]:
    """Returns `folds` lists of case names; all cases of a patient are in one list.

    Patients in the order of a hash of (seed, patient) go, one after the other, to the fold with the fewest cases. So
    the folds depend on the set of names and the seed alone, on no order and no random generator's version.

    Raises ValueError if there are fewer patients than folds.
    """
    patients: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        patients.setdefault(patient_of(name), []).append(name)
    if len(patients) < folds:
        raise ValueError(
            f"expected at least {folds} patients for {folds} folds, found {len(patients)} in {len(set(names))} cases; "
            "lower data.folds or add cases (time points of one patient stay in one fold)"
        )
    filled: list[list[str]] = [[] for _ in range(folds)]
    for patient in sorted(patients, key=lambda patient: hashlib.sha256(f"{seed}:{patient}".encode()).digest()):
        min(filled, key=len).extend(patients[patient])
    return [sorted(fold) for fold in filled]


def split(names: Sequence[str], folds: int, fold: int, seed: int) -> tuple[list[str], list[str]]:
    """Returns (training, validation) case names, sorted: fold number `fold` is held out. Raises as `make_folds`."""
    if not 0 <= fold < folds:
        raise ValueError(f"fold is {fold}, expected 0 to {folds - 1}")
    held_out = make_folds(names, folds, seed)[fold]
    return sorted(set(names) - set(held_out)), held_out


# ---------------------------------------------------------------- finding


def visible_files(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yields every folder with its visible files, alphabetically, links to folders followed once."""
    for place, names, seen in _walk(root):
        if not seen:
            yield place, names


def _walk(root: Path) -> Iterator[tuple[Path, list[str], bool]]:
    """Yields folders with their visible files, and whether the folder was seen before, by another path to it."""
    entered: set[str] = set()
    for place, inner, names in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        seen = real in entered
        entered.add(real)
        inner[:] = [] if seen else sorted(name for name in inner if not name.startswith("."))
        yield Path(place), sorted(name for name in names if not name.startswith(".")), seen


def _case_in(place: Path, names: list[str], findings: list[Finding], data: Data) -> Case | None:
    """Returns the case whose files are named after the folder: by the name it is reached by, else by its real one."""
    for name in _names_of(place):
        case = _case_named(name, place, names, findings, data)
        if case is not None:
            return case
    return None


def _names_of(place: Path) -> list[str]:
    """Returns the names of a folder, each once: a link has its own and that of the folder it leads to."""
    shell = Path(os.environ.get("PWD", ""))  # knows by which link one came to the folder one is in
    here = [shell.name] if place == Path() and shell.is_dir() and shell.samefile(place) else []
    return [name for name in dict.fromkeys([place.name, *here, place.resolve().name]) if name not in ("", "..")]


def _case_named(name: str, place: Path, names: list[str], findings: list[Finding], data: Data) -> Case | None:
    chosen: dict[str, Path] = {}
    for kind in (*SEQUENCES, LABELS):
        files = [f"{name}-{kind}{suffix}" for suffix in SUFFIXES if f"{name}-{kind}{suffix}" in names]
        if files:
            chosen[kind] = place / files[0]
        if len(files) > 1:
            detail = f"{place} holds both {files[0]} and {files[1]}; {files[0]} is read"
            findings.append(Finding(name, "warning", "scan there twice", detail, "remove one of the two"))
    labels = chosen.pop(LABELS, None)
    scans = {sequence: Scan(path) for sequence, path in chosen.items()}
    return Case(name, place, scans, labels, patient_of(name), dict(data.labels or {})) if scans else None


def _named_twice(case: Case, first: Case) -> Finding:
    detail = f"the same name in {first.folder} and {case.folder}"
    return Finding(case.name, "error", "case named twice", detail, "remove or rename one of the two folders")


def _not_a_case(place: Path, count: int) -> Finding:
    expected = f"{place.name}-{{{','.join(SEQUENCES)}}}.nii.gz"
    detail = f"{place} holds {count} NIfTI file{'s' * (count > 1)}, none named {expected}"
    return Finding(place.name, "warning", "folder is not a case", detail, "rename the files if it should be one")


def _no_case(folder: Path, strangers: list[Path]) -> str:
    found = f"{len(strangers)} NIfTI files such as {strangers[0]}" if strangers else "no NIfTI file at any depth"
    return (
        f"{folder}: expected at least one case CASE/CASE-{{{','.join(SEQUENCES)}}}.nii.gz, found {found}; "
        "name the folder that holds the cases, or rename the files after their folder"
    )
