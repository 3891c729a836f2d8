"""Scans that are there twice."""

from dataclasses import replace

from mets3d.data.case_summary import CaseSummary
from mets3d.data.set_findings.copies import copy_findings
from tests.builders.summaries import summary


def test_different_scans_are_silent() -> None:
    assert copy_findings([summary(1), summary(2)]) == []


def with_scan_of(case: CaseSummary, sequence: str, other: CaseSummary, of: str) -> CaseSummary:
    return replace(case, scans={**case.scans, sequence: other.scans[of]})


def test_a_channel_twice() -> None:
    case = with_scan_of(summary(1), "t2w", summary(1), "t2f")
    (finding,) = copy_findings([case, summary(2)])
    assert (finding.case, finding.severity, finding.what) == (case.name, "warning", "duplicated channels")
    assert "t2w and t2f" in finding.detail


def test_a_scan_of_another_case() -> None:
    (finding,) = copy_findings([summary(1), with_scan_of(summary(2), "t1n", summary(1), "t1n")])
    assert (finding.case, finding.what) == ("BraTS-MET-00002-000", "scan of another case")
    assert finding.detail == "t1n holds the voxels of BraTS-MET-00001-000, which is another patient (BraTS-MET-00001)"


def test_a_case_three_times_is_told_of_the_later_two() -> None:
    cases = [replace(summary(number), scans=summary(1).scans) for number in (1, 2, 3)]
    findings = copy_findings(cases)
    assert [(finding.case, finding.what) for finding in findings] == [
        ("BraTS-MET-00002-000", "case there twice"),
        ("BraTS-MET-00003-000", "case there twice"),
    ]


def test_constant_scans_are_no_copies() -> None:
    case = summary(1)
    flat = {sequence: replace(facts, std=0.0, digest="same") for sequence, facts in case.scans.items()}
    assert copy_findings([replace(case, scans=flat), replace(summary(2), scans=flat)]) == []
