"""Defines what a run knows about itself at a step: its progress, and the record that a checkpoint keeps of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from mets3d.files import COUNT, NUMBER, OBJECT, TEXT, Kind


@dataclass
class Progress:
    """How far a run is. With the configuration and the weights it is all that resuming needs."""

    step: int = 0  # optimizer steps done
    best: float = -1.0  # highest validation score
    best_step: int = 0
    validated: int = 0  # step of the last validation
    stale: int = 0  # validations since the best score
    skipped: int = 0  # steps skipped for a loss or gradient that was not finite
    skipped_in_a_row: int = 0
    diverged: int = 0  # of the skipped ones, those whose images were all finite
    bad_images: dict[str, int] = field(default_factory=dict)  # skipped steps in which a case's image was not finite
    suspects: dict[str, int] = field(default_factory=dict)  # diverged steps to whose bad part a case belonged


@dataclass(frozen=True)
class Record:
    """The progress of a checkpoint, and under what it was reached: progress.json.

    precision, processes: of the launch. store: digest of the training data. scored: the settings under which
    `progress.best` was scored. balance: the running averages of the loss. scaler: the loss scaler's state under fp16.
    averaged_steps: the steps that the averages of the weights have seen, under optim.ema.
    """

    progress: Progress
    precision: str
    processes: int
    store: str
    scored: Mapping[str, Any]
    balance: list[float] | None = None
    scaler: Mapping[str, Any] | None = None
    averaged_steps: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Returns the content of progress.json."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "progress"}
        return {**asdict(self.progress), **own}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Record:
        """Makes the record of content that has the keys `NEEDS`."""
        own = {field.name: content[field.name] for field in fields(cls) if field.name != "progress"}
        return cls(Progress(**{field.name: content[field.name] for field in fields(Progress)}), **own)


_MAYBE_OBJECT = Kind(f"{OBJECT.words}, or null", lambda value: value is None or OBJECT.fits(value))
_KIND_OF = {int: COUNT, float: NUMBER, str: TEXT, dict: OBJECT}
NEEDS: Mapping[str, Kind] = {
    **{name: _KIND_OF[type(value)] for name, value in asdict(Progress()).items()},
    "precision": TEXT,
    "processes": COUNT,
    "store": TEXT,
    "scored": OBJECT,
    "balance": Kind(
        "a list of numbers, or null",
        lambda value: value is None or (isinstance(value, list) and all(map(NUMBER.fits, value))),
    ),
    "scaler": _MAYBE_OBJECT,
    "averaged_steps": Kind(f"{COUNT.words}, or null", lambda value: value is None or COUNT.fits(value)),
}
