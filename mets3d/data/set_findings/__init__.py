"""Finds what no single case shows: faults of the whole data set, from the summaries of its cases.

`check` and `preprocess` both call `set_findings`, so that neither refuses what the other accepts.
"""

from __future__ import annotations

from collections.abc import Sequence

from mets3d.data.case_summary import CaseSummary
from mets3d.data.cases import Finding
from mets3d.data.set_findings.contrasts import contrast_findings
from mets3d.data.set_findings.copies import copy_findings
from mets3d.data.set_findings.geometry import geometry_findings
from mets3d.data.set_findings.labels import meaning_findings
from mets3d.data.set_findings.patients import patient_findings
from mets3d.settings import Data


def set_findings(summaries: Sequence[CaseSummary], data: Data) -> list[Finding]:
    """Returns the findings about the whole set. One about no single case has WHOLE_SET in the place of its name.

    An error about the whole set means that no case with a reference can be used.
    """
    meaning = meaning_findings(summaries)
    known = all(finding.severity != "error" for finding in meaning)  # else no label tells which tissue is where
    return [
        *meaning,
        *(contrast_findings(summaries) if known else []),
        *copy_findings(summaries),
        *geometry_findings(summaries),
        *patient_findings(summaries, data),
    ]
