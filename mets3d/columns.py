"""Defines a column of a table, or a field of a file, with its unit and meaning: declared once, beside what writes it.

The reference of the documentation is made of these declarations.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A column or field: its name, what it holds, and the unit of a number that has one."""

    name: str
    meaning: str
    unit: str = ""


def names_of(columns: Iterable[Column]) -> tuple[str, ...]:
    """Returns the names of columns in their order."""
    return tuple(column.name for column in columns)
