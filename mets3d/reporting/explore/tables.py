"""Writes the page's small tables: they scroll sideways by themselves where the page is narrow, by keyboard too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from mets3d.data.describe_summary import share
from mets3d.reporting.explore.words import share_text
from mets3d.reporting.html_table import heading_cell, number_cell, table, table_row

MOST_ROWS = 10  # of a table of kinds; the rest are summed up


def scrolled(html: str, name: str, kind: str = "wide") -> str:
    """Puts a table into a box that scrolls; `name` is text for those who cannot see it."""
    return f'<div class="{kind}" role="region" aria-label="{escape(name)}" tabindex="0">{html}</div>'


def plain_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Writes a table of texts whose first column names the row and whose others are numbers."""
    cells = (table_row([heading_cell(name), *map(number_cell, others)]) for name, *others in rows)
    return scrolled(table(escape(title), headings, cells), title)


def kinds_table(title: str, heading: str, kinds: Sequence[tuple[str, int]], noun: str = "Cases") -> str:
    """Writes amounts of each kind, most frequent first, each with its share as number and bar."""
    total = sum(amount for _, amount in kinds)
    shown, rest = kinds[:MOST_ROWS], kinds[MOST_ROWS:]
    if len(rest) > 1:
        shown = [*shown, (f"{len(rest)} others", sum(amount for _, amount in rest))]
    elif rest:
        shown = kinds
    rows = (
        table_row(
            [
                heading_cell(name),
                number_cell(f"{amount:,}"),
                number_cell(share_text(amount, total)),
                _bar(amount, total),
            ]
        )
        for name, amount in shown
    )
    body = table(escape(title), [heading, noun, "Share"], rows)
    head = '<th scope="col">Share</th>'
    return scrolled(body.replace(head, '<th scope="col" colspan="2">Share</th>'), title)


def _bar(part: int, whole: int) -> str:
    return f'<td class="bar"><i style="width:{100 * share(part, whole):.1f}%"></i></td>'
