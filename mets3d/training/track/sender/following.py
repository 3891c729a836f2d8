"""Follows a training for a logger that has no server to ask how far it is: a mark in a file says which step it has."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mets3d.training.track.sender.pipes import Inbox, ending
from mets3d.training.track.sender.rows import Row, Shown, Skips, follow, numbers, shown


@runtime_checkable
class Logger(Protocol):
    """What writes to a logger."""

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Logs the numbers of a line."""

    def shown(self, step: int, what: Shown) -> None:
        """Logs pictures and tables of a validation."""

    def alert(self, step: int, title: str, text: str) -> None:
        """Logs that something went wrong."""

    def close(self) -> None:
        """Writes what is left."""


class Mark:
    """The last step that a logger has got of the run with this id; 0 for another run's file, or none."""

    def __init__(self, file: Path, id_: str):
        self.file, self.id = file, id_
        self.step = self._read()

    def move(self, step: int) -> None:
        """Writes down a later step, whole or not at all."""
        if step == self.step:
            return
        self.step = step
        self.file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.file.with_name(f".{os.getpid()}.tmp.{self.file.name}")
        temporary.write_text(json.dumps({"id": self.id, "step": step}) + "\n", encoding="utf-8")
        temporary.replace(self.file)

    def _read(self) -> int:
        try:
            content = json.loads(self.file.read_text(encoding="utf-8"))
            return int(content["step"]) if content["id"] == self.id else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0


def send_all(logger: Logger, mark: Mark, start: Mapping[str, Any], inbox: Inbox) -> None:
    """Sends the lines behind the mark until the training has ended."""
    skips, behind, step = Skips(), mark.step, mark.step
    lines = follow(Path(start["metrics"]))
    while True:
        end = ending(inbox, start["poll"])
        for row in next(lines):
            skipped = skips.note(row)
            if row["step"] > behind:
                step = max(step, row["step"])
                _send(logger, row, start["validations"], skipped)
        mark.move(step)
        if end is not None:
            break
    if end["reason"]:
        logger.alert(step, "The training failed", end["reason"])
    logger.close()


def _send(logger: Logger, row: Row, validations: Mapping[str, str], skipped: str | None) -> None:
    logger.numbers(row["step"], numbers(row))
    what = shown(validations, row)
    if what is not None:
        logger.shown(row["step"], what)
    if skipped:
        logger.alert(row["step"], "A step was skipped", skipped)
