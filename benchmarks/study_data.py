"""Makes the data of benchmarks/study.py once: heads to train on, heads to be scored, their store.

Only imported by benchmarks/study.py; run by itself it does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import heads
from heads import already_made, link_heads, make_heads, make_store, source_digest

from mets3d.files import write_json

SEED = 13
SPACING_MM = (1.5, 1.5, 1.5)
SHAPE = (160, 160, 104)  # the grid of the challenge at 1.5 mm
TRAINING, INNER, HELD_OUT = 30, 10, 40  # the inner cases are trained on in the study, and held out to choose weights
TINY = 4, 2, 3, (36, 44, 34), (4.0, 4.0, 4.0)


@dataclass(frozen=True)
class Place(heads.Place):
    """The folder of the study; the second of its two folds, the inner one, knows no case that the first holds out."""

    def references(self, fold: int) -> Path:
        """Returns the folder of the held-out cases of a fold alone; one without a prediction counts as the worst."""
        return self.path / f"held_out_{fold}"


def make_data(place: Place, *, jobs: int, tiny: bool) -> None:
    """Makes what is not there yet. Raises SystemExit where the folder holds data of another key or version."""
    training, inner, held_out, shape, spacing_mm = TINY if tiny else (TRAINING, INNER, HELD_OUT, SHAPE, SPACING_MM)
    key = {
        "difficulty": "mets", "seed": SEED, "training": training, "inner": inner, "held_out": held_out,
        "shape": list(shape), "spacing_mm": list(spacing_mm),
        "phantoms": source_digest("mets3d/phantoms"),
    }  # fmt: skip
    if not already_made(place, key):
        _make(place, key, jobs)


def _make(place: Place, key: dict[str, Any], jobs: int) -> None:
    outer = key["training"] + key["inner"]
    names, content = make_heads(place, key, outer + key["held_out"], jobs)
    folds = [
        {"train": names[:outer], "val": names[outer:]},
        {"train": names[: key["training"]], "val": names[key["training"] : outer]},
    ]
    write_json(place.split, folds)
    for fold, parts in enumerate(folds):
        link_heads(place.references(fold), place.cases, parts["val"])
    make_store(place, key["spacing_mm"], jobs)
    write_json(place.record, {**key, "content": content})
    print(f"{len(names)} heads and their store made, content {content}", flush=True)
