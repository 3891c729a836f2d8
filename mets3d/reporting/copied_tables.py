"""Copies tables and configuration of the runs beside the page, to which it links."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mets3d.reporting.run_record import RunRecord
from mets3d.rundir import ReportDir


@dataclass(frozen=True)
class CopiedFiles:
    """The files of one run: name -> address from the page. `label` is the run's or arm's, empty for a run alone."""

    label: str
    links: dict[str, str]


def copy_tables(records: Sequence[RunRecord], folder: ReportDir) -> list[CopiedFiles]:
    """Copies scores.csv, lesions.csv and config.yaml of each run, those that are there, and says where they are."""
    if len(records) == 1 and not records[0].runs:
        return [CopiedFiles("", _copied(records[0], folder, folder.path))]
    found, taken = [], set[Path]()
    for record in records:
        for run in record.members.values():
            place = folder.arms / _plain(record.label)
            place = place / _plain(run.run.name) if record.runs else place
            while place in taken:
                place = place.with_name(f"{place.name}_")
            taken.add(place)
            place.mkdir(parents=True, exist_ok=True)
            label = f"{record.label}, seed {run.key[0]}, fold {run.key[1]}" if record.runs else record.label
            found.append(CopiedFiles(label, _copied(run, folder, place)))
    return found


def _copied(run: RunRecord, folder: ReportDir, place: Path) -> dict[str, str]:
    links = {}
    for file in (run.run.scores, run.run.lesions, run.run.config):
        if file.is_file():
            shutil.copyfile(file, place / file.name)
            links[file.name] = (place / file.name).relative_to(folder.path).as_posix()
    return links


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "_"
