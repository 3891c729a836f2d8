"""Finds sequences that were given each other's names, by how bright tumour and oedema are in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from mets3d.data.case_summary import CaseSummary
from mets3d.data.cases import Finding
from mets3d.data.set_findings.labels import gained, uptake
from mets3d.data.wording import WHOLE_SET
from mets3d.regions import ET_LABEL, SNFH
from mets3d.wording import counted

# In standard deviations of the brain. Over a set the median counts. A single tumour that bled, or of melanoma, is
# bright without contrast too: of three real cases one has ET darker in t1c than in t1n by 0.5.
SET_SWAPPED = -0.5
CASE_SWAPPED = -1.0
# Oedema is brighter in t2f than in t2w by 1.2 to 1.5 in three real cases. Single cases vary; sets of three do not.
OEDEMA_SWAPPED = -0.3
LEAST_CASES = 3


def contrast_findings(summaries: Sequence[CaseSummary]) -> list[Finding]:
    """Returns the findings about t1n and t1c, over the set or in single cases that differ from it, and t2w and t2f."""
    return [*_t1(summaries), *_t2(summaries)]


def _t1(summaries: Sequence[CaseSummary]) -> list[Finding]:
    """Enhancing tumour takes up contrast: it must be brighter in t1c than in t1n, against the brain around it."""
    gains = {summary.name: gain for summary in summaries if (gain := uptake(summary, ET_LABEL)) is not None}
    if len(gains) > 1 and median(gains.values()) < SET_SWAPPED:
        return [_swapped("t1n", "t1c", "enhancing tumour", gains)]
    advice = "exchange the two files if a look at them shows it"
    return [
        Finding(name, "warning", "t1n and t1c swapped?", _darker("enhancing tumour", -gain, "t1n", "t1c"), advice)
        for name, gain in gains.items()
        if gain < CASE_SWAPPED
    ]


def _t2(summaries: Sequence[CaseSummary]) -> list[Finding]:
    """Liquor widens the scale of t2w and is dark in t2f: oedema must stand out more in t2f."""
    gains = {}
    for summary in summaries:
        gain = gained(summary, SNFH, "t2w", "t2f")
        if gain is not None:
            gains[summary.name] = gain
    if len(gains) < LEAST_CASES or not median(gains.values()) < OEDEMA_SWAPPED:
        return []
    return [_swapped("t2w", "t2f", "oedema", gains)]


def _swapped(bright: str, dark: str, tissue: str, gains: Mapping[str, float]) -> Finding:
    """Returns the finding that over the set a tissue is brighter in the wrong one of two sequences."""
    cases = sum(gain < 0 for gain in gains.values())
    detail = (
        f"{_darker(tissue, -median(gains.values()), bright, dark)} in the median, "
        f"so in {cases:,} of {counted(len(gains), 'case')}"
    )
    advice = f"rename the files, or name them in a dataset.yaml: what is called {bright} is probably {dark}"
    return Finding(WHOLE_SET, "warning", f"{bright} and {dark} swapped?", detail, advice)


def _darker(tissue: str, by: float, bright: str, dark: str) -> str:
    return f"{tissue} is {by:.1f} standard deviations of the brain brighter in {bright} than in {dark}"
