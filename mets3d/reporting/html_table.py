"""Describes the page's tables, which the template `table.html` writes.

Every column has one number of decimals, so that right alignment aligns the decimal points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mets3d.evaluation.scores import Score
from mets3d.regions import Region
from mets3d.reporting.rendering import render
from mets3d.reporting.sentences import number


@dataclass(frozen=True)
class Cell:
    """A cell, of a number where it is not of `words` and does not head its row; its texts are not yet escaped.

    after: smaller, behind the text or beneath it. order: what its column is sorted by, where the text is no number.
    bar: percent. tone: `error`, `warning` or `note`.
    """

    text: str
    words: bool = False
    heads: bool = False
    after: str = ""
    order: float | str | None = None
    colour: str = ""
    href: str = ""
    rows: int = 1
    columns: int = 1
    bar: float | None = None
    code: bool = False
    tone: str = ""


@dataclass(frozen=True)
class Heading:
    """A heading of a column, or of a group of `columns`; sorted: `ascending` or `descending` where the rows are."""

    text: str
    words: bool = False
    columns: int = 1
    colour: str = ""
    sorted: str = ""


@dataclass(frozen=True)
class Table:
    """A table as `table.html` writes it; its texts are not yet escaped.

    headings: a text heads a column of numbers, the first one of words. groups: a row above them. how: how to read it,
    behind the title. label: its name for those who do not see it, where there is no title. rows_are: what its rows
    are, as in `cases`; such a table sorts and filters, and has no cell over several rows or columns.
    """

    title: str
    headings: Sequence[str | Heading]
    rows: Sequence[Sequence[Cell]]
    how: str = ""
    kind: str = "numbers"
    label: str = ""
    groups: Sequence[Heading] = ()
    rows_are: str = ""
    tall: bool = False


def row_head(text: str) -> Cell:
    """Returns the first cell of a row, which names it."""
    return Cell(text, heads=True)


def region_heading(region: Region) -> Heading:
    """Returns the heading of a region's column, with a patch of its colour."""
    return Heading(region.name, colour=region.colour)


def region_head(region: Region, rows: int = 1) -> Cell:
    """Returns the first cell of a region's row or rows, with a patch of its colour."""
    return Cell(region.name, heads=True, colour=region.colour, rows=rows)


def flow(*parts: str | Table | Markup | None) -> Markup:
    """Writes what follows one another: texts as paragraphs, tables, and HTML; what is empty is left out."""
    return render("flow.html", parts=[part for part in parts if part])


def direction(score: Score, *, per_case: bool = False) -> str:
    """Says how to read a score: unit and which way is better; `per_case` is for means of counts."""
    unit = score.unit or ("mean per case" if per_case else "")
    return ", ".join(filter(None, (unit, f"{score.better} is better" if score.better else "")))


def spanned(interval: tuple[float, float] | None, digits: int, *, sign: bool = False) -> str:
    """Writes an interval as in `0.51 to 0.62`; a dash where there is none."""
    return " to ".join(number(bound, digits, sign=sign) for bound in interval or ()) or "–"
