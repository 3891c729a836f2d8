"""Chooses the weights of benchmarks/study.py, keeps its results and makes the tables of docs/study.md.

Only imported by benchmarks/study.py; run by itself it does nothing.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from study_arms import BASE, CHOSEN, FAMILIES, KEPT, PUBLISHED_WEIGHT, WEIGHTS, arms
from study_data import Place
from study_run import RECORD, SCORES

from mets3d.files import write_json

FILES = "*-[0-9]"  # folders of finished runs


def choose_weights(place: Place) -> int:
    """Chooses for each family the weight with the best score on the inner split, and writes them down.

    The score is the mean over heads, regions and the two scores lesion-wise Dice and F1 of lesions, so that neither
    boundaries nor detection decide alone. Of equal scores the smaller weight is taken.
    """
    keep(place)
    inner = {name: [_score(folder / SCORES) for folder in kept(name)] for name, arm in arms().items() if arm.inner}
    missing = [name for name, scores in inner.items() if not scores]
    if missing:
        raise SystemExit(f"no result yet of {', '.join(missing)}; run study.py all --arms inner first")
    table = {
        family: {f"{weight:g}": round(float(np.mean(inner[f"inner-{family}-{weight:g}"])), 4) for weight in WEIGHTS}
        for family in FAMILIES
    }
    chosen = {family: max(WEIGHTS, key=lambda weight: (row[f"{weight:g}"], -weight)) for family, row in table.items()}
    base = round(float(np.mean(inner[f"inner-{BASE}"])), 4)
    write_json(CHOSEN, {"weights": chosen, "scores": table, BASE: base, "default": PUBLISHED_WEIGHT})
    for family, row in table.items():
        print(f"{family:12} {row}  chosen {chosen[family]:g}  (base loss {base})")
    return 0


def keep(place: Place) -> None:
    """Copies the results of finished runs into benchmarks/results/study, whole folders."""
    for record in sorted(place.results.glob(f"{FILES}/{RECORD}")):
        folder = KEPT / record.parent.name
        if not (folder / RECORD).exists():
            shutil.copytree(record.parent, folder, dirs_exist_ok=True)


def kept(arm: str) -> list[Path]:
    """Returns the folders of an arm's finished runs, in the order of their seeds."""
    found = sorted(KEPT.glob(f"{arm}-[0-9]"), key=lambda folder: int(folder.name.rsplit("-", 1)[1]))
    return [folder for folder in found if (folder / RECORD).exists()]


def record_of(folder: Path) -> dict[str, Any]:
    """Returns what a finished run says of itself."""
    return dict(json.loads((folder / RECORD).read_text(encoding="utf-8")))


def _score(table: Path) -> float:
    """Returns the mean of lesion-wise Dice, over heads and regions, and of the F1 of all lesions."""
    with table.open(encoding="utf-8", newline="") as stream:
        rows: list[Mapping[str, str]] = [row for row in csv.DictReader(stream) if row["region"] != "RC"]
    dice = [float(row["lesion_wise_dice"]) for row in rows if row["lesion_wise_dice"]]
    found, missed, false = (
        sum(float(row[f"lesions_{word}"] or 0) for row in rows) for word in ("found", "missed", "false")
    )
    return (float(np.mean(dice)) + 2 * found / max(1.0, 2 * found + missed + false)) / 2
