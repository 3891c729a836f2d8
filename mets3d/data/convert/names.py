"""Makes names that nnU-Net can have for cases, and the table that says which is which."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from mets3d.data.case import Case
from mets3d.files import write_text

TABLE = "names.csv"

_COLUMNS = ("name", "case")
_LEGAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LIKE_A_CHANNEL = re.compile(r"_\d{4}\Z")  # nnU-Net takes such an ending for the number of a channel


def nnunet_names(cases: Sequence[str]) -> dict[str, str]:
    """Returns a name for each case: its own where nnU-Net can have it, else one of plain letters, all different.

    Two names are taken as one if they differ in upper and lower case alone, as they are on some file systems.
    """
    names = {case: case for case in cases if _is_legal(case)}
    first: dict[str, str] = {}
    for case in sorted(names):
        if first.setdefault(case.lower(), case) != case:
            del names[case]
    taken = set(first)
    for case in sorted(set(cases) - set(names)):
        names[case] = _free(_plain(case), taken)
        taken.add(names[case].lower())
    return {case: names[case] for case in cases}


def write_names(folder: Path, names: Mapping[str, str]) -> None:
    """Writes the table of the names that are not the case's own; none where all are."""
    changed = sorted((name, case) for case, name in names.items() if name != case)
    if not changed:
        (folder / TABLE).unlink(missing_ok=True)
        return
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_COLUMNS, *changed])
    write_text(folder / TABLE, text.getvalue())


def original_name(case: Case) -> str:
    """Returns what a case was called before it was converted: by the table in its data set, else its own name."""
    table = case.folder.parent / TABLE
    if not table.is_file():
        return case.name
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.reader(file) if len(row) == len(_COLUMNS)]
    return dict(rows[1:]).get(case.name, case.name) if rows[:1] == [[*_COLUMNS]] else case.name


def _is_legal(name: str) -> bool:
    return bool(_LEGAL.fullmatch(name)) and not _LIKE_A_CHANNEL.search(name)


def _plain(name: str) -> str:
    """Returns the name with plain letters alone."""
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", letters).strip("._- ") or "case"
    return f"{plain}_x" if _LIKE_A_CHANNEL.search(plain) else plain


def _free(name: str, taken: set[str]) -> str:
    candidates = [name, *(f"{name}-{number}" for number in range(2, len(taken) + 3))]
    return next(candidate for candidate in candidates if candidate.lower() not in taken)
