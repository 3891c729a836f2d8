"""Averages scores over the lesions that two methods both found, which hold no penalty for missed or false lesions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mets3d.evaluation.tables import Row
from mets3d.statistics.score_table import CaseValues, finite

Lesion = tuple[str, str]  # case, number of the lesion in the reference


def means_of_shared_lesions(
    reference: Sequence[Row], method: Sequence[Row], score: str
) -> tuple[CaseValues, CaseValues]:
    """Returns the mean of a score per case, for both methods, over the reference lesions that both found.

    The rows are those of lesions.csv in one region. A lesion without a value of the score counts as not found.
    """
    found = [_found(rows, score) for rows in (reference, method)]
    shared = [lesion for lesion in found[0] if lesion in found[1]]
    first, second = (_means({lesion: values[lesion] for lesion in shared}) for values in found)
    return first, second


def _found(rows: Sequence[Row], score: str) -> dict[Lesion, float]:
    values = {(row["case"], row["lesion"]): finite(row.get(score)) for row in rows if row["kind"] == "found"}
    return {lesion: value for lesion, value in values.items() if value is not None}


def _means(values: Mapping[Lesion, float]) -> CaseValues:
    by_case: dict[str, list[float]] = {}
    for (case, _), value in values.items():
        by_case.setdefault(case, []).append(value)
    return {case: sum(own) / len(own) for case, own in by_case.items()}
