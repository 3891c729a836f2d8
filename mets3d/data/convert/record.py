"""Keeps the record of a conversion, a line a case, by which an interrupted one goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mets3d.data import DataError
from mets3d.data.case import Case
from mets3d.data.convert.case_files import ConvertedCase
from mets3d.files import is_empty, parse_json, write_text

RECORD = "conversion.jsonl"


class Record:
    """The cases of a target folder that are finished, each with what it was made from."""

    def __init__(self, target: Path, recipe: Mapping[str, Any]):
        """Opens the record of a folder. Raises DataError for a folder of something else or of another conversion."""
        self.path = target / RECORD
        self.recipe = dict(recipe)
        self.finished: dict[str, dict[str, Any]] = {}
        if self.path.is_file():
            self._read()
        elif target.is_dir() and not is_empty(target):
            raise DataError(
                f"{target}: expected a new or empty folder, or one that convert wrote; choose another folder"
            )

    def _read(self) -> None:
        lines = []
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                lines.append(parse_json(line))
            except json.JSONDecodeError:  # the last line of a call that was killed
                continue
        found = lines[0] if lines and isinstance(lines[0], dict) else {}
        differing = [
            f"{key} {found.get(key)!r}, now {value!r}" for key, value in self.recipe.items() if found.get(key) != value
        ]
        if differing:
            raise DataError(f"{self.path}: another conversion: {', '.join(differing)}; choose another folder")
        self.finished = {line["case"]: line for line in lines[1:] if "case" in line}

    def is_finished(self, case: Case, made_from: Mapping[str, Any]) -> bool:
        """Returns whether a case was converted from just these files, and its own are all there."""
        line = self.finished.get(case.name)
        if line is None or line["from"] != made_from:
            return False
        return all((self.path.parent / file).is_file() for file in line["files"])

    def begin(self, kept: Mapping[str, dict[str, Any]], planned: Mapping[str, list[str]]) -> None:
        """Writes the record anew: the finished cases that stay, and the files that others may leave if this is killed.

        A case that is only planned is finished for no later call, which removes its files.
        """
        self.finished = dict(kept)
        begun = [{"case": name, "files": files, "from": None} for name, files in planned.items()]
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in (self.recipe, *begun, *kept.values())))

    def add(self, converted: ConvertedCase, made_from: Mapping[str, Any]) -> None:
        """Adds a case that is finished."""
        line = {"case": converted.name, "files": converted.files, "labels": converted.labels, "from": dict(made_from)}
        self.finished[converted.name] = line
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def sources(case: Case, name: str) -> dict[str, Any]:
    """Returns what a case is made from: its name, label map and files with size and time of change (ns)."""
    files = {}
    for path in case.files:
        try:
            status = path.stat()
        except OSError:  # a broken link is found when it is read
            continue
        files[str(path.absolute())] = [status.st_size, status.st_mtime_ns]
    scans = {sequence: [str(scan.path.absolute()), scan.volume] for sequence, scan in case.sequences.items()}
    label_map = {str(key): value for key, value in case.label_map.items()}
    return {"name": name, "files": files, "scans": scans, "label_map": label_map}
