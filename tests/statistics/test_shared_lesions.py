"""Scores of the lesions that two methods both found, by hand."""

from __future__ import annotations

from typing import Any

from mets3d.statistics.shared_lesions import means_of_shared_lesions

Row = dict[str, Any]


def row(case: str, lesion: int, kind: str, hd95: float | str) -> Row:
    return {"case": case, "lesion": str(lesion), "kind": kind, "hd95": hd95}


def test_means_are_over_the_lesions_that_both_found() -> None:
    one = [row("A", 1, "found", 2.0), row("A", 2, "found", 4.0), row("A", 3, "missed", 374.0), row("B", 1, "found", 1)]
    two = [row("A", 1, "found", 1.0), row("A", 2, "found", 2.0), row("A", 3, "found", 5.0), row("B", 1, "missed", 374)]
    assert means_of_shared_lesions(one, two, "hd95") == ({"A": 3.0}, {"A": 1.5})
    assert means_of_shared_lesions(one, [], "hd95") == ({}, {})


def test_a_lesion_without_a_value_is_left_out() -> None:
    one = [row("A", 1, "found", ""), row("A", 2, "found", 4.0), row("B", 1, "found", float("nan"))]
    two = [row("A", 1, "found", 1.0), row("A", 2, "found", 2.0), row("B", 1, "found", 2.0)]
    assert means_of_shared_lesions(one, two, "hd95") == ({"A": 4.0}, {"A": 2.0})
    assert means_of_shared_lesions(one, two, "nsd") == ({}, {})
