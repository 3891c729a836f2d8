"""Sends what a training writes to trackio: the program that `other_link.py` starts for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mets3d.training.track.sender.following import Mark, send_all
from mets3d.training.track.sender.overlay import overlays
from mets3d.training.track.sender.pipes import Event, Inbox, answer, as_program
from mets3d.training.track.sender.rows import Shown


def send(start: Mapping[str, Any], inbox: Inbox, _say: Event) -> bool:
    """Sends the run's lines behind those that trackio has, wherever trackio's own variables tell it to keep them."""
    as_program(start)
    import trackio

    mark = Mark(Path(start["mark"]), start["id"])
    own = {key: start[key] for key in ("project", "group", "config")}
    trackio.init(name=start["id"], resume="allow", embed=False, **own)
    send_all(TrackioRun(trackio), mark, start, inbox)
    return True


class TrackioRun:
    """A run of trackio."""

    def __init__(self, trackio: Any):
        self.trackio = trackio

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Logs the numbers of a line."""
        self.trackio.log(dict(values), step=step)

    def shown(self, step: int, what: Shown) -> None:
        """Logs an image a slice, and the tables."""
        media: dict[str, Any] = {
            f"validation/slice_{number}": self.trackio.Image(picture, caption=caption)
            for number, (caption, picture) in enumerate(overlays(what))
        }
        for name, (columns, rows) in what.tables.items():
            lines = [dict(zip(columns, row, strict=True)) for row in rows]
            media[f"tables/{name}"] = self.trackio.Table(columns=columns, data=lines)
        self.trackio.log(media, step=step)

    def alert(self, step: int, title: str, text: str) -> None:
        """Raises an alert."""
        self.trackio.alert(title=f"{title} (step {step})", text=text)

    def close(self) -> None:
        """Ends trackio's run."""
        self.trackio.finish()


if __name__ == "__main__":
    answer(send)
