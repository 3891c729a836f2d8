"""Writes which site each phantom comes from, and the splits that hold one site out."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mets3d.files import replacing
from mets3d.phantoms.sites import HELD_OUT, SITES, Site

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


def write_site_files(out: Path, sites: Mapping[str, Site]) -> None:
    """Writes OUT/sites.csv, a line a case, and OUT/splits_by_site.json for `data.split`.

    Entry 0 of the splits holds out the site that is unlike the others, entry k the k-th of the others; an entry whose
    site has no case, or every case, is not there. A file without an entry or a case is removed.
    """
    entries = list(filter(None, (_entry(sites, site) for site in (HELD_OUT, *SITES[:-1]))))
    _write(out / SITES_FILE, _table(sites) if sites else "")
    _write(out / SPLITS_FILE, json.dumps(entries, indent=1) + "\n" if entries else "")


def _table(sites: Mapping[str, Site]) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for name, site in sites.items():
        unlike = "yes" if site is HELD_OUT else "no"
        table.writerow([name, site.name, unlike, site.field_tesla, site.blur_mm, site.noise, site.bias, *site.slice_mm])
    return text.getvalue()


def _write(file: Path, text: str) -> None:
    if not text:
        file.unlink(missing_ok=True)
        return
    with replacing(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _entry(sites: Mapping[str, Site], held_out: Site) -> dict[str, Any] | None:
    val = [name for name, site in sites.items() if site is held_out]
    train = [name for name, site in sites.items() if site is not held_out]
    return {"train": train, "val": val} if train and val else None
