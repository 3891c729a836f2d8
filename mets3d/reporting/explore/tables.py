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


def titled(title: str, headings: Sequence[str], rows: Iterable[str], kind: str = "numbers", *, how: str = "") -> str:
    """Writes a table of rows, which are HTML; its title, with `how` to read it, stays in view when it scrolls."""
    below = f" <span>{escape(how)}</span>" if how else ""
    return scrolled(table(f"<b>{escape(title)}{below}</b>", headings, rows, kind), title)


def plain_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], *, how: str = "") -> str:
    """Writes a table of texts whose first column names the row and whose others are numbers."""
    cells = (table_row([heading_cell(name), *map(number_cell, others)]) for name, *others in rows)
    return titled(title, headings, cells, how=how)


def kinds_table(title: str, heading: str, kinds: Sequence[tuple[str, int]], noun: str = "Cases") -> str:
    """Writes amounts of each kind, most frequent first, each with its share as number and bar."""
    total = sum(amount for _, amount in kinds)
    shown, rest = list(kinds[:MOST_ROWS]), kinds[MOST_ROWS:]
    if len(rest) == 1:
        shown += rest
    elif rest:
        shown.append((f"{len(rest)} others", sum(amount for _, amount in rest)))
    return titled(title, [heading, noun, "Share"], (_kind(*kind, total) for kind in shown), "numbers bars")


def _kind(name: str, amount: int, total: int) -> str:
    bar = f'<i style="width:{100 * share(amount, total):.1f}%"></i>'
    cell = f'<td class="n"><span>{share_text(amount, total)}</span>{bar}</td>'
    return table_row([heading_cell(name), number_cell(f"{amount:,}"), cell])
