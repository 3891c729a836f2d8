"""Runs of an arm pooled: means over seeds, folds side by side, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from mets3d.statistics.pooled_runs import MethodTables, of_seed, pooled, pooled_scores, whole_seeds
from mets3d.statistics.shared_lesions import means_of_shared_lesions
from mets3d.statistics.size_recall import recall_by_size

Row = dict[str, Any]


def row(case: str, region: str = "ET", rules: str = "brats2023", **numbers: float) -> Row:
    return {"case": case, "region": region, "rules": rules, **numbers}


def lesion(case: str, number: int, kind: str, hd95: float = 0.0, volume: float = 50.0) -> Row:
    of = {"case": case, "region": "ET", "lesion": str(number), "kind": kind}
    return of | {"hd95": hd95, "reference_volume_mm3": volume}


def test_a_number_is_the_mean_over_the_runs_that_have_one() -> None:
    one = [row("A", dice=0.5, hd95=2.0, lesions_found=1), row("B", dice=0.25)]
    two = [row("B", dice=0.75), row("A", dice=1.0, lesions_found=2)]
    three = [row("A", region="WT", dice=0.125)]
    assert pooled_scores([one, two, three]) == [
        row("A", dice=0.75, hd95=2.0, lesions_found=1.5) | {"patient": "A"},
        row("A", region="WT", dice=0.125) | {"patient": "A"},
        row("B", dice=0.5) | {"patient": "B"},
    ]


def test_folds_lie_side_by_side_and_patients_are_kept() -> None:
    folds = {(0, 0): MethodTables([row("A", dice=1.0) | {"patient": "P"}]), (0, 1): MethodTables([row("B", dice=0.5)])}
    found = pooled(folds)
    assert [(own["case"], own["patient"], own["dice"]) for own in found.scores] == [("A", "P", 1.0), ("B", "B", 0.5)]
    assert pooled(folds, ["B"]).scores == [row("B", dice=0.5) | {"patient": "B"}]


def test_runs_by_different_rules_are_not_averaged() -> None:
    with pytest.raises(ValueError, match="one rule set, found brats2023, brats2026"):
        pooled_scores([[row("A")], [row("A", rules="brats2026")]])


def test_seeds_with_every_case_are_whole() -> None:
    runs = {
        (0, 0): MethodTables([row("A")]),
        (0, 1): MethodTables([row("B")]),
        (1, 0): MethodTables([row("A")]),
        (2, 0): MethodTables([row("A"), row("B")]),
    }
    assert whole_seeds(runs, ["A", "B"]) == [0, 2]
    assert set(of_seed(runs, 0)) == {(0, 0), (0, 1)}


def test_lesions_found_by_both_are_those_of_runs_of_the_same_seed() -> None:
    base = {
        (0, 0): MethodTables([], [lesion("A", 1, "found", 2.0), lesion("A", 2, "found", 4.0)]),
        (1, 0): MethodTables([], [lesion("A", 1, "missed"), lesion("A", 2, "found", 8.0)]),
    }
    other = {
        (0, 0): MethodTables([], [lesion("A", 1, "found", 1.0), lesion("A", 2, "found", 1.0)]),
        (1, 0): MethodTables([], [lesion("A", 1, "found", 9.0), lesion("A", 2, "found", 2.0)]),
        (2, 0): MethodTables([], [lesion("A", 1, "found", 99.0), lesion("A", 2, "found", 99.0)]),
    }
    # Seed 0: means 3 and 1 over both lesions; seed 1: 8 and 2 of the one that both found; seed 2 has no partner.
    found = means_of_shared_lesions(pooled(base).lesions, pooled(other).lesions, "hd95")
    assert found == ({"A": 5.5}, {"A": 1.5})
    # One run on either side is compared whatever its seed.
    alone = [pooled({key: runs[0, 0]}).lesions for key, runs in (((0, 0), base), ((5, 0), other))]
    assert means_of_shared_lesions(*alone, "hd95") == ({"A": 3.0}, {"A": 1.0})


def test_lesions_of_several_runs_are_counted_as_their_mean() -> None:
    runs = {
        (0, 0): MethodTables([row("A")], [lesion("A", 1, "found"), lesion("A", 2, "missed"), lesion("A", 3, "false")]),
        (1, 0): MethodTables([row("A")], [lesion("A", 1, "found"), lesion("A", 2, "found")]),
    }
    own = pooled(runs)
    (size,) = recall_by_size(own.scores, own.lesions)
    assert (size.found, size.missed, size.lesions, size.recall) == (1.5, 0.5, 2.0, 0.75)
