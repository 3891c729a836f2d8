"""Writes the section on what the check found: findings of one kind together, worst first, with the names of cases."""

from __future__ import annotations

from collections.abc import Sequence

from mets3d.data.cases import Finding
from mets3d.data.describe import DataSet
from mets3d.data.findings_table import ORDER
from mets3d.reporting.explore.words import names_text
from mets3d.reporting.html_page import Section
from mets3d.reporting.html_table import Cell, Heading, Table, row_head
from mets3d.reporting.rendering import render
from mets3d.wording import counted

MOST_DETAILS = 50  # findings of a kind that are written out; all of them are in what `mets3d check` prints


def findings_section(data: DataSet) -> Section:
    """Lists the kinds of findings, and under each its cases."""
    kinds = grouped(data.findings)
    table, details = _table(kinds) if kinds else None, [_details(found) for found in kinds]
    html = render("findings.html", verdict=verdict(data), kinds=table, details=details)
    return Section("findings", "What the check found", html)


def verdict(data: DataSet) -> str:
    """Says in a sentence how many findings there are and how many cases cannot be used."""
    if not data.findings:
        return "No findings: every case can be used."
    amounts = [counted(sum(found.severity == level for found in data.findings), level) for level in ORDER]
    bad = data.report.unusable
    usable = f"{counted(len(bad), 'case')} cannot be used: {names_text(bad)}" if bad else "every case can be used"
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


def _table(kinds: Sequence[Sequence[Finding]]) -> Table:
    rows = [
        [
            Cell(found[0].severity, heads=True, tone=found[0].severity),
            Cell(found[0].what, words=True),
            Cell(f"{len(_cases(found)):,}"),
            Cell(names_text(_cases(found), 3), words=True),
        ]
        for found in kinds
    ]
    words, example = (Heading(text, words=True) for text in ("Finding", "For example"))
    return Table("Findings by kind", ["Severity", words, "Cases", example], rows, kind="kinds")


def _details(found: Sequence[Finding]) -> tuple[str, str, Table, str]:
    """Returns what was found, how often, the first findings by case, and how many others there are."""
    rows = [
        [row_head(finding.case), Cell("; ".join(filter(None, (finding.detail, finding.advice))), words=True)]
        for finding in found[:MOST_DETAILS]
    ]
    rest = len(found) - MOST_DETAILS
    what = found[0].what
    table = Table("", ["Case", Heading("Detail", words=True)], rows, kind="kinds", label=f"{what}, by case")
    return what, f"{len(found):,}", table, counted(rest, "other") if rest > 0 else ""
