"""Cases that several tables have in common."""

from __future__ import annotations

from mets3d.statistics.shared_cases import shared_cases


def test_shared_cases_are_in_every_table() -> None:
    assert shared_cases([["C", "A", "B"], ["B", "C", "D"], ("B", "C")]) == ["B", "C"]
    assert shared_cases([["A"], []]) == []
    assert shared_cases([]) == []
