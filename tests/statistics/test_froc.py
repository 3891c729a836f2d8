"""The FROC curve by hand."""

from __future__ import annotations

from typing import Any

import pytest

from mets3d.statistics.froc import froc_curve

Row = dict[str, Any]


def row(case: str, threshold: float, found: int, missed: int, false: int) -> Row:
    counts = {"lesions_found": found, "lesions_missed": missed, "lesions_false": false}
    return {"case": case, "region": "ET", "threshold": threshold, **counts}


POINTS = [
    *(row("P-0-000", 0.2, 4, 0, 5), row("P-0-000", 0.5, 3, 1, 2), row("P-0-000", 0.9, 1, 3, 0)),
    *(row("P-1-000", 0.2, 1, 1, 3), row("P-1-000", 0.5, 0, 2, 0)),  # no 0.9
    *(row("P-2-000", 0.2, 0, 0, 1), row("P-2-000", 0.5, 0, 0, 1)),
]


def test_points_by_hand() -> None:
    points = froc_curve(POINTS)
    assert [point.threshold for point in points] == [0.2, 0.5]  # 0.9 is not there for all
    # 0.2: 5 of 6 lesions found, 9 false in 3 patients; 0.5: 3 of 6 found, 3 false
    assert [(point.sensitivity, point.false_per_patient) for point in points] == [(5 / 6, 3.0), (0.5, 1.0)]
    assert [point.f1 for point in points] == pytest.approx([2 * 5 / (5 + 6 + 9), 2 * 3 / (3 + 6 + 3)])


def test_false_ones_are_counted_a_patient_not_a_time_point() -> None:
    times = [point | {"case": {"P-1-000": "P-0-001"}.get(point["case"], point["case"])} for point in POINTS]
    assert [point.false_per_patient for point in froc_curve(times)] == [9 / 2, 3 / 2]


def test_without_a_lesion_there_is_no_curve() -> None:
    assert froc_curve([point for point in POINTS if point["case"] == "P-2-000"]) == []
    assert froc_curve([]) == []
