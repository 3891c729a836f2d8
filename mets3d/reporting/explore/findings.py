"""Writes the section on what the check found: findings of one kind together, worst first, with the names of cases."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from markupsafe import Markup

from mets3d.data.cases import Finding
from mets3d.data.describe import DataSet
from mets3d.data.findings_table import ORDER
from mets3d.reporting.explore.tables import scrolled, titled
from mets3d.reporting.explore.words import names_text
from mets3d.reporting.html_page import Section
from mets3d.reporting.html_table import heading_cell, number_cell, table, table_row, text_cell
from mets3d.reporting.sentences import count

MOST_DETAILS = 50  # findings of a kind that are written out; all of them are in what `mets3d check` prints


def findings_section(data: DataSet) -> Section:
    """Lists the kinds of findings, and under each its cases."""
    kinds = grouped(data.findings)
    body = _table(kinds) + "".join(_details(found) for found in kinds) if kinds else ""
    html = f"<p>{escape(verdict(data))}</p>{body}"
    return Section("findings", "What the check found", Markup(html))


def verdict(data: DataSet) -> str:
    """Says in a sentence how many findings there are and how many cases cannot be used."""
    if not data.findings:
        return "No findings: every case can be used."
    amounts = [count(sum(found.severity == level for found in data.findings), level) for level in ORDER]
    bad = data.report.unusable
    usable = f"{count(len(bad), 'case')} cannot be used: {names_text(bad)}" if bad else "every case can be used"
    return f"{', '.join(amounts)}; {usable}."


def grouped(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Returns findings of one severity and kind together, worst first, then the most frequent."""
    kinds: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        kinds.setdefault((finding.severity, finding.what), []).append(finding)
    return sorted(kinds.values(), key=_rank)


def _rank(found: Sequence[Finding]) -> tuple[int, int, str]:
    return ORDER.index(found[0].severity), -len(_cases(found)), found[0].what


def _cases(found: Sequence[Finding]) -> list[str]:
    return list(dict.fromkeys(finding.case for finding in found))


def _table(kinds: Sequence[Sequence[Finding]]) -> str:
    rows = (
        table_row(
            [
                f'<th scope="row"><span class="{found[0].severity}">{found[0].severity}</span></th>',
                text_cell(found[0].what),
                number_cell(f"{len(_cases(found)):,}"),
                text_cell(names_text(_cases(found), 3)),
            ]
        )
        for found in kinds
    )
    return titled("Findings by kind", ["Severity", "Finding", "Cases", "For example"], rows, "kinds")


def _details(found: Sequence[Finding]) -> str:
    rows = (
        table_row([heading_cell(finding.case), text_cell("; ".join(filter(None, (finding.detail, finding.advice))))])
        for finding in found[:MOST_DETAILS]
    )
    rest = len(found) - MOST_DETAILS
    more = f'<p class="small">and {count(rest, "other")}; `mets3d check` prints all.</p>' if rest > 0 else ""
    body = scrolled(table("", ["Case", "Detail"], rows, "kinds"), f"{found[0].what}, by case")
    return f"<details><summary>{escape(found[0].what)} ({len(found):,})</summary>{body}{more}</details>"
