"""Writes which site each phantom comes from, and the splits that hold one site out."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mets3d.files import parse_json, replacing
from mets3d.phantoms.sites import HELD_OUT, SITES, Site

NAMES = "BraTS-MET-9"  # how the names of phantoms begin
SITES_FILE, SPLITS_FILE = "sites.csv", "splits_by_site.json"
COLUMNS = (
    "case",
    "site",
    "held_out",
    "field_tesla",
    "blur_mm",
    "noise",
    "bias",
    "t1n_mm",
    "t1c_mm",
    "t2w_mm",
    "t2f_mm",
)


def check_site_files(out: Path, *, written: bool) -> None:
    """Raises FileExistsError if a file that would be replaced lies in the folder and is not one of these.

    written: whether site files will be written. Where none will, a foreign file stays as it is.
    """
    foreign = [file for file in (out / SITES_FILE, out / SPLITS_FILE) if os.path.lexists(file) and not _is_ours(file)]
    if written and foreign:
        raise FileExistsError(f"{foreign[0]}: is no file of phantoms' sites, and would be replaced; name another OUT")


def write_site_files(out: Path, sites: Mapping[str, Site]) -> None:
    """Writes OUT/sites.csv, a line a case, and OUT/splits_by_site.json for `data.split`.

    Entry 0 of the splits holds out the site that is unlike the others, entry k the k-th of the others; an entry whose
    site has no case, or every case, is not there. A file without an entry or a case is removed if it is one of these.
    """
    entries = list(filter(None, (_entry(sites, site) for site in (HELD_OUT, *SITES[:-1]))))
    _write(out / SITES_FILE, _table(sites) if sites else "")
    _write(out / SPLITS_FILE, _splits(entries) if entries else "")


def _table(sites: Mapping[str, Site]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for name, site in sites.items():
        unlike = "yes" if site is HELD_OUT else "no"
        table.writerow([name, site.name, unlike, site.field_tesla, site.blur_mm, site.noise, site.bias, *site.slice_mm])
    return text.getvalue()


def _splits(entries: Sequence[Any]) -> str:
    return json.dumps(entries, indent=1) + "\n"


def _write(file: Path, text: str) -> None:
    if not text:
        if _is_ours(file):
            file.unlink()
        return
    with replacing(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _is_ours(file: Path) -> bool:
    """Returns whether a file is a table of sites or splits by site, as they are written here."""
    if file.is_symlink() or not file.is_file():
        return False
    try:
        text = file.read_text(encoding="utf-8")
        if file.name == SITES_FILE:
            head, *rows = text.splitlines() or [""]
            return head == ",".join(COLUMNS) and all(row.startswith(NAMES) for row in rows)
        names = [name for entry in parse_json(text) for side in ("train", "val") for name in entry[side]]
    except (ValueError, TypeError, KeyError):
        return False
    return text == _splits(parse_json(text)) and all(str(name).startswith(NAMES) for name in names)


def _entry(sites: Mapping[str, Site], held_out: Site) -> dict[str, Any] | None:
    val = [name for name, site in sites.items() if site is held_out]
    train = [name for name, site in sites.items() if site is not held_out]
    return {"train": train, "val": val} if train and val else None
