"""Reads what a training writes for the loggers: the lines of metrics.jsonl, and the files of each validation."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mets3d.log_names import LOSS, SCORES, SKIPPED, TRAIN, VALIDATION, score_prefixes

Row = dict[str, Any]


def follow(file: Path) -> Iterator[list[Row]]:
    """Yields, whenever it is asked, the whole lines that a file of JSON lines has got since. Skips what is no JSON."""
    with file.open("rb") as stream:
        rest = b""
        while True:
            *whole, rest = (rest + stream.read()).split(b"\n")
            yield list(_rows(whole))


def _rows(lines: list[bytes]) -> Iterator[Row]:
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            yield row


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers of a line under `KIND/NAME`; a value that was not finite is null in the file and NaN here."""
    kind = row.get("kind", TRAIN)
    return {
        f"{kind}/{name}": float("nan") if value is None else value
        for name, value in row.items()
        if name not in ("step", "kind") and (value is None or isinstance(value, int | float))
    }


def best_is(name: str) -> str | None:
    """Returns whether the best value of a name is its `max` or `min`; None where the last one counts."""
    if any(name.startswith(f"{VALIDATION}/{prefix}") for score in SCORES for prefix in score_prefixes(score)):
        return "max"
    return "min" if name == f"{TRAIN}/{LOSS}" or name.startswith(f"{TRAIN}/{LOSS}/") else None


@dataclass
class Best:
    """The best value so far of each name that has one, over all lines of a run, those that are not sent included."""

    values: dict[str, float] = field(default_factory=dict)

    def note(self, values: Mapping[str, float]) -> dict[str, float]:
        """Takes the numbers of a line; returns those that are better than all before."""
        better = {}
        for name, value in values.items():
            which, before = best_is(name), self.values.get(name)
            if which is None or not math.isfinite(value):
                continue
            if before is None or (value > before if which == "max" else value < before):
                better[name] = value
        self.values |= better
        return better


@dataclass
class Skips:
    """Counts skipped steps, whose loss or gradient was not finite."""

    seen: float = 0

    def note(self, row: Mapping[str, Any]) -> str | None:
        """Takes a line; returns a sentence where its step was skipped."""
        count = row.get(SKIPPED) if row.get("kind", TRAIN) == TRAIN else None
        if not isinstance(count, int | float) or count <= self.seen:
            return None
        self.seen = count
        loss = "its loss" if row.get(LOSS, 0) is None else "a gradient"
        return f"Step {row['step']} changed no weight: {loss} was not finite. Skipped so far: {count:g}."


@dataclass(frozen=True)
class Shown:
    """What a validation wrote beside its numbers: slices with masks, and tables. The paths are of PNG files."""

    folder: Path
    content: Mapping[str, Any]

    @property
    def class_names(self) -> dict[int, str]:
        """Returns the name of each label in the masks."""
        return {int(label): name for label, name in self.content["labels"].items()}

    @property
    def slices(self) -> list[tuple[str, Path, Path, Path]]:
        """Returns caption, image, predicted mask and reference mask of each slice."""
        return [
            (one["caption"], *(self.folder / one[part] for part in ("image", "prediction", "reference")))
            for one in self.content["slices"]
        ]

    @property
    def tables(self) -> dict[str, tuple[list[str], list[list[Any]]]]:
        """Returns columns and rows of each table by name."""
        return {name: (table["columns"], table["rows"]) for name, table in self.content["tables"].items()}


def shown(place: Mapping[str, str], row: Mapping[str, Any]) -> Shown | None:
    """Returns what the validation of a line wrote; None where it wrote nothing, or another kind of line.

    place: `folder` of all validations, `name` of one's own folder with a place for its step, name of its `index`.
    """
    if row.get("kind") != VALIDATION:
        return None
    own = Path(place["folder"], place["name"].format(row["step"]))
    try:
        return Shown(own, json.loads((own / place["index"]).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
