"""Methods against one reference: pairing, verdicts, the lesions that both found, and one family of tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mets3d.evaluation.scores import Score, score_of
from mets3d.statistics.against_reference import SHARED_LESIONS, against_reference, compared_scores
from mets3d.statistics.family import Difference
from mets3d.statistics.paired_tests import holm
from mets3d.statistics.pooled_runs import MethodTables

Row = dict[str, Any]
CASES = tuple("ABCDEFGH")


def named(column: str) -> Score:
    found = score_of(column)
    assert found is not None
    return found


DICE, HD95 = named("lesion_wise_dice"), named("lesion_wise_hd95")


def table(values: dict[str, float], score: Score = DICE, region: str = "ET") -> MethodTables:
    return MethodTables([{"case": case, "region": region, score.column: value} for case, value in values.items()])


def difference(score: Score, reference: dict[str, float], method: dict[str, float]) -> Difference | None:
    methods = {"method": table(method, score)}
    return next(iter(against_reference(("reference", table(reference, score)), methods, ["ET"], [score])), None)


def test_pairs_by_case_and_ignores_the_rest() -> None:
    found = difference(DICE, {"A": 0.5, "B": 0.25, "X": 0.0}, {"B": 0.75, "A": 0.25, "Y": 1.0})
    assert found is not None
    assert (found.found.n, found.found.reference_mean, found.found.method_mean) == (2, 0.375, 0.5)
    assert found.found.difference == 0.125
    assert (found.found.improved, found.found.worsened) == (1, 1)
    assert found.sums == (0.75, 1.0)
    assert difference(DICE, {"A": 1.0}, {"B": 1.0}) is None
    alone = difference(DICE, {"A": 1.0}, {"A": 0.5})
    assert alone is not None
    assert alone.found.interval is None


def test_the_interval_of_a_mean_is_about_the_normal_one_for_many_cases() -> None:
    rng = np.random.default_rng(5)
    values = {str(index): float(value) for index, value in enumerate(rng.normal(0.3, 1.0, 400))}
    found = difference(DICE, dict.fromkeys(values, 0.0), values)
    assert found is not None
    assert found.found.interval is not None
    array = np.array(list(values.values()))
    half = 1.96 * array.std(ddof=1) / 20
    assert found.found.interval[0] == pytest.approx(array.mean() - half, abs=0.01)
    assert found.found.interval[1] == pytest.approx(array.mean() + half, abs=0.01)


@pytest.mark.parametrize(
    ("score", "shift", "cases", "verdict"),
    [
        (DICE, 0.1, 6, "better"),
        (DICE, -0.1, 6, "worse"),
        (HD95, -0.1, 6, "better"),
        (HD95, 0.1, 6, "worse"),
        (DICE, 0.0, 6, "no difference shown"),
        (DICE, 0.1, 5, "too few cases"),  # five of five: 2 x 0.5**5 is above 0.05
    ],
)
def test_verdict(score: Score, shift: float, cases: int, verdict: str) -> None:
    before = dict.fromkeys(CASES[:cases], 0.5)
    after = {case: 0.5 + shift + 0.01 * (index % 2 - 0.5) for index, case in enumerate(before)}
    found = difference(score, before, after)
    assert found is not None
    assert found.verdict == verdict


def test_time_points_of_few_patients_are_too_few_cases() -> None:
    cases = [f"P-{patient}-{time:03d}" for patient in range(3) for time in range(4)]
    found = difference(DICE, dict.fromkeys(cases, 0.2), dict.fromkeys(cases, 0.9))
    assert found is not None
    assert found.verdict == "too few cases"


def test_shared_lesions_are_those_that_both_found() -> None:
    def lesions(*rows: tuple[str, str, str, str, float]) -> list[Row]:
        return [dict(zip(("case", "region", "lesion", "kind", "hd95"), row, strict=True)) for row in rows]

    one = lesions(
        ("A", "ET", "1", "found", 2.0),
        ("A", "ET", "2", "found", 4.0),
        ("A", "ET", "3", "missed", 374.0),
        ("B", "ET", "1", "found", 1.0),
        ("B", "WT", "1", "found", 9.0),
    )
    two = lesions(
        ("A", "ET", "1", "found", 1.0),
        ("A", "ET", "2", "found", 2.0),
        ("A", "ET", "3", "found", 5.0),
        ("B", "ET", "1", "missed", 374.0),
        ("B", "WT", "1", "found", 7.0),
    )
    whole, enhancing = against_reference(
        ("one", MethodTables([], one)), {"two": MethodTables([], two)}, ["WT", "TC", "ET"], [SHARED_LESIONS]
    )
    assert (whole.region, enhancing.region) == ("WT", "ET")
    assert (enhancing.found.n, enhancing.found.reference_mean, enhancing.found.method_mean) == (1, 3.0, 1.5)
    assert whole.found.difference == -2.0


def test_all_tests_are_one_family() -> None:
    rng = np.random.default_rng(1)

    def random_table() -> MethodTables:
        rows = [
            {"case": case, "region": region, DICE.column: rng.random(), HD95.column: rng.random()}
            for case in CASES
            for region in ("WT", "ET")
        ]
        return MethodTables(rows)

    methods = {"a": random_table(), "b": random_table()}
    found = against_reference(("reference", random_table()), methods, ["WT", "TC", "ET"], [DICE, HD95])
    assert [(test.method, test.score.column, test.region) for test in found] == [
        (method, score.column, region) for method in "ab" for score in (DICE, HD95) for region in ("WT", "ET")
    ]
    assert [test.p_holm for test in found] == holm([test.found.p for test in found])


def test_the_page_compares_means_then_shared_lesions_then_counts() -> None:
    columns = [score.column for score in compared_scores()]
    assert columns == [
        *("lesion_wise_dice", "lesion_wise_hd95", "f1", "dice", "hd95", SHARED_LESIONS.column),
        *("lesions_found", "lesions_missed", "lesions_false"),
    ]
    assert [score.column for score in compared_scores("brats2026")][2:4] == ["lesion_wise_nsd_spacing", "small_f1"]
