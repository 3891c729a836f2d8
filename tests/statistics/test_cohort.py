"""The cohort's table by hand, its policy on cells without a value, and tables of earlier versions."""

from __future__ import annotations

import csv
import math
import statistics
import time
from typing import Any

import numpy as np
import pytest

from mets3d.statistics.cohort import COHORT_COLUMNS, cohort_csv, cohort_table, cohort_text, summarise
from mets3d.statistics.intervals import mean_interval

Row = dict[str, Any]
CASES = ("P-0-000", "P-0-001", "P-1-000", "P-2-000", "P-3-000", "P-4-000", "P-5-000")
DICE = (0.0, 0.5, 0.25, math.nan, 1.0, 0.0, 0.75)
FOUND, MISSED, FALSE = (0, 1, 1, 0, 3, 0, 3), (1, 1, 3, 0, 0, 2, 1), (2, 0, 0, 1, 0, 4, 0)


def rows(region: str = "ET", rules: str = "brats2026") -> list[Row]:
    counts = zip(FOUND, MISSED, FALSE, strict=True)
    return [
        {
            "case": case,
            "region": region,
            "rules": rules,
            "lesion_wise_dice": dice,
            "lesions_found": found,
            "lesions_missed": missed,
            "lesions_false": false,
            "reference_volume_mm3": 10.0 * index,
            "prediction_volume_mm3": 10.0 * index + 1,
            "smallest_spacing_mm": 1.0,
            "found_below_2": 0,
            "missed_below_2": 0,
            "false_below_2": 0,
            "recall_below_2": math.nan,
            "found_2_to_27": found,
            "missed_2_to_27": missed,
            "found_from_27": 0,
            "missed_from_27": index % 2,
        }
        for index, (case, dice, (found, missed, false)) in enumerate(zip(CASES, DICE, counts, strict=True))
    ]


def by_score(table: list[Row]) -> dict[str, Row]:
    assert len({row["score"] for row in table}) == len(table)
    return {row["score"]: row for row in table}


def test_a_score_by_hand() -> None:
    found = by_score(cohort_table(rows()))["lesion_wise_dice"]
    values = [value for value in DICE if not math.isnan(value)]
    assert (found["region"], found["rules"], found["cases"]) == ("ET", "brats2026", 6)
    assert found["mean"] == pytest.approx(2.5 / 6)
    assert found["sd"] == pytest.approx(statistics.stdev(values))
    assert (found["median"], found["q1"], found["q3"]) == (0.375, 0.0625, 0.6875)
    # Five patients have a value, so the mean has no interval; counts have one from all six.
    assert (found["ci_low"], found["ci_high"]) == (None, None)
    counted = by_score(cohort_table(rows()))["lesions_false"]
    assert (counted["ci_low"], counted["ci_high"]) == mean_interval(np.array(FALSE, float), CASES)


def test_cases_without_a_value_and_zeros_are_shares() -> None:
    table = by_score(cohort_table(rows()))
    absent, zeros = table["lesion_wise_dice_without_value"], table["lesion_wise_dice_zeros"]
    assert (absent["cases"], absent["mean"]) == (7, pytest.approx(1 / 7))
    assert (zeros["cases"], zeros["mean"]) == (6, pytest.approx(2 / 6))
    assert "lesions_found_without_value" not in table
    empty = by_score(cohort_table([row | {"f1": None} for row in rows()]))
    assert empty["f1_without_value"]["mean"] == 1.0
    assert "f1" not in empty


def test_lesions_of_all_cases_together() -> None:
    table = by_score(cohort_table(rows()))
    assert [table[f"pooled_{kind}"]["mean"] for kind in ("found", "missed", "false")] == [8, 8, 7]
    assert table["pooled_precision"]["mean"] == 8 / 15
    assert table["pooled_recall"]["mean"] == 0.5
    assert table["pooled_f1"]["mean"] == 16 / 31
    assert table["false_per_case"]["mean"] == 1.0
    assert table["false_per_patient"]["mean"] == 7 / 6
    per_patient = np.array([2.0, 0, 1, 0, 4, 0])
    interval = mean_interval(per_patient, [f"Q-{index}-000" for index in range(6)])
    assert (table["false_per_patient"]["ci_low"], table["false_per_patient"]["ci_high"]) == interval
    low, high = table["pooled_f1"]["ci_low"], table["pooled_f1"]["ci_high"]
    assert 0 <= low < 16 / 31 < high <= 1


def test_a_cohort_without_any_lesion() -> None:
    nothing = [row | {f"lesions_{kind}": 0 for kind in ("found", "missed", "false")} for row in rows()]
    table = by_score(cohort_table(nothing))
    for name in ("pooled_precision", "pooled_recall", "pooled_f1"):
        assert (table[name]["mean"], table[name]["ci_low"]) == (None, None)
    assert (table["false_per_patient"]["mean"], table["false_per_patient"]["ci_high"]) == (0.0, 0.0)


def test_volumes() -> None:
    table = by_score(cohort_table(rows()))
    assert (table["volume_bias_mm3"]["cases"], table["volume_bias_mm3"]["mean"]) == (7, 1.0)
    assert table["volume_bias_mm3"]["sd"] == 0.0
    assert table["volume_lower_limit_mm3"]["mean"] == table["volume_upper_limit_mm3"]["mean"] == 1.0
    variance = statistics.variance(10.0 * index for index in range(7))
    assert table["volume_icc"]["mean"] == pytest.approx(variance / (variance + 0.5))
    assert table["volume_icc"]["ci_low"] < table["volume_icc"]["mean"] < table["volume_icc"]["ci_high"] <= 1


def test_regions_and_rules_stay_apart_and_in_order() -> None:
    table = cohort_table([*rows("WT"), *rows("ET"), *rows("WT", "brats2023")])
    order = list(dict.fromkeys((row["region"], row["rules"]) for row in table))
    assert order == [("WT", "brats2026"), ("ET", "brats2026"), ("WT", "brats2023")]
    assert [row for row in table if row["region"] == "ET"] == cohort_table(rows("ET"))
    assert cohort_table([]) == []


def test_a_table_as_read_from_a_file_gives_the_same() -> None:
    as_text = [
        {key: "" if isinstance(cell, float) and math.isnan(cell) else str(cell) for key, cell in row.items()}
        for row in rows()
    ]
    assert cohort_table(as_text) == cohort_table(rows())
    backwards = cohort_table(rows()[::-1])
    assert backwards == cohort_table(rows())


def test_the_file_has_full_precision_and_empty_cells() -> None:
    table = cohort_table(rows())
    text = cohort_csv(table)
    assert text.splitlines()[0] == "region,rules,score,cases,mean,sd,median,q1,q3,ci_low,ci_high"
    read = list(csv.DictReader(text.splitlines()))
    assert [tuple(row) for row in read] == [COHORT_COLUMNS] * len(table)
    for written, row in zip(read, table, strict=True):
        assert {key: "" if row[key] is None else str(row[key]) for key in COHORT_COLUMNS} == written


def test_the_text_shows_what_is_asked_for_first() -> None:
    lines = cohort_text(cohort_table(rows())).splitlines()
    assert lines[0].split("  ")[0] == "region"
    shown = {line.split()[1]: line for line in lines[1:-1]}
    assert list(shown) == [
        *("lesion_wise_dice", "pooled_precision", "pooled_recall", "pooled_f1", "false_per_patient"),
    ]
    assert shown["lesion_wise_dice"].split() == ["ET", "lesion_wise_dice", "0.417", "0.375", "[0.062,", "0.688]", "6"]
    assert shown["false_per_patient"].split()[2:4] == ["1.17", "[0.17,"]
    assert "rules brats2026" in lines[-1]


def test_summary_of_nothing_and_of_one() -> None:
    assert summarise({}) is None
    one = summarise({"A": 0.25})
    assert one is not None
    assert (one.n, one.mean, one.sd, one.median, one.quartiles, one.interval) == (
        1,
        0.25,
        None,
        0.25,
        (0.25,) * 2,
        None,
    )


def test_a_large_cohort_takes_seconds() -> None:
    rng = np.random.default_rng(0)
    table = [
        {"case": f"P-{patient:05d}-000", "region": region, "rules": "brats2023"}
        | {f"score_{index}": float(rng.random()) for index in range(20)}
        for patient in range(500)
        for region in ("WT", "TC", "ET", "RC")
    ]
    start = time.process_time()
    assert len(cohort_table(table)) == 80
    assert time.process_time() - start < 20  # 0.8 measured; the bound is for a loaded machine
