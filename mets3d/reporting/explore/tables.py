"""Makes the small tables of the page about a data set."""

from __future__ import annotations

from collections.abc import Sequence

from mets3d.data.describe_summary import share
from mets3d.reporting.explore.words import share_text
from mets3d.reporting.html_table import Cell, Table, row_head

MOST_ROWS = 10  # of a table of kinds; the rest are summed up


def plain_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], *, how: str = "") -> Table:
    """Returns a table of texts whose first column names the row and whose others are numbers."""
    return Table(title, headings, [[row_head(name), *map(Cell, others)] for name, *others in rows], how)


def kinds_table(title: str, heading: str, kinds: Sequence[tuple[str, int]], noun: str = "Cases") -> Table:
    """Returns amounts of each kind, most frequent first, each with its share as number and bar."""
    total = sum(amount for _, amount in kinds)
    shown, rest = list(kinds[:MOST_ROWS]), kinds[MOST_ROWS:]
    if len(rest) == 1:
        shown += rest
    elif rest:
        shown.append((f"{len(rest)} others", sum(amount for _, amount in rest)))
    rows = [
        [row_head(name), Cell(f"{amount:,}"), Cell(share_text(amount, total), bar=100 * share(amount, total))]
        for name, amount in shown
    ]
    return Table(title, [heading, noun, "Share"], rows, kind="numbers bars")
