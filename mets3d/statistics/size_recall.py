"""Computes recall by lesion size: reference lesions found and missed, by class of volume, over all cases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mets3d.evaluation.lesions import SIZE_EDGES_MM3
from mets3d.evaluation.region_scores import size_class, size_classes
from mets3d.evaluation.scores import split_by_size
from mets3d.evaluation.tables import Row
from mets3d.statistics.intervals import FEWEST_PATIENTS, Interval, proportion_interval
from mets3d.statistics.pooled_runs import RUN
from mets3d.statistics.score_table import columns_of, finite, patients_in, values_of

CaseCounts = dict[str, float]  # case -> lesions


@dataclass(frozen=True)
class SizeRecall:
    """Lesions of one size class over all cases: `interval` as in `intervals.proportion_interval`.

    Of an arm with several runs the counts are means over them, and need not be whole.
    """

    size_class: str
    found: float
    missed: float
    cases: int  # with a lesion of this class
    interval: Interval | None

    @property
    def lesions(self) -> float:
        """Lesions of the reference, found or missed; above 0."""
        return self.found + self.missed

    @property
    def recall(self) -> float:
        """Share of the lesions that were found."""
        return self.found / self.lesions


def recall_by_size(
    rows: Sequence[Row], lesion_rows: Sequence[Row] = (), *, fewest: int = FEWEST_PATIENTS
) -> list[SizeRecall]:
    """Returns the share of lesions found by size class, smallest first, of one region's rows.

    Classes without a lesion are absent. The counts are the columns found_CLASS and missed_CLASS where `rows` have
    them, else those of `lesion_rows` of the same cases. Below `fewest` patients there is no interval.
    """
    counted = _counted_columns(rows) or _counted_lesions(rows, lesion_rows)
    patients = patients_in(rows)
    recalls = []
    for name in sorted(counted, key=_lower_edge):
        found, missed = counted[name]
        cases = sorted(case for case in found.keys() | missed.keys() if found.get(case, 0) + missed.get(case, 0))
        if not cases:
            continue
        hits = np.array([found.get(case, 0) for case in cases], np.float64)
        totals = hits + np.array([missed.get(case, 0) for case in cases], np.float64)
        interval = proportion_interval(hits, totals, cases, patients, fewest=fewest)
        recalls.append(SizeRecall(name, float(hits.sum()), float((totals - hits).sum()), len(cases), interval))
    return recalls


def size_classes_of(rows: Sequence[Row], lesion_rows: Sequence[Row] = ()) -> list[str]:
    """Returns the names of all size classes that the tables count by, smallest first, those without a lesion too.

    Lesions that name no class, as in tables of earlier versions, are counted by the classes of SIZE_EDGES_MM3.
    """
    usual = size_classes(SIZE_EDGES_MM3)
    names = set(_counted_columns(rows)) or {row["size_class"] for row in lesion_rows if row.get("size_class")}
    return usual if names <= set(usual) else sorted(names, key=_lower_edge)


def ordered_classes(names: Iterable[str]) -> list[str]:
    """Returns the names of size classes, each once, the smallest first."""
    return sorted(set(names), key=_lower_edge)


def size_edges_mm3(classes: Sequence[str]) -> list[float]:
    """Returns the volumes at which one size class ends and the next begins, ascending."""
    return sorted(edge for edge in map(_lower_edge, classes) if edge > 0)


def _counted_columns(rows: Sequence[Row]) -> dict[str, tuple[CaseCounts, CaseCounts]]:
    """Returns class -> (case -> found, case -> missed) from the columns of scores.csv."""
    by_size = filter(None, map(split_by_size, columns_of(rows)))
    classes = [size for kind, size in by_size if kind == "found"]
    return {name: (values_of(rows, f"found_{name}"), values_of(rows, f"missed_{name}")) for name in classes}


def _counted_lesions(rows: Sequence[Row], lesion_rows: Sequence[Row]) -> dict[str, tuple[CaseCounts, CaseCounts]]:
    """Returns class -> (case -> found, case -> missed) from one row per lesion, and per run where there are several."""
    cases = {row["case"] for row in rows}
    counting = [row for row in lesion_rows if row["case"] in cases and row["kind"] in ("found", "missed")]
    runs: dict[str, set[object]] = {}
    for row in counting:
        runs.setdefault(row["case"], set()).add(row.get(RUN))
    counted: dict[str, tuple[CaseCounts, CaseCounts]] = {}
    for row in counting:
        volume_mm3 = finite(row.get("reference_volume_mm3"))
        if volume_mm3 is None:
            continue
        by_kind = counted.setdefault(row.get("size_class") or size_class(volume_mm3, SIZE_EDGES_MM3), ({}, {}))
        kind = by_kind[row["kind"] == "missed"]
        kind[row["case"]] = kind.get(row["case"], 0) + 1 / len(runs[row["case"]])
    return counted


def _lower_edge(name: str) -> float:
    return 0.0 if name.startswith("below_") else float(name.removeprefix("from_").partition("_to_")[0])
