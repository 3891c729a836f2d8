"""Writes what a training writes as TensorBoard's event files: the program that `other_link.py` starts for it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mets3d.training.track.sender.following import Mark, send_all
from mets3d.training.track.sender.overlay import overlays
from mets3d.training.track.sender.pipes import Event, Inbox, answer, as_program
from mets3d.training.track.sender.rows import Shown


def send(start: Mapping[str, Any], inbox: Inbox, _say: Event) -> bool:
    """Writes the run's lines behind those that its event files have."""
    as_program(start)
    from torch.utils.tensorboard import SummaryWriter

    mark = Mark(Path(start["mark"]), start["id"])
    if not mark.step:
        shutil.rmtree(start["events"], ignore_errors=True)  # of the run that this directory is a copy of
    logger = EventFiles(SummaryWriter(start["events"]))
    if not mark.step:
        logger.text(0, "config", f"```\n{json.dumps(start['config'], indent=1)}\n```")
    send_all(logger, mark, start, inbox)
    return True


class EventFiles:
    """TensorBoard's event files of a run."""

    def __init__(self, writer: Any):
        self.writer = writer

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Writes a scalar a number."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def shown(self, step: int, what: Shown) -> None:
        """Writes an image a slice and a text a table."""
        for number, (_, picture) in enumerate(overlays(what)):
            self.writer.add_image(f"validation/slice_{number}", picture, step, dataformats="HWC")
        for name, (columns, rows) in what.tables.items():
            lines = [columns, ["---"] * len(columns), *rows]
            text = "\n".join(f"| {' | '.join('' if cell is None else str(cell) for cell in line)} |" for line in lines)
            self.text(step, f"tables/{name}", text)

    def alert(self, step: int, title: str, text: str) -> None:
        """Writes a text."""
        self.text(step, "alerts", f"**{title}** {text}")

    def text(self, step: int, name: str, text: str) -> None:
        """Writes a text."""
        self.writer.add_text(name, text, step)

    def close(self) -> None:
        """Writes what is left."""
        self.writer.close()


if __name__ == "__main__":
    answer(send)
