"""Writes parts of the page's tables as HTML.

Every column has one number of decimals, so that right alignment aligns the decimal points.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from mets3d.evaluation.scores import Score
from mets3d.regions import Region
from mets3d.reporting.sentences import number


def table(title: str, headings: Sequence[str], rows: Iterable[str], kind: str = "numbers") -> str:
    """Returns a table; `title` and `rows` are HTML, headings are text."""
    caption = f"<caption>{title}</caption>" if title else ""
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    thead = f"<thead><tr>{head}</tr></thead>" if headings else ""
    return f'<table class="{kind}">{caption}{thead}<tbody>{"".join(rows)}</tbody></table>'


def score_title(score: Score, *, per_case: bool = False) -> str:
    """Returns the title of a score's table: name, unit and direction; `per_case` is for means of counts."""
    unit = f"{score.unit}, " if score.unit else "mean per case, " if per_case else ""
    direction = f"{unit}{score.better} is better" if score.better else unit.removesuffix(", ")
    return f"{escape(score.name)} <span>{direction}</span>"


def table_row(cells: Iterable[str]) -> str:
    """Returns a row of cells, which are HTML."""
    return f"<tr>{''.join(cells)}</tr>"


def heading_cell(text: str) -> str:
    """Returns the first cell of a row, which names it."""
    return f'<th scope="row">{escape(text)}</th>'


def region_cell(region: Region) -> str:
    """Returns the first cell of a region's row, with a patch of its colour."""
    return f'<th scope="row"><i style="background:{region.colour}"></i>{escape(region.name)}</th>'


def number_cell(text: str, *, first: bool = False) -> str:
    """Returns a right-aligned cell; `first` leaves more room on the left."""
    kind = "n start" if first else "n"
    return f'<td class="{kind}">{escape(text)}</td>'


def text_cell(text: str) -> str:
    """Returns a left-aligned cell."""
    return f"<td>{escape(text)}</td>"


def spanned(interval: tuple[float, float] | None, digits: int, *, sign: bool = False) -> str:
    """Writes an interval as in `0.51 to 0.62`; a dash where there is none."""
    return " to ".join(number(bound, digits, sign=sign) for bound in interval or ()) or "–"
