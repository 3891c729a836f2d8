"""Looks at references before any long work: a set whose labels mean something else is refused within minutes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from mets3d.data import DataError, Progress
from mets3d.data.case_summary import CaseSummary, described, label_counts, shared_faces
from mets3d.data.cases import Case, Finding
from mets3d.data.check import each_case, examine
from mets3d.data.label_findings import BEYOND, without_unknown
from mets3d.data.reading import read_reference
from mets3d.data.set_findings import set_findings
from mets3d.data.wording import WHOLE_SET
from mets3d.settings import Data

PROBED = 8  # references that are looked at where nothing is suspicious


def misread_labels(cases: Sequence[Case], data: Data, jobs: int, progress: Progress) -> list[Finding]:
    """Returns the errors of the whole set that a few references show, all references confirm, and scans explain."""
    few = cases[:: max(1, -(-len(cases) // PROBED))]
    if not _errors(map(_reference_summary, few), data):
        return []
    if not _errors(each_case(_reference_summary, cases, jobs, progress), data):
        return []
    return _errors((summary for _, summary in each_case(partial(examine, data=data), few, jobs, progress)), data)


def _errors(summaries: Iterable[CaseSummary], data: Data) -> list[Finding]:
    findings = set_findings(list(summaries), data)
    return [finding for finding in findings if (finding.case, finding.severity) == (WHOLE_SET, "error")]


def _reference_summary(case: Case) -> CaseSummary:
    """Summarises a case by its reference alone; one that cannot be read says nothing."""
    try:
        labels = without_unknown(read_reference(case, beyond=BEYOND)).labels
    except (DataError, OSError):
        return described(case, {})
    return replace(described(case, {}), label_voxels=label_counts(labels), faces=shared_faces(labels))
