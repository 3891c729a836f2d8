"""Makes the data of benchmarks/recipe.py once: heads from their keys, our store, nnU-Net's own preprocessing.

Only imported by benchmarks/recipe.py; run by itself it does nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import heads
from heads import already_made, link_heads, make_heads, make_store, source_digest

from mets3d.files import write_json

SEED = 12
SPACING_MM = (1.5, 1.5, 1.5)
SHAPE = (160, 160, 104)  # the grid of the challenge at 1.5 mm; both tools crop it to the brain
TRAINING, HELD_OUT = 48, 12
TINY = 3, 2, (36, 44, 34), (4.0, 4.0, 4.0)  # cases of either kind, shape and voxels to try the whole line


@dataclass(frozen=True)
class Place(heads.Place):
    """The folder of the benchmark and what lies in it; its split has one fold, which both tools read."""

    @property
    def references(self) -> Path:
        """The held-out heads alone: a reference without a prediction counts as the worst."""
        return self.path / "held_out"

    @property
    def nnunet(self) -> Path:
        """The folders of nnU-Net."""
        return self.path / "nnunet"

    def held_out(self) -> list[str]:
        """Returns the held-out cases."""
        return list(json.loads(self.split.read_text(encoding="utf-8"))[0]["val"])


def make_data(place: Place, *, jobs: int, nnunet: bool, tiny: bool) -> None:
    """Makes what is not there yet. Raises SystemExit where the folder holds heads of another key or version."""
    training, held_out, shape, spacing_mm = TINY if tiny else (TRAINING, HELD_OUT, SHAPE, SPACING_MM)
    key = {
        "difficulty": "mets", "seed": SEED, "cases": training + held_out, "held_out": held_out,
        "shape": list(shape), "spacing_mm": list(spacing_mm), "phantoms": source_digest("mets3d/phantoms"),
    }  # fmt: skip
    if not already_made(place, key):
        _make(place, key, jobs)
    if nnunet and not (place.nnunet / "ready").exists():
        from recipe_nnunet import prepare

        prepare(place, jobs)
        (place.nnunet / "ready").write_text("", encoding="utf-8")


def _make(place: Place, key: dict[str, Any], jobs: int) -> None:
    names, content = make_heads(place, key, key["cases"], jobs)
    training = names[: -key["held_out"]]
    write_json(place.split, [{"train": training, "val": names[len(training) :]}])
    link_heads(place.references, place.cases, place.held_out())
    make_store(place, key["spacing_mm"], jobs)
    write_json(place.record, {**key, "content": content})
    print(f"{len(names)} heads and their store made, content {content}", flush=True)
