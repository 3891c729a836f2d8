"""Lesions of all cases together, by hand."""

from __future__ import annotations

from mets3d.statistics.lesion_counts import LesionCounts, lesion_counts, total
from tests.statistics.test_cohort import FALSE, FOUND, MISSED, rows


def test_counts_are_sums_over_cases() -> None:
    counts = lesion_counts(rows())
    assert counts == LesionCounts(sum(FOUND), sum(MISSED), sum(FALSE))
    assert counts.lesions == 16
    assert counts.recall == 0.5


def test_what_no_case_has_is_none() -> None:
    without = lesion_counts([{"case": "A", "lesions_found": 0, "lesions_missed": 0}])
    assert (without.found, without.lesions, without.recall, without.false) == (0, 0, None, None)
    nothing = lesion_counts([{"case": "A"}])
    assert (nothing.lesions, nothing.recall) == (None, None)
    assert lesion_counts([{"case": "A", "lesions_found": 2}]).recall is None


def test_a_cell_without_a_value_is_left_out() -> None:
    cells = [{"case": "A", "x": 2.0}, {"case": "B", "x": ""}, {"case": "C", "x": 3}]
    assert total(cells, "x") == 5
    assert total(cells[1:2], "x") is None
