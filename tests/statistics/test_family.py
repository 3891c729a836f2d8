"""One family of tests: what is tested, what is none, and that page, console and CSV hold the same p."""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mets3d.evaluation.scores import score_of
from mets3d.statistics.comparison import compare_methods
from mets3d.statistics.comparison_tables import comparison_csv, comparison_text
from mets3d.statistics.family import Difference, NoTest, family_in_words, family_tests
from mets3d.statistics.pooled_runs import MethodTables
from mets3d.statistics.study_table import study_table

Row = dict[str, Any]
REGIONS = ("WT", "TC", "ET", "RC")
CASES = [f"P-{patient:02d}-000" for patient in range(12)]
COLUMNS = ("lesion_wise_dice", "lesion_wise_hd95", "dice", "hd95", "lesions_found", "lesions_missed", "lesions_false")


def table(seed: int, **changes: Any) -> list[Row]:
    """Random scores of twelve patients; RC is empty in all cases, which brats2024 scores 1, 0 and no lesion."""
    rng = np.random.default_rng(seed)
    rows = []
    for case in CASES:
        for region in REGIONS:
            found = int(rng.integers(1, 5))
            numbers = [*rng.random(4), found, 5 - found, int(rng.integers(0, 3))]
            empty = [1.0, 0.0, 1.0, 0.0, 0, 0, 0]
            values = dict(zip(COLUMNS, empty if region == "RC" else numbers, strict=True))
            rows.append({"case": case, "region": region, "rules": "brats2024"} | values)
    for column, change in changes.items():
        rows = [row | {column: change(row)} for row in rows]
    return rows


def et_is_tc(rows: list[Row]) -> list[Row]:
    core = {row["case"]: row for row in rows if row["region"] == "TC"}
    return [core[row["case"]] | {"region": "ET"} if row["region"] == "ET" else row for row in rows]


def step_down(p_values: dict[Any, float]) -> dict[Any, float]:
    """Holm's correction as in textbooks: the maximum over the smaller ones of what each is multiplied by."""
    ordered = sorted(p_values, key=lambda key: p_values[key])
    whole = len(ordered)
    steps = [min(1.0, (whole - k) * p_values[key]) for k, key in enumerate(ordered)]
    return {key: float(max(steps[: k + 1])) for k, key in enumerate(ordered)}


def expected(one: list[Row], two: list[Row], columns: tuple[str, ...], regions: tuple[str, ...]) -> dict[Any, float]:
    p_values = {}
    for region in regions:
        for column in columns:
            before, after = (
                np.array([row[column] for row in rows if row["region"] == region], float) for rows in (one, two)
            )
            changed = np.round(after - before, 10)
            signed = stats.rankdata(abs(changed[changed != 0])) * np.sign(changed[changed != 0])
            flips = 2 * ((np.arange(2 ** len(signed))[:, None] >> np.arange(len(signed))) & 1) - 1
            p_values[region, column] = float((abs(flips @ abs(signed)) >= abs(signed.sum()) - 1e-9).mean())
    return p_values


def by_place(differences: list[Difference]) -> dict[Any, Difference]:
    return {(own.region, own.score.column): own for own in differences}


MAIN = ("lesion_wise_dice", "lesion_wise_hd95", "lesions_found")
PAIRS = {
    "all differ but RC": (table(1), table(2), MAIN, ("WT", "TC", "ET")),
    "TC is ET in every case": (et_is_tc(table(1)), et_is_tc(table(2)), MAIN, ("WT", "TC")),
    "the same lesions are found": (table(1, lesions_found=lambda _: 2), table(2, lesions_found=lambda _: 2), MAIN[:2],
                                   ("WT", "TC", "ET")),
    "one lesion a case, so that Dice is found or not": (
        *(table(seed, lesion_wise_dice=lambda row: row["lesions_found"]) for seed in (1, 2)), MAIN[:2],
        ("WT", "TC", "ET")),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_page_and_compare_have_the_same_tests_and_p(name: str) -> None:
    one, two, columns, regions = PAIRS[name]
    p_values = expected(one, two, columns, regions)
    compared = compare_methods({"one": one, "two": two})
    page = study_table({"one": {(0, 0): MethodTables(one)}, "two": {(0, 0): MethodTables(two)}})
    for differences in (compared.differences, page.differences):
        found = {(test.region, test.score.column): test for test in family_tests(differences)}
        assert {key: test.p for key, test in found.items()} == pytest.approx(p_values)
        assert {key: test.p_holm for key, test in found.items()} == pytest.approx(step_down(p_values))
    assert by_place(compared.differences) == by_place([replace(own, by_seed={}) for own in page.differences])
    written = {
        (row["region"], row["score"]): (float(row["p"]), float(row["p_holm"]), row["family"])
        for row in csv.DictReader(comparison_csv(compared).splitlines())
        if row["test"] == "wilcoxon"
    }
    assert written == {
        (test.region, test.score.column): (test.p, test.p_holm, "primary") for test in family_tests(page.differences)
    }
    assert f": {len(p_values)} tests, over which Holm's correction is" in comparison_text(compared)
    sides = [[row["lesion_wise_hd95"] for row in rows if row["region"] == "WT"] for rows in (one, two)]
    assert p_values["WT", "lesion_wise_hd95"] == pytest.approx(stats.wilcoxon(*sides, method="exact").pvalue)


def test_what_is_no_test_says_why() -> None:
    one, two, *_ = PAIRS["TC is ET in every case"]
    found = by_place(compare_methods({"one": one, "two": two}).differences)
    assert {str(found["RC", column].not_tested) for column in MAIN} == {"no difference"}
    assert str(found["ET", "lesions_found"].not_tested) == "repeats Lesions found in TC"
    assert found["ET", "lesions_found"].family == "primary"
    assert (found["WT", "dice"].not_tested, found["WT", "dice"].family) == (None, "exploratory")
    assert all(own.found.interval is not None and (own.p is None) == (own.p_holm is None) for own in found.values())
    said = family_in_words(list(found.values()))
    assert (
        "primary family is Lesion-wise Dice, Lesion-wise HD95, Lesions found in WT, TC, ET, RC compared with one"
        in said
    )
    assert "No tests: 3 without any difference and 3 that repeat another's numbers." in said
    one_left = [own for own in found.values() if own.region != "ET" or own.score.column == MAIN[0]]
    assert "and 1 that repeats another's numbers." in family_in_words(one_left)


def test_what_too_few_patients_have_is_shown_without_interval_and_p() -> None:
    """Dice of ET has a value in five of twelve cases: of the other table too, so that four patients are left."""

    def sparse(seed: int, cases: list[str]) -> list[Row]:
        return [
            row | {"lesion_wise_dice": "", "dice": ""} if row["region"] == "ET" and row["case"] not in cases else row
            for row in table(seed)
        ]

    one, two = sparse(1, CASES[:5]), sparse(2, CASES[1:7])
    compared = compare_methods({"one": one, "two": two})
    page = study_table({"one": {(0, 0): MethodTables(one)}, "two": {(0, 0): MethodTables(two)}})
    for differences in (compared.differences, page.differences):
        found = by_place(differences)
        for column in ("lesion_wise_dice", "dice"):
            few = found["ET", column]
            assert (few.found.n, few.found.interval, few.p, few.p_holm) == (4, None, None, None)
            assert found["WT", column].found.interval is not None
        assert (found["ET", "lesion_wise_dice"].not_tested, found["ET", "dice"].not_tested) == (
            NoTest("too few patients"),
            None,
        )
        p_values = {key: test.p for key, test in found.items() if test.p_holm is not None}
        assert len(p_values) == 8
        assert {key: found[key].p_holm for key in p_values} == pytest.approx(step_down(p_values))
        assert "3 without any difference and 1 of fewer than 6 patients." in family_in_words(differences)
    (row,) = (
        row
        for row in csv.DictReader(comparison_csv(compared).splitlines())
        if (row["region"], row["score"]) == ("ET", "lesion_wise_dice")
    )
    empty = [row[column] for column in ("ci_low", "ci_high", "test", "p", "p_holm")]
    assert (empty, row["patients"], row["not_tested"]) == ([""] * 5, "4", "too few patients")
    line = next(
        line for line in comparison_text(compared).splitlines() if line.startswith("  ET") and "wise_dice" in line
    )
    assert line.split()[5] == "-"
    assert line.split()[8:] == ["-", "-", "4", "too", "few", "patients"]


def test_time_points_that_cancel_out_in_every_patient_are_no_test() -> None:
    def rows(shift: float) -> list[Row]:
        return [
            {"case": f"P-{patient:02d}-{time:03d}", "region": "WT", "rules": "brats2023"}
            | {"lesion_wise_dice": 0.5 + shift * (1, -1)[time]}
            for patient in range(8)
            for time in (0, 1)
        ]

    (own,) = compare_methods({"one": rows(0.0), "two": rows(0.1)}).differences
    assert (own.not_tested, own.p) == (NoTest("no difference"), None)
    assert (own.found.improved, own.found.worsened) == (8, 8)


def test_rounding_is_no_difference() -> None:
    one = table(1)
    two = table(1, lesion_wise_dice=lambda row: row["lesion_wise_dice"] + 1e-13)
    found = compare_methods({"one": one, "two": two}).differences
    assert {own.not_tested for own in found if own.family == "primary"} == {NoTest("no difference")}
    assert {own.found.interval for own in found} == {(0.0, 0.0)}
    assert {own.verdict for own in found} == {"no difference shown"}


def test_of_three_methods_those_against_the_first_are_the_family() -> None:
    tables = {name: table(seed) for seed, name in enumerate(("base", "one", "two"))}
    compared = compare_methods(tables)
    page = study_table({name: {(0, 0): MethodTables(rows)} for name, rows in tables.items()})

    def of(differences: list[Difference]) -> dict[Any, float | None]:
        return {(own.method, own.region, own.score.column): own.p_holm for own in family_tests(differences)}

    assert of(compared.differences) == of(page.differences)
    assert len(of(page.differences)) == 2 * 3 * 3
    assert "compared with base, of 2 methods: 18 tests" in family_in_words(compared.differences)


def test_without_a_score_of_the_family_nothing_is_tested() -> None:
    tables = {name: [row | {"my_dice": row["dice"]} for row in table(seed)] for seed, name in enumerate("ab")}
    few = {
        name: [{key: row[key] for key in ("case", "region", "rules", "dice", "my_dice")} for row in rows]
        for name, rows in tables.items()
    }
    found = compare_methods(few)
    assert not family_tests(found.differences)
    assert "Nothing is tested: no score of the primary family" in comparison_text(found)
    named = compare_methods(few, scores=["my_dice"]).differences
    assert {own.family for own in family_tests(named)} == {"declared"}
    assert score_of("my_dice") is None
