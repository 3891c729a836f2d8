"""Averages scores over the lesions that two methods both found, which hold no penalty for missed or false lesions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mets3d.evaluation.tables import Row
from mets3d.statistics.pooled_runs import RUN
from mets3d.statistics.score_table import CaseValues, finite

Lesion = tuple[object, str, str]  # run, where there are several; case, number of the lesion in the reference


def means_of_shared_lesions(
    reference: Sequence[Row], method: Sequence[Row], score: str
) -> tuple[CaseValues, CaseValues]:
    """Returns the mean of a score per case, for both methods, over the reference lesions that both found.

    The rows are those of lesions.csv in one region. A lesion without a value of the score counts as not found. Where a
    method has several runs (`pooled_runs.pooled`), runs of the same seed and fold are held beside each other, and a
    case's value is the mean over those in which both found any of its lesions.
    """
    sides = (reference, method)
    by_run = any(len({row.get(RUN) for row in rows}) > 1 for rows in sides)
    found = [_found(rows, score, by_run) for rows in sides]
    shared = [lesion for lesion in found[0] if lesion in found[1]]
    first, second = (_means({lesion: values[lesion] for lesion in shared}) for values in found)
    return first, second


def _found(rows: Sequence[Row], score: str, by_run: bool) -> dict[Lesion, float]:
    found = (row for row in rows if row["kind"] == "found")
    values = {(row.get(RUN) if by_run else None, row["case"], row["lesion"]): finite(row.get(score)) for row in found}
    return {lesion: value for lesion, value in values.items() if value is not None}


def _means(values: Mapping[Lesion, float]) -> CaseValues:
    by_run: dict[tuple[str, object], list[float]] = {}
    for (run, case, _), value in values.items():
        by_run.setdefault((case, run), []).append(value)
    by_case: dict[str, list[float]] = {}
    for (case, _), own in by_run.items():
        by_case.setdefault(case, []).append(sum(own) / len(own))
    return {case: sum(means) / len(means) for case, means in by_case.items()}
