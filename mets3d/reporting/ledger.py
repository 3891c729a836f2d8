"""Reads what the ledger of a study says about its runs: a use of the test set that a reader has to know of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mets3d.files import read_json
from mets3d.rundir import LEDGER

REMARKS = "remarks"  # of the ledger: sentences for the head of the page


def ledger_remarks(runs: Sequence[Path]) -> list[str]:
    """Returns the remarks of the ledgers of the studies that the runs lie in, each once.

    A run of a study lies in a folder of its study's folder. A ledger that is broken is named.
    """
    folders = dict.fromkeys(folder for run in runs for folder in (run.resolve().parent, run.resolve().parent.parent))
    found: list[str] = []
    for file in (folder / LEDGER for folder in folders):
        if not file.is_file():
            continue
        try:
            remarks = read_json(file).get(REMARKS, [])
            found += [str(remark) for remark in remarks]
        except (OSError, ValueError, AttributeError, TypeError) as error:
            found.append(f"{file} cannot be read, so how often the test set was used is not known: {error}")
    return list(dict.fromkeys(found))
