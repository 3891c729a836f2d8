"""What the labels mean, judged over a set."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from mets3d.data.cases import Finding
from mets3d.data.set_findings.labels import meaning_findings
from tests.builders.summaries import relabelled, summary


def judged(integers: Mapping[int, int], cases: int = 3, **changes: Any) -> list[Finding]:
    return meaning_findings([relabelled(number, integers, **changes) for number in range(cases)])


def map_of(findings: Sequence[Finding]) -> dict[int, int]:
    """The map that the only finding advises."""
    (finding,) = findings
    written = finding.advice.partition("{")[2].partition("}")[0]
    return {int(entry.split(":")[0]): int(entry.split(":")[1]) for entry in written.split(",")}


def test_our_own_labels_are_silent() -> None:
    assert judged({}) == []


def test_four_in_the_place_of_three_is_an_error_with_its_map() -> None:
    findings = judged({3: 4})
    assert map_of(findings) == {4: 3}
    assert (findings[0].case, findings[0].severity, findings[0].what) == ("all cases", "error", "no enhancing tumour")


def test_a_single_case_is_no_proof() -> None:
    assert [finding.severity for finding in judged({3: 4}, cases=1)] == ["warning"]


def test_one_case_with_a_cavity_among_others_is_silent() -> None:
    cavity = relabelled(9, {3: 4})
    dark = replace(cavity.scans["t1c"], levels={4: -1.0})
    cavity = replace(cavity, scans={**cavity.scans, "t1c": dark})
    assert meaning_findings([summary(1), summary(2), cavity]) == []


def test_one_case_of_an_older_edition_among_others_is_told() -> None:
    (finding,) = meaning_findings([summary(1), summary(2), relabelled(9, {3: 4})])
    assert (finding.case, finding.severity, finding.what) == (
        "BraTS-MET-00009-000",
        "warning",
        "cavity that enhances",
    )


@pytest.mark.parametrize("order", [order for order in permutations((1, 2, 3)) if order != (1, 2, 3)])
def test_every_other_order_is_recognised(order: tuple[int, int, int]) -> None:
    """The map leads back: from the file's integer to ours."""
    integers = dict(zip((1, 2, 3), order, strict=True))
    wanted = {theirs: ours for ours, theirs in integers.items() if ours != theirs}
    findings = judged(integers)
    assert map_of(findings) == wanted
    assert (findings[0].severity, findings[0].what) == ("error", "labels in another order")


@pytest.mark.parametrize("order", [(2, 1, 3), (1, 3, 2)])
def test_where_labels_lie_tells_without_any_scan(order: tuple[int, int, int]) -> None:
    integers = dict(zip((1, 2, 3), order, strict=True))
    findings = meaning_findings([replace(relabelled(number, integers), scans={}) for number in range(2)])
    assert map_of(findings) == {theirs: ours for ours, theirs in integers.items() if ours != theirs}


def test_few_voxels_are_not_judged() -> None:
    few = {"label_voxels": {1: 7, 2: 2, 3: 7}, "scans": {}}
    assert meaning_findings([replace(relabelled(number, {1: 2, 2: 1}), **few) for number in range(3)]) == []


@pytest.mark.parametrize("label", [1, 2])
def test_a_single_label_that_is_not_three(label: int) -> None:
    findings = judged({1: 0, 2: 0, 3: label})
    assert map_of(findings) == {label: 3}
    assert (findings[0].severity, findings[0].what) == ("error", "a single label")


def test_enhancing_tumour_alone_is_a_note() -> None:
    (finding,) = judged({1: 0, 2: 0})
    assert (finding.severity, finding.what) == ("note", "a single label")
    assert "WT, TC and ET are one mask" in finding.detail


@pytest.mark.parametrize(
    ("integers", "stated"), [({3: 4}, {4: 4}), ({1: 2, 2: 1}, {1: 1, 2: 2}), ({1: 0, 2: 0, 3: 1}, {1: 1})]
)
def test_a_map_that_states_the_labels_is_believed(integers: dict[int, int], stated: dict[int, int]) -> None:
    assert judged(integers) != []
    assert judged(integers, label_map=stated) == []


def test_the_advised_map_starts_from_the_files_integers() -> None:
    """A map made 10 our label 1; it should have been 2, and the file's 2 our 1."""
    assert map_of(judged({1: 2, 2: 1}, label_map={10: 1})) == {2: 1, 10: 2}


@pytest.mark.parametrize(("empty", "found"), [(1, []), (2, ["many empty references"]), (4, ["many empty references"])])
def test_many_empty_references(empty: int, found: list[str]) -> None:
    cases = [summary(number, label_voxels={}, faces={}) for number in range(empty)]
    cases += [summary(10 + number) for number in range(4 - empty)]
    assert [finding.what for finding in meaning_findings(cases)] == found
