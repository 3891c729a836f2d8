"""Parts of the page's tables as HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from mets3d.regions import Region
from mets3d.reporting.sentences import number


def table(title: str, headings: Sequence[str], rows: Iterable[str], kind: str = "numbers") -> str:
    """`title` is HTML; headings are text."""
    caption = f"<caption>{title}</caption>" if title else ""
    head = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    thead = f"<thead><tr>{head}</tr></thead>" if headings else ""
    return f'<table class="{kind}">{caption}{thead}<tbody>{"".join(rows)}</tbody></table>'


def table_row(cells: Iterable[str]) -> str:
    return f"<tr>{''.join(cells)}</tr>"


def region_cell(region: Region) -> str:
    return f'<th scope="row"><i style="background:{region.colour}"></i>{escape(region.name)}</th>'


def number_cell(text: str, *, first: bool = False) -> str:
    kind = "n start" if first else "n"
    return f'<td class="{kind}">{escape(text)}</td>'


def text_cell(text: str) -> str:
    return f"<td>{escape(text)}</td>"


def spanned(interval: tuple[float, float] | None, digits: int, *, sign: bool = False) -> str:
    """An interval as in `0.51 to 0.62`; a dash where there is none."""
    return " to ".join(number(bound, digits, sign=sign) for bound in interval or ()) or "–"
