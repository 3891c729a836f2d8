"""Sequences under each other's names."""

from typing import Any

from mets3d.data.case_summary import CaseSummary
from mets3d.data.set_findings import set_findings
from mets3d.data.set_findings.contrasts import contrast_findings
from mets3d.settings import Data
from tests.builders.summaries import LEVELS, relabelled, summary


def swapped(number: int, one: str, other: str, **changes: Any) -> CaseSummary:
    return summary(number, levels={**LEVELS, one: LEVELS[other], other: LEVELS[one]}, **changes)


def test_the_right_names_are_silent() -> None:
    assert contrast_findings([summary(number) for number in range(3)]) == []


def test_t1_swapped_over_the_set_is_told_once() -> None:
    (finding,) = contrast_findings([swapped(number, "t1n", "t1c") for number in range(4)])
    assert (finding.case, finding.severity, finding.what) == ("all cases", "warning", "t1n and t1c swapped?")
    assert "2.8 standard deviations" in finding.detail  # -0.3 against 2.5
    assert "4 of 4 cases" in finding.detail


def test_t1_swapped_in_one_case_names_it() -> None:
    (finding,) = contrast_findings([summary(1), summary(2), swapped(3, "t1n", "t1c")])
    assert (finding.case, finding.severity) == ("BraTS-MET-00003-000", "warning")


def test_a_tumour_that_bled_is_silent() -> None:
    levels = {**LEVELS, "t1n": {3: 1.4}, "t1c": {3: 0.9}}
    assert contrast_findings([summary(1), summary(2, levels=levels)]) == []


def test_few_voxels_are_not_judged() -> None:
    assert contrast_findings([swapped(number, "t1n", "t1c", label_voxels={3: 49}) for number in range(4)]) == []


def test_t2_swapped_needs_three_cases() -> None:
    cases = [swapped(number, "t2w", "t2f") for number in range(3)]
    assert [finding.what for finding in contrast_findings(cases)] == ["t2w and t2f swapped?"]
    assert contrast_findings(cases[:2]) == []


def test_where_labels_are_in_doubt_no_sequence_is() -> None:
    cases = [relabelled(number, {1: 3, 3: 1}) for number in range(3)]
    assert [finding.what for finding in set_findings(cases, Data())] == ["labels in another order"]
