"""Lists the cases that cannot be used, each with its reason: as a file, and as lines to print."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

from mets3d.data.cases import Finding
from mets3d.files import write_text
from mets3d.wording import counted

OnError = Literal["skip", "stop"]

MANY_CASES = 20
COLUMNS = ("case", "reason")
SHOWN_ONE_BY_ONE = 12
LONGEST_HEAD = 60  # characters of a reason's first part by which reasons are grouped


def stops(on_error: OnError | None, cases: int) -> bool:
    """Returns whether a case that cannot be used stops the others: as is said, else where they are few."""
    return cases < MANY_CASES if on_error is None else on_error == "stop"


def reason_of(findings: Iterable[Finding]) -> str:
    """Returns the errors among findings about one case as one text."""
    errors = [finding for finding in findings if finding.severity == "error"]
    return " | ".join(f"{error.what}: {'; '.join(filter(None, (error.detail, error.advice)))}" for error in errors)


def write_not_usable(path: Path, reasons: Mapping[str, str]) -> None:
    """Writes the file `case,reason`, completely or not at all; removes one that is there where all can be used.

    It has the form of the file that `data.exclude` names.
    """
    if not reasons:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerows([COLUMNS, *sorted((case, " ".join(reason.split())) for case, reason in reasons.items())])
    write_text(path, text.getvalue())


def not_usable_lines(reasons: Mapping[str, str]) -> list[str]:
    """Returns lines that name the cases with their reasons, or, where they are many, the reasons with their cases."""
    if len(reasons) <= SHOWN_ONE_BY_ONE:
        return [f"{case}: {reason}" for case, reason in sorted(reasons.items())]
    groups: dict[str, list[str]] = {}
    for case, reason in sorted(reasons.items()):
        groups.setdefault(_head(reason), []).append(case)
    largest_first = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    return [f"{head}: {counted(len(cases), 'case')}, {_some(cases)}" for head, cases in largest_first]


def _head(reason: str) -> str:
    """Returns what a reason begins with and shares with others; one that begins with a path shares nothing."""
    head = reason.partition(": ")[0]
    return head if len(head) <= LONGEST_HEAD and "/" not in head else "another reason"


def _some(cases: list[str]) -> str:
    return ", ".join(cases) if len(cases) <= 3 else f"such as {', '.join(cases[:3])}"
