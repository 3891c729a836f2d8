"""Writes findings as a table that fits a screen: one row a case where few have it, else a count and examples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from mets3d.data.cases import Finding, Severity

ORDER: tuple[Severity, ...] = ("error", "warning", "note")
FEW = 3  # cases of a kind that are shown each; of more as many examples
LONGEST = 24  # characters of a case's name that widen the column; a longer name moves its own row
Row = tuple[str, str, str, str]


def findings_table(findings: Sequence[Finding]) -> list[str]:
    """Returns the findings in columns, worst first and grouped by kind.

    A kind that more than three cases have is one row with their number, and under it three examples.
    """
    kinds: dict[tuple[Severity, str], dict[str, list[Finding]]] = defaultdict(lambda: defaultdict(list))
    for finding in findings:
        kinds[finding.severity, finding.what][finding.case].append(finding)
    rows: list[Row] = [("case", "severity", "finding", "detail")]
    for kind in sorted(kinds, key=lambda kind: ORDER.index(kind[0])):
        rows += _rows(*kind, kinds[kind])
    widths = [max((len(row[column]) for row in rows if len(row[column]) <= LONGEST), default=0) for column in range(3)]
    return ["  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3]]) for row in rows]


def _rows(severity: Severity, what: str, cases: dict[str, list[Finding]]) -> list[Row]:
    """Returns the rows of one kind."""
    if len(cases) <= FEW:
        return [(name, severity, what, _told(found)) for name, found in sorted(cases.items())]
    examples = sorted(cases.items())[:FEW]
    advice = {finding.advice for found in cases.values() for finding in found}
    common = next(iter(advice)) if len(advice) == 1 else ""
    head = (f"{len(cases):,} cases", severity, what, "; ".join(filter(None, [common, "for example"])))
    return [head, *((f"  {name}", severity, what, _told(found, common)) for name, found in examples)]


def _told(found: Sequence[Finding], told: str = "") -> str:
    """Returns the details of one case, and each advice once; not the one that is told already."""
    advice = [finding.advice for finding in found if finding.advice != told]
    return "; ".join(dict.fromkeys(filter(None, [*(finding.detail for finding in found), *advice])))
