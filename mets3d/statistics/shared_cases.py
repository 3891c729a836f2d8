"""Finds the cases that several tables have in common."""

from __future__ import annotations

from collections.abc import Iterable


def shared_cases(tables: Iterable[Iterable[str]]) -> list[str]:
    """Returns the cases, by name, that every one of the tables has; none where there is no table."""
    sets = [set(cases) for cases in tables]
    return sorted(set.intersection(*sets)) if sets else []
