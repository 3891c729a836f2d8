"""From the lesions of one region in one case to its lesion-wise scores, and to detection by size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from mets3d.evaluation.rules import RuleSet
from mets3d.evaluation.tables import Row

KINDS = ("found", "missed", "false")


def size_classes(edges_mm3: Sequence[float]) -> list[str]:
    """Names of the size classes between ascending edges, each from its lower edge to below its upper one."""
    if not edges_mm3:
        return []
    between = [f"{low:g}_to_{high:g}" for low, high in pairwise(edges_mm3)]
    return [f"below_{edges_mm3[0]:g}", *between, f"from_{edges_mm3[-1]:g}"]


def size_class(row: Row, edges_mm3: Sequence[float]) -> str:
    """The class of a lesion by its reference volume, of a false one by its predicted volume."""
    volume_mm3 = row["prediction_volume_mm3" if row["kind"] == "false" else "reference_volume_mm3"]
    names = size_classes(edges_mm3)
    return names[int(np.searchsorted(edges_mm3, volume_mm3, side="right"))] if names else ""


def lesion_wise(lesions: Sequence[Row], rules: RuleSet, edges_mm3: Sequence[float], scores: Sequence[str]) -> Row:
    """Means of `scores` over the lesions that count and the false ones; counts and detection, all and by size.

    Missed and false ones enter the means with Dice 0, NSD 0 and the penalty as HD95, which their rows hold.
    """
    row = _means(lesions, rules, scores)
    detected = [lesion["kind"] for lesion in lesions]
    row |= {f"lesions_{kind}": detected.count(kind) for kind in KINDS}
    row |= detection(*(detected.count(kind) for kind in KINDS))
    for name in size_classes(edges_mm3):
        own = [lesion["kind"] for lesion in lesions if lesion["size_class"] == name]
        counts = [own.count(kind) for kind in KINDS]
        row |= {f"{kind}_{name}": count for kind, count in zip(KINDS, counts, strict=True)}
        row |= {f"{score}_{name}": value for score, value in detection(*counts).items()}
    if rules.detected_from_dice is not None:
        row |= _large_and_small(lesions, rules, rules.detected_from_dice)
    return row


def detection(found: int, missed: int, false: int) -> dict[str, float]:
    """Precision TP / (TP + FP), recall TP / (TP + FN) and F1 2 TP / (2 TP + FP + FN); NaN where that is 0 / 0."""
    return {
        "precision": _share(found, found + false),
        "recall": _share(found, found + missed),
        "f1": _share(2 * found, 2 * found + false + missed),
    }


def _means(lesions: Sequence[Row], rules: RuleSet, scores: Sequence[str]) -> Row:
    large = [row for row in lesions if row["kind"] in ("found", "missed") and _scored(row, rules)]
    false = [row for row in lesions if row["kind"] == "false"]
    # Under rules that score large lesions alone, false ones without a large one make no score.
    counted = large + false if large or not rules.scored_from_mm3 else []
    nothing = {"hd95": 1 - rules.score_of_nothing}
    row = {}
    for name in scores:
        values = [lesion[name] for lesion in counted]
        row[f"lesion_wise_{name}"] = sum(values) / len(values) if values else nothing.get(name, rules.score_of_nothing)
        if rules.scored_from_mm3:
            row[f"lesion_wise_{name}_sd"] = float(np.std(values)) if values else math.nan
    return row


def _scored(row: Row, rules: RuleSet) -> bool:
    return bool(row["reference_volume_mm3"] >= rules.scored_from_mm3)


def _large_and_small(lesions: Sequence[Row], rules: RuleSet, from_dice: float) -> Row:
    """Detection of lesions above and below the size limit, a match counting from a Dice; all false ones in each."""
    row: Row = {}
    false = sum(lesion["kind"] == "false" for lesion in lesions)
    for name, large in (("large", True), ("small", False)):
        own = [
            lesion["dice"] >= from_dice
            for lesion in lesions
            if lesion["kind"] in ("found", "missed") and _scored(lesion, rules) == large
        ]
        found, missed = sum(own), len(own) - sum(own)
        counts = {"found": found, "missed": missed, "false": false}
        scores = {
            score: 0.0 if math.isnan(value) else value for score, value in detection(found, missed, false).items()
        }
        row |= {f"{name}_{key}": value if own else math.nan for key, value in (counts | scores).items()}
    return row


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
