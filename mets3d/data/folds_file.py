"""Reads the file of `data.split`: nnU-Net's splits_final.json, one of its entries, or a list of held-out cases."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from mets3d.data import DataError
from mets3d.files import NAMES, parse_json
from mets3d.wording import counted

Entry = dict[str, list[str]]  # of splits_final.json: the cases to train on and those held out
Named = dict[str, list[tuple[str, str]]]  # side -> where in the file, and the name that stands there

TRAIN, VAL = "train", "val"
_FAULTS_SHOWN = 10
_FORMS = (
    'a list of {"train": [...], "val": [...]} as in splits_final.json, one of these alone, or text with the name of a '
    "held-out case a line"
)


def read_split(
    file: Path, patients: Mapping[str, str], also_known: Collection[str] = ()
) -> tuple[list[Entry], list[str]]:
    """Reads a split of the cases of `patients`, a mapping of case to patient. Returns its entries, and remarks.

    A list of held-out cases is one entry that trains on all others; after a comma, and after a #, a line may hold
    remarks. `also_known` are cases of the data set that the store lacks: an entry may name them, and does no longer
    when it is returned.

    Raises FileNotFoundError if there is no such file, and DataError for another form, and with all of these, each with
    its line or entry: names that are no case or stand twice, patients on both sides, nothing to train on.
    """
    named = list(_named(file, patients))
    faults, entries, absent = [], [], set()
    for where, sides in named:
        entry = {side: sorted({name for _, name in sides[side]} & patients.keys()) for side in (TRAIN, VAL)}
        here = _faults_of_names(sides, {*patients, *also_known}) or _faults_of_sides(where, entry, patients)
        faults += here
        entries.append(entry)
        absent |= {name for side in sides.values() for _, name in side} - patients.keys()
    if faults:
        more = [f"and {len(faults) - _FAULTS_SHOWN} more"] if len(faults) > _FAULTS_SHOWN else []
        raise DataError("\n  ".join([f"{file}: data.split does not fit:", *faults[:_FAULTS_SHOWN], *more]))
    shown = ", ".join(sorted(absent)[:4]) + (", ..." if len(absent) > 4 else "")
    return entries, [
        f"{file} names {counted(len(absent), 'case')} that the store has left out: {shown}"
    ] if absent else []


def _faults_of_names(sides: Named, known: Collection[str]) -> list[str]:
    faults = []
    first: dict[str, str] = {}
    for side in (TRAIN, VAL):
        for where, name in sides[side]:
            if name not in known:
                faults.append(f"{where}: {name or 'an empty name'} is no case of the store")
            elif name in first:
                faults.append(f"{where}: {name} for the second time, after {first[name]}")
            first.setdefault(name, where)
    return faults


def _faults_of_sides(where: str, entry: Entry, patients: Mapping[str, str]) -> list[str]:
    if not entry[TRAIN]:
        return [f"{where}: no case to train on"]
    trained = {patients[name]: name for name in reversed(entry[TRAIN])}
    crossing = {patients[name]: name for name in reversed(entry[VAL]) if patients[name] in trained}
    return [
        f"{where}: patient {patient} is on both sides: {trained[patient]} is trained on, {crossing[patient]} held out; "
        "put all time points of a patient on one side, or correct data.patients"
        for patient in sorted(crossing)
    ]


# ---------------------------------------------------------------- the two forms


def _named(file: Path, cases: Collection[str]) -> Iterator[tuple[str, Named]]:
    """Yields where each entry stands, and its names. Raises DataError for another form."""
    if not file.is_file():
        raise FileNotFoundError(f"data.split: {file}: no such file; expected {_FORMS}")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{file}: data.split: expected {_FORMS}; found no text") from None
    if text.lstrip()[:1] in ("[", "{"):
        yield from _of_json(file, text)
    else:
        yield _of_list(file, text, cases)


def _of_json(file: Path, text: str) -> Iterator[tuple[str, Named]]:
    try:
        content = parse_json(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{file}: data.split: begins like JSON and is none: {error}") from None
    entries = [content] if isinstance(content, dict) else content
    if not entries:
        raise DataError(f"{file}: data.split: expected {_FORMS}; found an empty list")
    for number, entry in enumerate(entries):
        where = f"entry {number}"
        if not _is_entry(entry):
            raise DataError(
                f"{file}: data.split: {where}: expected two lists of names, train and val; found {entry!r:.80}"
            )
        yield where, {side: [(f"{where}, {side}", name) for name in entry[side]] for side in (TRAIN, VAL)}


def _is_entry(entry: Any) -> bool:
    return isinstance(entry, dict) and all(side in entry and NAMES.fits(entry[side]) for side in (TRAIN, VAL))


def _of_list(file: Path, text: str, cases: Collection[str]) -> tuple[str, Named]:
    lines = enumerate((line.partition("#")[0].partition(",")[0].strip() for line in text.splitlines()), 1)
    held_out = [(f"line {number}", name) for number, name in lines if name]
    if not held_out:
        raise DataError(f"{file}: data.split: expected {_FORMS}; found no name")
    named = {name for _, name in held_out}
    return "the list", {TRAIN: [("", name) for name in cases if name not in named], VAL: held_out}
