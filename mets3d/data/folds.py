"""Parts the cases of a store into those to train on and those held out: folds of patients, or a split from a file."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mets3d.config import Data
from mets3d.data import DataError
from mets3d.data.folds_file import Entry, read_split
from mets3d.data.patients import patients_of
from mets3d.data.store import LESIONS_OF, Store
from mets3d.wording import counted

Burden = tuple[int, float]  # lesions, and their volume in mm3


@dataclass(frozen=True)
class Split:
    """Which cases of a store a run trains on, and which it holds out.

    patients: case -> patient of both. entries: all folds in nnU-Net's form, a file that can be edited and given back as
    `data.split`. remarks: for the user.
    """

    fold: int
    training: list[str]
    held_out: list[str]
    patients: dict[str, str]
    entries: list[Entry]
    remarks: list[str]

    def as_json(self) -> dict[str, Any]:
        """Returns the content of a run's split.json, which calls the held-out cases validation."""
        return {
            "fold": self.fold,
            "folds": len(self.entries),
            "training": self.training,
            "validation": self.held_out,
            "patients": self.patients,
        }


def split_of(store: Store, data: Data) -> Split:
    """Parts the cases of a store as the settings say.

    Patients are those of `data.patients`, or without it those that the store was made with. With `data.split` the file
    decides and `data.folds` and `data.split_seed` do not count: `data.fold` is the entry that is used. Without it there
    are `data.folds` folds, see `make_folds`. With `data.inner_folds` the training cases alone are parted once more.

    Raises FileNotFoundError for a file that is not there, ValueError for fewer patients than folds, and DataError for a
    fold that a file does not have, and as `patients_of` and `read_split`.
    """
    patients = _patients(store, data)
    if data.split is None:
        entries = as_entries(make_folds(patients, data.folds, data.split_seed, store.burdens(LESIONS_OF)))
        remarks: list[str] = []
    else:
        entries, remarks = read_split(Path(data.split), patients, store.left_out)
    if data.fold >= len(entries):
        raise DataError(
            f"data.fold is {data.fold}, but {data.split or 'data.folds'} has "
            f"{counted(len(entries), 'entry', 'entries')}, numbered from 0"
        )
    chosen = entries[data.fold]
    if data.inner_folds is not None:
        chosen = _inner(chosen, patients, data, store)
    both = {name: patients[name] for name in sorted({*chosen["train"], *chosen["val"]})}
    unused = sorted(patients.keys() - both.keys())
    if unused:
        whose = data.split if data.inner_folds is None else "data.inner_folds"
        remarks.append(
            f"{whose}: {counted(len(unused), 'case')} of the store neither trained on nor held out: {_some(unused)}"
        )
    return Split(data.fold, chosen["train"], chosen["val"], both, entries, remarks)


def _inner(outer: Entry, patients: Mapping[str, str], data: Data, store: Store) -> Entry:
    """Parts the training cases of an entry once more; what it holds out is touched by no run that chooses settings."""
    known = {name: patients[name] for name in outer["train"]}
    try:
        inner = make_folds(known, data.inner_folds or 2, data.split_seed, store.burdens(LESIONS_OF))
    except ValueError as error:
        raise ValueError(str(error).replace("data.folds", "data.inner_folds")) from None
    return as_entries(inner)[0]


def _patients(store: Store, data: Data) -> dict[str, str]:
    if data.patients is None:
        return store.patients
    return patients_of(store.cases, data.patients, also_known=store.left_out)


def make_folds(
    patients: Mapping[str, str], folds: int, seed: int, burdens: Mapping[str, Burden] | None = None
) -> list[list[str]]:
    """Returns `folds` lists of case names, alike in cases and in lesion burden; a patient is in one list whole.

    patients: case -> patient. burdens: case -> lesions and volume; a case without one has none.

    Patients with the most cases come first; among them those with the largest burden, a doubling counting as larger,
    and else the order is that of a hash of (seed, patient). Each goes to a fold with the fewest cases; of several to
    the one that leaves the sum over folds of squared shares (of all lesions, of all volume) the smallest. So the folds
    depend on names, burdens and seed alone, on no order and no random generator's version.

    Raises ValueError if there are fewer patients than folds.
    """
    cases: dict[str, list[str]] = {}
    for name in sorted(patients):
        cases.setdefault(patients[name], []).append(name)
    if len(cases) < folds:
        raise ValueError(
            f"expected at least {counted(folds, 'patient')} for {folds} folds, found {len(cases)} in "
            f"{counted(len(patients), 'case')}; "
            "lower data.folds, add cases, or say with data.patients who is who (time points of one patient stay in one "
            "fold)"
        )
    shares = _shares(cases, burdens or {})
    filled: list[list[str]] = [[] for _ in range(folds)]
    loads = [(0.0, 0.0)] * folds
    for patient in sorted(cases, key=lambda patient: _turn(patient, len(cases[patient]), shares[patient], seed)):
        lesions, volume = shares[patient]
        fewest = min(map(len, filled))
        open_folds = [fold for fold in range(folds) if len(filled[fold]) == fewest]
        # (L + l)^2 - L^2 differs between folds by 2 l L alone.
        fold = min(open_folds, key=lambda fold: lesions * loads[fold][0] + volume * loads[fold][1])
        filled[fold] += cases[patient]
        loads[fold] = loads[fold][0] + lesions, loads[fold][1] + volume
    return [sorted(fold) for fold in filled]


def _shares(cases: Mapping[str, Sequence[str]], burdens: Mapping[str, Burden]) -> dict[str, tuple[float, float]]:
    """Returns each patient's share of all lesions and of their volume, times the number of patients."""
    sums = {
        patient: [math.fsum(burdens.get(name, (0, 0.0))[part] for name in own) for part in (0, 1)]
        for patient, own in cases.items()
    }
    total = [math.fsum(values[part] for values in sums.values()) or 1.0 for part in (0, 1)]
    scale = len(cases)
    return {patient: (scale * a / total[0], scale * b / total[1]) for patient, (a, b) in sums.items()}


def _turn(patient: str, cases: int, shares: tuple[float, float], seed: int) -> tuple[int, int, bytes]:
    """Returns what patients are sorted by: the first has the most cases, then the largest burden."""
    burden = sum(shares)
    doublings = math.frexp(burden)[1] if burden else -10_000
    return -cases, -doublings, hashlib.sha256(f"{seed}:{patient}".encode()).digest()


def as_entries(folds: Sequence[Sequence[str]]) -> list[Entry]:
    """Returns folds in nnU-Net's form: entry i holds fold i out and trains on the others."""
    everyone = sorted(name for fold in folds for name in fold)
    return [{"train": [name for name in everyone if name not in fold], "val": list(fold)} for fold in folds]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
