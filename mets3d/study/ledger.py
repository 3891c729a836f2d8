"""Keeps the ledger of a study: every use of test cases, which is allowed once, and what a page has to say of it.

    ledger.json    {"uses": [...], "remarks": [...]}
    a use          begun, ended (null: not yet), command, data, cases (name -> digest of its files), runs (name ->
                   SHA-256 of the weights), again
    remarks        sentences for the head of the page, see `mets3d.reporting`; none while the cases were used once

Two uses are of the same cases where a name or the content of a case is in both. A use counts from its first case on,
and what was interrupted is one use with what goes on from it.
"""

from __future__ import annotations

import hashlib
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from mets3d.data.cases import Case
from mets3d.files import OBJECTS, read_object, sha256_of, write_json
from mets3d.study.folder import StudyDir
from mets3d.wording import counted


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


class UsedError(ValueError):
    """Test cases that a study has used already."""

    exit_code = 1


@dataclass
class Use:
    """One use of test cases."""

    data: str
    cases: dict[str, str]
    runs: dict[str, str]
    again: bool = False
    begun: str = field(default_factory=_now)
    ended: str | None = None
    command: str = field(default_factory=lambda: shlex.join(sys.argv))

    def shares_cases_with(self, other: Use) -> bool:
        """Returns whether a case is in both, by its name or by its content."""
        return bool(self.cases.keys() & other.cases.keys() or set(self.cases.values()) & set(other.cases.values()))

    def goes_on_from(self, other: Use) -> bool:
        """Returns whether this is another, interrupted one, started again."""
        return other.ended is None and (self.cases, self.runs) == (other.cases, other.runs)


def begin_use(study: StudyDir, use: Use) -> None:
    """Writes a use into the ledger before its first case; one that goes on is there already.

    Raises UsedError where the cases were used before, unless `use.again`; ValueError for a ledger that is broken.
    """
    uses = read_uses(study)
    if any(use.goes_on_from(earlier) for earlier in uses):
        return
    before = [earlier for earlier in uses if use.shares_cases_with(earlier)]
    if before and not use.again:
        last = before[-1]
        shared = len(use.cases.keys() & last.cases.keys()) or "some"
        raise UsedError(
            f"{study.ledger}: {shared} of {counted(len(use.cases), 'test case')} used before, on {last.begun}, for "
            f"{counted(len(last.runs), 'run')} ({last.command}). What is chosen after a look at them is fitted to "
            "them; take cases that nobody has seen, or say --again, and the page will say that they were used before"
        )
    _write(study, [*uses, use])


def end_use(study: StudyDir, use: Use) -> None:
    """Notes that a use, or the one that it goes on from, has come to its end."""
    uses = read_uses(study)
    for earlier in uses:
        if use.goes_on_from(earlier):
            earlier.ended = _now()
    _write(study, uses)


def read_uses(study: StudyDir) -> list[Use]:
    """Reads the uses so far. Raises ValueError for a ledger that cannot be read: it is no ledger that says nothing."""
    if not study.ledger.exists():
        return []
    rows = read_object(study.ledger, {"uses": OBJECTS}, advice="bring it back from a copy")["uses"]
    try:
        return [Use(**row) for row in rows]
    except TypeError:
        raise ValueError(f"{study.ledger}: a use with other entries than this version writes") from None


def digests(cases: Iterable[Case], progress: Callable[[int, int, str], None]) -> dict[str, str]:
    """Returns the digest of each case: of the content of its files, whatever they are called."""
    every = list(cases)
    found = {}
    for number, case in enumerate(every, 1):
        found[case.name] = hashlib.sha256("".join(sorted(map(sha256_of, case.files))).encode()).hexdigest()
        progress(number, len(every), case.name)
    return found


def _write(study: StudyDir, uses: list[Use]) -> None:
    content: Mapping[str, Any] = {"uses": [asdict(use) for use in uses], "remarks": _remarks(uses)}
    write_json(study.ledger, content)


def _remarks(uses: list[Use]) -> list[str]:
    remarks = []
    for place, use in enumerate(uses):
        before = [earlier for earlier in uses[:place] if use.shares_cases_with(earlier)]
        if before:
            remarks.append(
                f"Test cases were used again: those of {use.data} on {use.begun}, after {before[0].begun}. Whatever "
                "was chosen between the two may be fitted to them, so these scores are not those of unseen cases."
            )
    return remarks
