"""Prints the table of oddities: `python -m tests.data.oddities`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mets3d.config import Data, Preprocess
from mets3d.data import DataError
from mets3d.data.check import CheckReport, check
from mets3d.data.preprocess import preprocess
from mets3d.data.store import open_store
from mets3d.wording import counted
from tests.builders.oddities import Oddity, all_rows

MM = (1.0, 1.0, 1.0)


def checked(row: Oddity, folder: Path) -> CheckReport:
    """Makes a row's data set in `folder` and checks it."""
    row.make(folder)
    return check(folder, data=Data(**row.data))


def preprocessed(row: Oddity, folder: Path, store: Path) -> str:
    """Says what preprocess does with a row's data set."""
    try:
        preprocess(folder, store, Preprocess(**{"spacing_mm": MM, **row.preprocess}), data=Data(**row.data))
    except DataError:
        return "refuses"
    return f"stores {counted(len(open_store(store).cases), 'case')}"


def told(report: CheckReport) -> list[str]:
    """Returns what the findings are about, each kind once."""
    return sorted({f"{finding.severity}: {finding.what}" for finding in report.findings})


def table() -> list[str]:
    """Makes every data set and returns the table in Markdown."""
    lines = ["| oddity | check says | for example | preprocess |", "|---|---|---|---|"]
    for row in all_rows():
        with tempfile.TemporaryDirectory() as place:
            report = checked(row, Path(place) / "data")
            outcome = preprocessed(row, Path(place) / "data", Path(place) / "store")
            details = report.findings[0].detail.replace(place, "").replace("|", "/") if report.findings else ""
        lines.append(f"| {row.name} | {', '.join(told(report)) or 'nothing'} | {details} | {outcome} |")
    return lines


if __name__ == "__main__":
    print("\n".join(table()))
