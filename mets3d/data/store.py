"""Reads the store: preprocessed cases from which a loader reads patches by memory map.

STORE/
    store.json         settings, source files, a hash of each, plan, cases, and those that cannot be used; the last file
                       to appear
    fingerprint.json   statistics of the data set
    cases/CASE.safetensors   see `mets3d.data.stored_case`
    records/CASE.json  from which files a case was made, see `mets3d.data.case_record`
    not_usable.csv     cases that could not be used, with the reason; not there where all could
    building.json      while preprocessing is under way
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mets3d.config import Data, Preprocess
from mets3d.data import DataError
from mets3d.data.plan import Plan
from mets3d.data.store_source import (
    FORMAT,
    changed_source,
    content_hash,
    differing_settings,
    other_format,
    stale,
    used_as_it_is,
)
from mets3d.data.stored_case import StoredCase, case_path, header_digest
from mets3d.files import OBJECT, is_plain_name, read_json, read_object
from mets3d.wording import counted

# A lesion is a part of the tumour core, which oedema cannot join to the next; of the whole tumour without a core.
LESIONS_OF = ("TC", "WT")

INDEX, UNFINISHED, FINGERPRINT = "store.json", "building.json", "fingerprint.json"
_ANEW = "delete the store and preprocess again"
ABOUT_THE_SOURCE = ("source", "source_hash", "left_out", "not_usable")  # keys of the index


@dataclass(frozen=True)
class Store:
    """An opened store: the names of its cases and how all of them were prepared."""

    path: Path
    index: dict[str, Any]
    chosen: tuple[str, ...] | None = None  # of the stored channels; None: all

    @property
    def cases(self) -> list[str]:
        """Names, sorted."""
        return list(self.index["cases"])

    @property
    def patients(self) -> dict[str, str]:
        """Case -> patient, as they were when it was made."""
        return {name: row["patient"] for name, row in self.index["cases"].items()}

    @property
    def left_out(self) -> list[str]:
        """Names of the source's cases that are not in the store."""
        return [*self.index["left_out"], *self.index["not_usable"]]

    @property
    def plan(self) -> Plan:
        """How its cases were prepared, and so how a new case must be."""
        plan = Plan.from_json(self.index["plan"])
        return plan if self.chosen is None else replace(plan, sequences=self.chosen)

    def choosing(self, channels: Sequence[str]) -> Store:
        """Returns the store as if it held these of its channels alone. Raises DataError if it lacks one."""
        stored = Plan.from_json(self.index["plan"]).sequences
        lacking = [channel for channel in channels if channel not in stored]
        if lacking:
            raise DataError(
                f"{self.path}: data.sequences is {', '.join(stored)} in the store, which lacks {', '.join(lacking)}; "
                "preprocess into another folder"
            )
        return replace(self, chosen=None if tuple(channels) == stored else tuple(channels))

    @cached_property
    def digest(self) -> str:
        """Hash of what the store holds, wherever it and its source lie: plan, cases, fingerprint, and of each case's
        file its size and header, in which the means of its voxels are. No voxel is read.
        """
        files = {name: header_digest(case_path(self.path, name)) for name in self.cases}
        index = {key: value for key, value in self.index.items() if key not in ABOUT_THE_SOURCE}
        return content_hash([index, self.fingerprint, files])

    def source_remarks(self) -> list[str]:
        """Returns a remark if the source folder is there and has changed since: the store itself is as it was."""
        changes = changed_source(self.index)
        return [used_as_it_is(self.path, changes)] if changes else []

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Statistics of the data set, see `mets3d.data.fingerprint`."""
        return dict(read_json(self.path / FINGERPRINT))

    def lesion_counts(self, regions: Sequence[str]) -> dict[str, int]:
        """Counts the lesions of each case in the first of `regions` that the case has; 0 if it has none of them."""
        counts = {name: row["lesions"] for name, row in self.index["cases"].items()}
        return {name: next((row[region] for region in regions if row[region]), 0) for name, row in counts.items()}

    def burdens(self, regions: Sequence[str]) -> dict[str, tuple[int, float]]:
        """Counts each case's lesions and sums their volumes in mm3, in the first of `regions` that it has."""
        rows = self.fingerprint["cases"]
        found: dict[str, tuple[int, float]] = {}
        for name in self.cases:
            volumes = rows[name]["lesion_volumes_mm3"]
            own: list[float] = next((volumes[region] for region in regions if volumes[region]), [])
            found[name] = len(own), math.fsum(own)
        return found

    def read(self, name: str) -> StoredCase:
        """Returns one case. Raises DataError if the store has no such case."""
        if name not in self.index["cases"]:
            raise DataError(f"{self.path}: no case {name} in this store of {len(self.index['cases'])}")
        stored = self.index["plan"]["sequences"]
        places = None if self.chosen is None else tuple(stored.index(channel) for channel in self.chosen)
        return StoredCase(name, case_path(self.path, name), places)


def open_store(
    path: Path, *, expected: tuple[Preprocess, Data] | None = None, source_may_change: bool = False
) -> Store:
    """Opens the finished store in `path`.

    With `expected` the store must have been made with these settings, but that it may hold more channels than
    data.sequences, of which these are chosen, and that a store without missing sequences serves either value of
    data.missing_sequences. Its source, if that folder is still there, must hold the same labelled cases with files of
    the same size and time, unless `source_may_change`.
    Raises FileNotFoundError if there is no store or an unfinished one, DataError if it does not fit, saying why.
    """
    index = _read_index(path)
    differences = differing_settings(index, expected[0], _as_stored(index, expected[1])) if expected else []
    if differences:
        raise DataError(
            f"{path}: this store was made with other settings: {'; '.join(differences)}. "
            "Preprocess into another folder, or delete this one and preprocess again"
        )
    if expected is not None and not source_may_change:
        changes = changed_source(index)
        if changes:
            raise DataError(stale(path, changes))
    expect_own_files(path, index["cases"])
    missing = [name for name in index["cases"] if not case_path(path, name).is_file()]
    if missing:
        raise DataError(
            f"{path}: the files of {counted(len(missing), 'case')} are gone, such as {missing[0]}; preprocess again"
        )
    store = Store(path, index)
    return store.choosing(expected[1].sequences) if expected is not None else store


def _as_stored(index: dict[str, Any], data: Data) -> Data:
    """Returns the settings with those of the store where it serves what they ask for."""
    own = index.get("data", {})
    changes: dict[str, Any] = {}
    if set(data.sequences) <= set(own.get("sequences", ())):
        changes["sequences"] = tuple(own["sequences"])
    if own.get("missing_sequences") == "refuse" or not any(
        index["cases"][name].get("missing") for name in index["cases"]
    ):
        changes["missing_sequences"] = own.get("missing_sequences", data.missing_sequences)
    return data.model_copy(update=changes)


def _read_index(path: Path) -> dict[str, Any]:
    if not (path / INDEX).is_file():
        if (path / UNFINISHED).is_file():
            raise FileNotFoundError(
                f"{path}: not finished, interrupted or with cases that cannot be used; run `mets3d preprocess` again"
            )
        found = "an empty folder" if path.is_dir() and not any(path.iterdir()) else "a folder without store.json"
        raise FileNotFoundError(
            f"{path}: expected a store, found {found if path.is_dir() else 'no such folder'}; "
            "make one with `mets3d preprocess DATA STORE`"
        )
    try:
        index = read_object(path / INDEX, may={"cases": OBJECT, "plan": OBJECT}, advice=_ANEW)
    except ValueError as error:
        raise DataError(str(error)) from None
    if index.get("format") != FORMAT:
        raise DataError(f"{path}: {other_format(index.get('format'))}; preprocess into another folder")
    missing = [key for key in ("cases", "plan", *ABOUT_THE_SOURCE) if key not in index]
    wrong = [name for name, row in index.get("cases", {}).items() if not (is_plain_name(name) and OBJECT.fits(row))]
    if missing or wrong:
        unnamed = f"no name of a case with what is known of it: {wrong[:1]}"
        what = f"{', '.join(missing)} missing" if missing else unnamed
        raise DataError(f"{path / INDEX}: {what}; {_ANEW}")
    return index


def expect_own_files(path: Path, names: Iterable[str] = ()) -> None:
    """Raises DataError where a link leads out of a store: nothing beside it is read as a part of it, or written."""
    inside = path.resolve()
    for part in (path / "cases", path / "records", *(case_path(path, name) for name in names)):
        if part.is_symlink() and not part.resolve().is_relative_to(inside):
            raise DataError(f"{part}: a link to {part.readlink()}, out of the store; put the files themselves there")
