"""Reads which cases are left out (`data.exclude`) and which references are replaced (`data.overlay`)."""

from __future__ import annotations

import csv
import difflib
import unicodedata
from collections.abc import Collection, Mapping
from pathlib import Path

from mets3d.data import DataError
from mets3d.data.layouts.words import REFERENCE, cut
from mets3d.data.tree import stem_of, visible_files

HEADER = ("case", "reason")  # as the first line of a list of cases that could not be used has it


def read_exclusions(file: Path, names: Collection[str]) -> dict[str, str]:
    """Reads the cases to leave out, one a line, each with its reason, which stands after a comma or `#`.

    Raises FileNotFoundError, and DataError with every line that names a case which is not in `names` or there twice.
    """
    if not file.is_file():
        raise FileNotFoundError(f"data.exclude: {file}: no such file; expected one with the name of a case a line")
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: expected names of cases as UTF-8 text, found something else ({error})") from None
    known = {_composed(name): name for name in names}
    excluded: dict[str, str] = {}
    first_line: dict[str, int] = {}
    faults = []
    for number, line in enumerate(lines, 1):
        written, reason = _name_and_reason(line, known)
        if not written or (number == 1 and (written, reason) == HEADER and HEADER[0] not in known):
            continue
        name = known.get(_composed(written))
        if name is None:
            faults.append(f"{file}, line {number}: no case is named {written!r}{_nearest(written, names)}")
        elif name in first_line:
            faults.append(f"{file}, line {number}: {name} is there twice, first in line {first_line[name]}")
        else:
            first_line[name] = number
            excluded[name] = reason
    if faults:
        raise DataError("\n".join(faults))
    return excluded


def read_overlay(folder: Path, names: Collection[str]) -> dict[str, Path]:
    """Finds references that replace those of cases: CASE-seg.nii.gz at any depth, or CASE.nii.gz.

    Raises FileNotFoundError, and DataError for a folder without images, and with every file that belongs to no case of
    `names` or to one that has another file there.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"data.overlay: {folder}: no such folder; expected one with references CASE-seg.nii.gz")
    known = {_composed(name): name for name in names}
    replacing: dict[str, Path] = {}
    faults = []
    images = [place / name for place, files in visible_files(folder) for name in files if stem_of(name) is not None]
    for image in images:
        case = _case_of(image, known)
        if case is None:
            written = stem_of(image.name) or image.name
            faults.append(f"{image}: no case is named {written!r}{_nearest(_without_word(written), names)}")
        elif case in replacing:
            faults.append(f"{image}: a reference of {case} is there already: {replacing[case]}; keep one of them")
        else:
            replacing[case] = image
    if not images:
        faults = [f"{folder}: expected references CASE-seg.nii.gz at any depth, found no image"]
    if faults:
        raise DataError("\n".join(f"data.overlay: {fault}" for fault in faults))
    return replacing


def _name_and_reason(line: str, known: Mapping[str, str]) -> tuple[str, str]:
    """Splits a line; a name that holds a comma or `#` itself is in quotation marks, or the whole line is that name."""
    whole = line.strip()
    if _composed(whole) in known:
        return whole, ""
    name, *reasons = next(csv.reader([whole], skipinitialspace=True), []) or [""]
    if _composed(name.strip()) in known or whole.startswith('"') or "#" not in name:
        return name.strip(), ", ".join(reasons).strip()
    name, _, reason = whole.partition("#")
    return name.strip(), reason.strip(" \t#")


def _case_of(image: Path, known: Mapping[str, str]) -> str | None:
    """Returns the case whose reference a file is by its name."""
    stem = stem_of(image.name) or ""
    return known.get(_composed(stem)) or known.get(_composed(_without_word(stem)))


def _without_word(stem: str) -> str:
    """Returns the name of the case in a name that ends in a word for references."""
    parts = cut(stem)
    return parts.case if parts is not None and parts.kind == REFERENCE else stem


def _nearest(name: str, names: Collection[str]) -> str:
    nearest = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {nearest[0]}?" if nearest else ""


def _composed(name: str) -> str:
    """Returns a name with composed letters: macOS takes them apart."""
    return unicodedata.normalize("NFC", name)
