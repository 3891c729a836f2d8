"""Recall by lesion size: from counts of scores.csv and from lesions.csv, by hand and against a loop."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from mets3d.statistics.cohort import cohort_table
from mets3d.statistics.intervals import proportion_interval, wilson_interval
from mets3d.statistics.size_recall import recall_by_size, size_classes_of, size_edges_mm3
from tests.statistics.test_cohort import CASES, by_score, rows

Row = dict[str, Any]


def test_recall_by_size_from_the_counts() -> None:
    found = recall_by_size(rows())
    assert [(size.size_class, size.found, size.missed, size.cases) for size in found] == [
        ("2_to_27", 8, 8, 6),
        ("from_27", 0, 3, 3),
    ]
    table = by_score(cohort_table(rows()))
    assert table["pooled_recall_2_to_27"]["mean"] == 0.5
    assert (table["pooled_found_from_27"]["mean"], table["pooled_missed_from_27"]["mean"]) == (0, 3)
    assert table["pooled_recall_from_27"]["ci_low"] is None  # three patients
    assert "recall_below_2" not in table
    assert "found_2_to_27" not in table


def test_recall_by_size_from_the_lesions_of_an_earlier_version() -> None:
    earlier = [{key: row[key] for key in ("case", "region", "rules", "lesions_found")} for row in rows()]
    lesions = [
        *({"case": case, "kind": "found", "reference_volume_mm3": "300.0"} for case in CASES),
        {"case": CASES[0], "kind": "missed", "reference_volume_mm3": "275.0"},
        {"case": CASES[0], "kind": "missed", "reference_volume_mm3": "1.5"},
        {"case": CASES[0], "kind": "missed", "reference_volume_mm3": "26.9"},
        {"case": CASES[0], "kind": "found", "reference_volume_mm3": "26.9", "size_class": "from_9000"},
        {"case": CASES[0], "kind": "false", "reference_volume_mm3": "0.0"},
        {"case": CASES[0], "kind": "ignored", "reference_volume_mm3": "1.0"},
        {"case": "another", "kind": "missed", "reference_volume_mm3": "300.0"},
    ]
    found = recall_by_size(earlier, lesions)
    assert [(size.size_class, size.found, size.missed) for size in found] == [
        ("below_2", 0, 1),
        ("2_to_27", 0, 1),
        ("from_275", 7, 1),
        ("from_9000", 1, 0),
    ]
    assert found[2].interval == wilson_interval(7 / 8, 8)  # over six patients varying no more than chance would
    # In the table only lesions of the same region and rules count.
    of = [lesion | {"region": "ET", "rules": "brats2026"} for lesion in lesions]
    other = [lesion | {"region": "WT", "rules": "brats2026"} for lesion in lesions]
    assert by_score(cohort_table(earlier, of + other))["pooled_found_from_275"]["mean"] == 7


def lesion(case: str, kind: str, volume_mm3: float, size_class: str = "") -> Row:
    return {"case": case, "kind": kind, "reference_volume_mm3": volume_mm3, "size_class": size_class}


def scored(*cases: str) -> list[Row]:
    return [{"case": case, "region": "ET", "rules": "brats2023"} for case in cases]


def test_recall_by_size_counts_what_a_loop_counts() -> None:
    rng = np.random.default_rng(0)
    kinds = ["found", "missed", "ignored", "false"]
    lesions = [lesion(str(rng.choice([*"ABC"])), str(rng.choice(kinds)), float(rng.lognormal(4, 2))) for _ in range(99)]
    edges = [0, 2, 27, 100, 275, math.inf]
    recalls = recall_by_size(scored("A", "C"), lesions)
    assert [size.size_class for size in recalls] == ["below_2", "2_to_27", "27_to_100", "100_to_275", "from_275"]
    for index, size in enumerate(recalls):
        found = missed = 0
        for row in lesions:
            if row["case"] != "B" and edges[index] <= row["reference_volume_mm3"] < edges[index + 1]:
                found += row["kind"] == "found"
                missed += row["kind"] == "missed"
        assert (size.found, size.missed) == (found, missed)
        assert size.recall == pytest.approx(found / (found + missed))


def test_a_lesion_on_an_edge_is_in_the_upper_class() -> None:
    recalls = recall_by_size(scored("A"), [lesion("A", "found", volume) for volume in (2, 27, 26.9, 275)])
    assert {size.size_class: size.found for size in recalls} == {"2_to_27": 2, "27_to_100": 1, "from_275": 1}
    assert {size.interval for size in recalls} == {None}  # of one patient


def test_the_interval_is_that_of_patients() -> None:
    counts = {"A": (4, 1), "B": (1, 3), "C": (2, 2)}
    lesions = [
        lesion(case, kind, 50.0)
        for case, amounts in counts.items()
        for kind, amount in zip(("found", "missed"), amounts, strict=True)
        for _ in range(amount)
    ]
    (size,) = recall_by_size(scored(*counts), lesions, fewest=2)
    assert size.interval == proportion_interval(np.array([4.0, 1, 2]), np.array([5.0, 4, 4]), [*counts], fewest=2)
    assert size.interval is not None
    assert size.interval[0] < 7 / 13 < size.interval[1]
    assert recall_by_size(scored(*counts), lesions)[0].interval is None  # three patients
    of_two = [row | {"patient": "P" if row["case"] == "A" else "Q"} for row in scored(*counts)]
    together = proportion_interval(np.array([4.0, 3]), np.array([5.0, 8]), ["P", "Q"], fewest=2)
    assert recall_by_size(of_two, lesions, fewest=2)[0].interval == together != size.interval


def test_size_classes_are_those_that_the_tables_name() -> None:
    usual = ["below_2", "2_to_27", "27_to_100", "100_to_275", "from_275"]
    assert size_classes_of([]) == usual
    assert size_classes_of(scored("A"), [lesion("A", "found", 20)]) == usual
    assert size_classes_of(scored("A"), [lesion("A", "found", 20, "2_to_27")]) == usual
    assert size_classes_of(rows()) == ["below_2", "2_to_27", "from_27"]  # one of them without a lesion
    lesions = [lesion("A", "found", 20, name) for name in ("from_10", "0.5_to_10", "below_0.5")]
    classes = size_classes_of(scored("A"), lesions)
    assert classes == ["below_0.5", "0.5_to_10", "from_10"]
    assert size_edges_mm3(classes) == [0.5, 10]
