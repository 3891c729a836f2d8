"""Begins a store, goes on with one that is there, or refuses to.

building.json is there while cases are to be made; store.json appears last. A store that only grows keeps its store.json
until the new one replaces it, so that a training on it can go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mets3d.config import Data, Preprocess
from mets3d.data import DataError
from mets3d.data.case_record import as_json, forget_case, stored_names, write_marked
from mets3d.data.cases import Case, excluded_cases, find_cases
from mets3d.data.normalise import Normalisation
from mets3d.data.spacing import Wanted, spacing_from_json
from mets3d.data.store import INDEX, UNFINISHED
from mets3d.data.store_source import FORMAT, differing_settings, other_format, recipe
from mets3d.data.storing import Making
from mets3d.files import is_empty, read_object, remove
from mets3d.rundir import NOT_USABLE
from mets3d.wording import agreed


@dataclass(frozen=True)
class Begun:
    """What a store has learned from the cases with which it was begun, and keeps when it grows."""

    spacing_mm: Wanted
    intensities: Normalisation


def begun(store: Path, settings: Preprocess, data: Data) -> Begun | None:
    """Returns with what the store that is there was begun, finished or not; None where there is none.

    Raises DataError for a store with other settings, naming them, and for a folder of something else.
    """
    files = [store / name for name in (INDEX, UNFINISHED) if (store / name).is_file()]
    if not files:
        if store.exists() and not (store.is_dir() and is_empty(store)):
            raise DataError(f"{store}: expected a new or empty folder, or a store; choose another folder")
        return None
    content = read_object(files[0], advice="choose another folder, or delete this store")
    if content.get("format") == FORMAT and files[0].name == UNFINISHED and not stored_names(store):
        return None  # nothing of it is lost
    if content.get("format") != FORMAT:
        differences = [other_format(content.get("format"))]
    else:
        differences = differing_settings(content, settings, data)
    if differences:
        raise DataError(
            f"{store}: a store with other settings is there: {'; '.join(differences)}. "
            "Choose another folder, or delete this one"
        )
    return Begun(spacing_from_json(content["spacing_mm"]), Normalisation.from_json(content["intensities"]))


def excluded(store: Path, folder: Path, data: Data, names: Sequence[str]) -> list[str]:
    """Lists the cases of the store that are excluded now. `names`: those that it shall hold.

    Raises DataError for cases that are gone from the source otherwise: what cannot be made again is not thrown away.
    """
    others = sorted(set(stored_names(store)) - set(names))
    if not others:
        return []
    left_out = excluded_cases(find_cases(folder, data))
    gone = [name for name in others if name not in left_out]
    if gone:
        shown = ", ".join(gone[:5]) + (" ..." if len(gone) > 5 else "")
        raise DataError(
            f"{store}: {len(gone)} of its cases {agreed(len(gone), 'is', 'are')} not in {folder}, or without a "
            f"reference there: {shown}. Bring the files back, or preprocess into another folder"
        )
    return others


def begin(making: Making, dropped: Sequence[str], to_do: Sequence[Case]) -> None:
    """Writes building.json and takes cases out. Removes store.json where cases that it names are about to change."""
    index = making.store / INDEX
    if index.is_file() and {*dropped, *(case.name for case in to_do)} & set(read_object(index)["cases"]):
        index.unlink()
    content = {
        **recipe(making.settings, making.data),
        "spacing_mm": making.spacing_mm,
        "intensities": making.intensities.as_json(),
    }
    write_marked(making.store / UNFINISHED, as_json(content))
    for name in dropped:
        forget_case(making.store, name)


def discard(store: Path) -> None:
    """Removes what a store without a case consists of, and the folder if nothing else is in it."""
    for path in (store / "cases", store / "records", store / UNFINISHED, store / INDEX, store / NOT_USABLE):
        remove(path)
    if store.is_dir() and not any(store.iterdir()):
        store.rmdir()
