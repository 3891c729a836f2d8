"""Computes the FROC curve of a cohort: sensitivity against false positives per patient as the threshold moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mets3d.evaluation.tables import Row
from mets3d.statistics.score_table import patients_in


@dataclass(frozen=True)
class FrocPoint:
    """Detection over all cases when the probability map is cut at `threshold`."""

    threshold: float
    sensitivity: float
    false_per_patient: float
    f1: float  # 2 TP / (2 TP + FN + FP)


def froc_curve(rows: Sequence[Row]) -> list[FrocPoint]:
    """Returns a point per threshold, ascending, from one region's rows of froc.csv.

    A threshold that not all of the cases have is left out. Empty where there are no reference lesions.
    """
    cases = {row["case"] for row in rows}
    patients = len(set(patients_in(rows).values()))
    points = []
    for threshold in sorted({row["threshold"] for row in rows}):
        own = [row for row in rows if row["threshold"] == threshold]
        found, missed, false = (sum(row[f"lesions_{kind}"] for row in own) for kind in ("found", "missed", "false"))
        if found + missed and len(own) == len(cases):
            f1 = 2 * found / (2 * found + missed + false)
            points.append(FrocPoint(threshold, found / (found + missed), false / patients, f1))
    return points
