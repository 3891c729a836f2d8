"""Finds cases that were taken for one patient, or for many, against what their names suggest."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

from mets3d.data.case_summary import CaseSummary
from mets3d.data.cases import Finding
from mets3d.data.wording import WHOLE_SET
from mets3d.settings import Data
from mets3d.wording import for_example

MOST_TIME_POINTS = 20  # of a patient; BraTS-METS has at most 7
LEAST_CASES = 3
FEW = 8  # cases that share a stem on average, for the last part of a name to look like a time point
ADVICE = "say who is who in data.patients: a pattern with one group, or a file `case,patient`"


def patient_findings(summaries: Sequence[CaseSummary], data: Data) -> list[Finding]:
    """Returns the findings about who is whose patient; none where `data.patients` says it."""
    if data.patients is not None or len(summaries) < LEAST_CASES:
        return []
    cases = Counter(summary.patient for summary in summaries)
    if len(cases) == 1:
        detail = f"all {len(summaries):,} cases count as time points of the patient {summaries[0].patient}"
        return [Finding(WHOLE_SET, "warning", "a single patient", f"{detail}, so no folds can be made", ADVICE)]
    if len(cases) == len(summaries):
        return _alone([summary.name for summary in summaries])
    return [
        Finding(WHOLE_SET, "warning", "a patient with many cases", f"{patient} has {count:,} time points", ADVICE)
        for patient, count in cases.most_common()
        if count > MOST_TIME_POINTS
    ]


def _alone(names: Sequence[str]) -> list[Finding]:
    """Judges patients with one case each: are there several names that differ in their last part alone?"""
    stems = defaultdict(list)
    for name in names:
        stem, last = _without_last_part(name)
        stems[stem].append(last)
    # A stem without a number, as of siteA-001, is no patient's.
    shared = {stem: lasts for stem, lasts in stems.items() if len(lasts) > 1 and re.search(r"\d", stem)}
    in_common = sum(len(lasts) for lasts in shared.values())
    repeated = any(set(one) & set(other) for one, other in pairwise(shared.values()))
    if len(shared) < 2 or not repeated or in_common > FEW * len(shared):
        return []
    examples = [f"{stem}.. in {len(lasts)} cases" for stem, lasts in shared.items()]
    detail = f"{len(names):,} cases count as as many patients, though names share a stem: {for_example(examples)}"
    return [Finding(WHOLE_SET, "warning", "patients all alone?", detail, f"{ADVICE}, if these are time points")]


def _without_last_part(name: str) -> tuple[str, str]:
    """Splits a name before its last run of digits or of letters: ("P01_t", "1") of P01_t1, ("0101", "a") of 0101a."""
    found = re.fullmatch(r"(.*?)(\d+|[^\W\d_]+)[\W_]*", name)
    return (found[1].rstrip("-_. "), found[2]) if found else (name, "")
