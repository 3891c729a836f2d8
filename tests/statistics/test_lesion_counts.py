"""Lesions of all cases together, by hand."""

from __future__ import annotations

from mets3d.evaluation.scores import shown_in
from mets3d.statistics.lesion_counts import (
    COUNTS,
    LesionCounts,
    lesion_counts,
    means_shown_in,
    share_with_penalty,
    total,
)
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


def test_a_case_with_a_missed_or_a_false_lesion_has_a_penalty() -> None:
    cells = [("A", 0, 0), ("B", 1, 0), ("C", 0, 2), ("D", 3, 3), ("E", "", 1)]
    table = [{"case": case, "lesions_missed": missed, "lesions_false": false} for case, missed, false in cells]
    assert share_with_penalty(table) == 0.75  # E is not known
    assert share_with_penalty(table[:1]) == 0.0
    assert share_with_penalty([]) == 0.0


def test_all_scores_but_the_counts_are_means() -> None:
    assert {score.column for score in COUNTS} == {"lesions_found", "lesions_missed", "lesions_false"}
    assert {score.column for score in (*means_shown_in("page"), *COUNTS)} == {
        score.column for score in shown_in("page")
    }
