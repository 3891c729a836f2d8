"""Finds scans that are there twice: two sequences of a case in one file, or one case under two names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

from mets3d.data.case_summary import CaseSummary
from mets3d.data.cases import Finding
from mets3d.wording import for_example


def copy_findings(summaries: Sequence[CaseSummary]) -> list[Finding]:
    """Returns the findings about scans whose voxels are equal, within a case and between cases."""
    return [finding for summary in summaries for finding in _within(summary)] + _between(summaries)


def _within(summary: CaseSummary) -> list[Finding]:
    pairs = [
        f"{one} and {other}"
        for (one, facts), (other, others) in combinations(summary.scans.items(), 2)
        if facts.digest == others.digest and facts.std > 0
    ]
    if not pairs:
        return []
    advice = "one of the two is not what its name says; give the right file, or leave the sequence out"
    detail = f"{', '.join(pairs)} hold the same voxels"
    return [Finding(summary.name, "warning", "duplicated channels", detail, advice)]


def _between(summaries: Sequence[CaseSummary]) -> list[Finding]:
    """Tells of each case what it shares with the first case that has it."""
    first: dict[str, str] = {}
    shared: dict[tuple[str, str], set[str]] = defaultdict(set)
    by_name = {summary.name: summary for summary in summaries}
    for summary in summaries:
        for sequence, facts in summary.scans.items():
            owner = first.setdefault(facts.digest, summary.name)
            if owner != summary.name and facts.std > 0:
                shared[owner, summary.name].add(sequence)
    findings = []
    for (owner, name), sequences in shared.items():
        summary, patient = by_name[name], by_name[owner].patient
        whole = sequences == set(summary.scans)
        listed = for_example([sequence for sequence in summary.scans if sequence in sequences])
        detail = f"{'every scan' if whole else listed} holds the voxels of {owner}"
        if summary.patient != patient:
            detail += f", which is another patient ({patient})"
        what = "case there twice" if whole else "scan of another case"
        advice = "remove one (data.exclude): in training and held out at once it flatters every score"
        findings.append(Finding(name, "warning", what, detail, advice))
    return findings
