"""Patients that look wrong."""

from dataclasses import replace

import pytest

from mets3d.data.cases import Finding
from mets3d.data.set_findings.patients import patient_findings
from mets3d.settings import Data
from tests.builders.summaries import summary


def judged(patients: dict[str, str], data: Data | None = None) -> list[Finding]:
    cases = [replace(summary(1), name=name, patient=patient) for name, patient in patients.items()]
    return patient_findings(cases, data or Data())


def alone(*names: str) -> list[str]:
    return [finding.what for finding in judged({name: name for name in names})]


def test_all_one() -> None:
    (finding,) = judged({f"own-{number}": "own" for number in range(60)})
    assert (finding.case, finding.severity, finding.what) == ("all cases", "warning", "a single patient")
    assert "60 cases" in finding.detail
    assert "data.patients" in finding.advice


@pytest.mark.parametrize(
    "names",
    [
        ("P01_t0", "P01_t1", "P02_t0", "P02_t1"),
        ("pat1-pre", "pat1-post", "pat2-pre", "pat2-post", "pat3-pre"),
        ("7a", "7b", "8a", "8b"),
    ],
)
def test_all_alone_though_names_share_a_stem(names: tuple[str, ...]) -> None:
    assert alone(*names) == ["patients all alone?"]


@pytest.mark.parametrize(
    "names",
    [
        tuple(f"sub-{number:03d}" for number in range(6)),
        ("siteA-001", "siteA-002", "siteB-001", "siteB-002"),
        ("hans", "grete", "tick", "trick"),
        tuple(f"BraTS-MET-{number:05d}-000" for number in range(5)),
        tuple(f"centre{centre}-{number:03d}" for centre in (1, 2) for number in range(30)),
    ],
)
def test_plain_names_are_silent(names: tuple[str, ...]) -> None:
    assert alone(*names) == []


def test_a_patient_with_many_time_points() -> None:
    patients = {f"A-{number}": "A" for number in range(21)} | {"B-0": "B"}
    assert [finding.what for finding in judged(patients)] == ["a patient with many cases"]


def test_what_is_said_is_believed() -> None:
    assert judged({f"own-{number}": "own" for number in range(60)}, Data(patients="(own)")) == []


def test_two_cases_of_one_patient_are_silent() -> None:
    assert judged({"A-0": "A", "A-1": "A"}) == []
