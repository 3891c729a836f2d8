"""Two and more score tables: the paired numbers by hand, one family of tests, shared cases, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from mets3d.__main__ import main
from mets3d.statistics.comparison import compare_methods, method_names
from mets3d.statistics.comparison_tables import COMPARISON_COLUMNS, comparison_csv, comparison_text, p_text
from mets3d.statistics.intervals import mean_interval
from mets3d.statistics.paired import paired
from mets3d.statistics.paired_tests import holm
from mets3d.statistics.score_table import read_scores

Row = dict[str, Any]
COLUMNS = ("lesion_wise_dice", "lesion_wise_hd95", "dice", "hd95")


def scores(seed: int, cases: int = 10, rules: str = "brats2023", shift: float = 0.0, time_points: int = 1) -> list[Row]:
    rng = np.random.default_rng(seed)
    return [
        {"case": f"P-{case:03d}-{time:03d}", "region": region, "rules": rules}
        | {column: float(rng.random() + shift) for column in COLUMNS}
        for case in range(cases)
        for time in range(time_points)
        for region in ("WT", "TC", "ET")
    ]


def write(path: Path, rows: list[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return path


# ---------------------------------------------------------------- one pair


def test_paired_by_hand() -> None:
    before = {"P-1-000": 0.5, "P-2-000": 0.25, "P-3-000": 1.0, "only before": 0.0}
    after = {"P-3-000": 0.75, "P-2-000": 0.5, "P-1-000": 1.0, "only after": 1.0}
    found = paired(before, after, lower_is_better=False)
    assert found is not None
    assert (found.n, found.patients, found.improved, found.worsened) == (3, 3, 2, 1)
    assert (found.reference_mean, found.method_mean) == (1.75 / 3, 0.75)
    assert found.difference == pytest.approx(0.5 / 3)
    assert found.interval == mean_interval(np.array([0.5, 0.25, -0.25]), sorted(before)[:3], fewest=2)
    assert found.effect == pytest.approx((3 + 1.5 - 1.5) / 6)  # ranks 3, 1.5 and 1.5
    assert found.p == pytest.approx(6 / 8)  # of the eight sums 6 3 3 0 0 -3 -3 -6 six are at least 3
    assert paired({"P-1": 1.0}, {"P-2": 1.0}, lower_is_better=False) is None
    one = paired({"P-1": 1.0}, {"P-1": 0.5}, lower_is_better=False)
    assert one is not None
    assert (one.interval, one.p) == (None, 1.0)


def test_with_one_case_a_patient_the_test_is_scipys_over_cases() -> None:
    rng = np.random.default_rng(0)
    before, after = ({f"P-{case:02d}-000": float(value) for case, value in enumerate(rng.random(15))} for _ in range(2))
    found = paired(before, after, lower_is_better=False)
    assert found is not None
    expected = stats.wilcoxon([after[case] - before[case] for case in before], method="exact")
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)


def test_time_points_of_a_patient_are_one_observation() -> None:
    """Eight patients with five equal time points each say what eight cases say, not what forty would."""
    changes = [0.1, 0.2, -0.05, 0.3, 0.15, 0.25, 0.02, -0.01]
    single = {f"P-{patient:02d}-000": change for patient, change in enumerate(changes)}
    repeated = {f"P-{patient:02d}-{time:03d}": change for patient, change in enumerate(changes) for time in range(5)}
    alone = paired(dict.fromkeys(single, 0.0), single, lower_is_better=False)
    often = paired(dict.fromkeys(repeated, 0.0), repeated, lower_is_better=False)
    assert alone is not None
    assert often is not None
    assert (often.n, often.patients) == (40, 8)
    assert (often.p, often.effect) == (alone.p, alone.effect)
    assert often.interval == pytest.approx(alone.interval, rel=1e-9)


def test_exchanging_the_methods_flips_signs_and_keeps_p() -> None:
    one, two = scores(1), scores(2)
    forward, backward = compare_methods({"A": one, "B": two}), compare_methods({"B": two, "A": one})
    assert len(forward.differences) == 12
    assert sum(there.p is not None for there in forward.differences) == 6
    for there, back in zip(forward.differences, backward.differences, strict=True):
        assert (back.region, back.score, back.found.p, back.p_holm) == (
            *(there.region, there.score, there.found.p, there.p_holm),
        )
        assert back.found.difference == pytest.approx(-there.found.difference)
        assert back.found.effect == pytest.approx(-there.found.effect)
        assert (back.found.improved, back.found.worsened) == (there.found.worsened, there.found.improved)
        low, high = there.found.interval or (0.0, 0.0)
        assert back.found.interval == pytest.approx((-high, -low))


def test_a_better_distance_is_a_smaller_one() -> None:
    better = [row | {"lesion_wise_hd95": row["lesion_wise_hd95"] - 1} for row in scores(1)]
    found = {test.score.column: test.found for test in compare_methods({"A": scores(1), "B": better}).differences}
    assert (found["lesion_wise_hd95"].effect, found["lesion_wise_hd95"].improved) == (1.0, 10)
    assert found["lesion_wise_hd95"].p == pytest.approx(2 / 2**10)
    assert (found["dice"].effect, found["dice"].p) == (0.0, 1.0)


# ---------------------------------------------------------------- several tables


def test_one_family_of_tests() -> None:
    tables = {"A": scores(1), "B": scores(2, shift=0.5), "C": scores(3)}
    tests = compare_methods(tables).differences
    assert [(test.reference, test.method) for test in tests[::12]] == [("A", "B"), ("A", "C"), ("B", "C")]
    assert len(tests) == 3 * 3 * 4
    family = [test for test in tests if test.reference == "A" and test.score.column.startswith("lesion_wise_")]
    assert [test.p_holm for test in family] == holm([test.found.p for test in family])
    assert {(test.p, test.p_holm, test.family) for test in tests if test not in family if test.reference == "A"} == {
        (None, None, "exploratory")
    }
    assert {test.family for test in tests if test.reference == "B"} == {"exploratory"}  # B is not the reference
    chosen = compare_methods(tables, scores=["dice"]).differences
    assert [test.family for test in chosen] == ["declared"] * 6 + ["exploratory"] * 3
    assert [test.p_holm for test in chosen[:6]] == holm([test.found.p for test in chosen[:6]])


def test_of_repeats_the_same_region_is_the_test_whatever_the_rows_order() -> None:
    def alike(seed: int) -> list[Row]:  # ET is TC in every case
        rows = scores(seed)
        values = {row["case"]: row for row in rows if row["region"] == "TC"}
        return [values[row["case"]] | {"region": "ET"} if row["region"] == "ET" else row for row in rows]

    tables = {"base": alike(0), "other": alike(1)}
    turned = {name: sorted(rows, key=lambda row: (row["region"], row["case"])) for name, rows in tables.items()}
    said = [
        [(test.region, test.score.column, test.found.p, test.p_holm, test.not_tested) for test in found.differences]
        for found in (compare_methods(tables), compare_methods(turned))
    ]
    assert said[0] == said[1]
    assert {region for region, *_, why in said[0] if why and why.why == "repeats"} == {"ET"}


def test_only_shared_cases_are_compared_and_the_others_are_named() -> None:
    longer, other = scores(1, cases=12), [row for row in scores(2, cases=10) if row["case"] != "P-003-000"]
    found = compare_methods({"A": longer, "B": other})
    assert len(found.cases) == 9
    assert found.left_out == {"A": ["P-003-000", "P-010-000", "P-011-000"], "B": []}
    assert {test.found.n for test in found.differences} == {9}
    assert found.ranking is not None
    assert found.ranking.cases == 9
    text = comparison_text(found)
    assert "9 cases of 9 patients" in text
    assert "left out, not in every table: 3 of A: P-003-000, P-010-000, P-011-000" in text
    assert "of B:" not in text
    third = [row for row in scores(3) if row["case"] != "P-000-000"]
    three = compare_methods({"A": longer, "B": other, "C": third})
    assert {test.found.n for test in three.differences} == {8}  # in the pairs without C as well
    within = compare_methods({"A": [row for row in longer if row["case"] in found.cases], "B": other})
    assert (within.differences, within.ranking) == (found.differences, found.ranking)


def test_a_score_without_value_is_left_out_of_its_test_and_ranked_worst() -> None:
    hollow = [row | ({"lesion_wise_dice": None} if row["case"] == "P-000-000" else {}) for row in scores(1)]
    found = compare_methods({"A": scores(1), "B": hollow})
    assert [test.found.n for test in found.differences if test.score.column == "lesion_wise_dice"] == [9, 9, 9]
    assert found.ranking is not None
    assert found.ranking.pairs[0].difference == pytest.approx(3 / 60)  # 3 of 60 ranks go from 1.5, 1.5 to 1, 2


@pytest.mark.parametrize(
    ("rules", "extra", "ranked", "absent"),
    [
        ("brats2023", (), ("lesion_wise_dice", "lesion_wise_hd95"), ()),
        ("brats2024", ("lesion_wise_nsd_1.0",), ("lesion_wise_dice", "lesion_wise_nsd_1.0"), ()),
        ("brats2026", ("lesion_wise_nsd_spacing",), ("lesion_wise_dice", "lesion_wise_nsd_spacing"), ("small_f1",)),
    ],
)
def test_what_each_rule_set_ranks_by(rules: str, extra: tuple[str, ...], ranked: tuple[str, ...], absent: Any) -> None:
    tables = {
        name: [row | dict.fromkeys(extra, 0.5) for row in scores(seed, rules=rules)] for seed, name in enumerate("AB")
    }
    found = compare_methods(tables)
    assert found.ranking is not None
    assert (found.ranking.metrics, found.absent) == (ranked, absent)
    text = comparison_text(found)
    assert ("No official ranking of brats2024" in text) == (rules == "brats2024")
    assert ("not ranked by: small_f1" in text) == (rules == "brats2026")


def test_scores_in_their_order() -> None:
    """Those that the rule set ranks by come first, then f1, dice, hd95, whatever the order of the columns."""
    tables = {name: [row | {"f1": 0.5} for row in scores(seed)] for seed, name in enumerate("AB")}
    found = [test.score.column for test in compare_methods(tables).differences if test.region == "WT"]
    assert found == ["lesion_wise_dice", "lesion_wise_hd95", "f1", "dice", "hd95"]


def test_a_column_that_somebody_added_is_compared() -> None:
    tables = {name: [row | {"my_dice": row["dice"]} for row in scores(seed)] for seed, name in enumerate("AB")}
    own, usual = (compare_methods(tables, scores=[score]).differences for score in ("my_dice", "dice"))
    assert [(test.found, test.p_holm) for test in own] == [(test.found, test.p_holm) for test in usual]


def test_tables_without_a_metric_of_the_ranking_are_still_compared() -> None:
    tables = {
        name: [{key: row[key] for key in ("case", "region", "rules", "dice")} for row in scores(1)] for name in "AB"
    }
    found = compare_methods(tables)
    assert found.ranking is None
    assert {test.score.column for test in found.differences} == {"dice"}
    assert "No ranking: the tables lack lesion_wise_dice, lesion_wise_hd95" in comparison_text(found)


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two methods to compare, found 1"):
        compare_methods({"A": scores(1)})
    with pytest.raises(ValueError, match="one rule set, found A: brats2023; B: brats2026"):
        compare_methods({"A": scores(1), "B": scores(1, rules="brats2026")})
    mixed = scores(1) + [row | {"region": "RC", "rules": "brats2026"} for row in scores(1)]
    with pytest.raises(ValueError, match="brats2023, brats2026"):
        compare_methods({"A": mixed, "B": mixed})
    with pytest.raises(ValueError, match=r"found none \(A: 10, such as P-000-000; B: 1, such as other\)"):
        compare_methods({"A": scores(1), "B": [scores(1)[0] | {"case": "other"}]})
    with pytest.raises(ValueError, match="expected the score f1 in every table, found none in A, B"):
        compare_methods({"A": scores(1), "B": scores(2)}, scores=["f1"])
    with pytest.raises(ValueError, match="found 'volume_error_mm3'"):
        compare_methods({"A": scores(1), "B": scores(2)}, scores=["volume_error_mm3"])


# ---------------------------------------------------------------- files and words


def test_names_of_methods(tmp_path: Path) -> None:
    run, table = tmp_path / "runs" / "base", tmp_path / "other.csv"
    run.mkdir(parents=True)
    assert method_names([run, table, tmp_path / "x" / "scores.csv"]) == ["base", "other", "x"]
    twins = [tmp_path / "a" / "run" / "scores.csv", tmp_path / "b" / "run" / "scores.csv"]
    assert method_names(twins) == [str(path) for path in twins]
    assert method_names(twins, ["one", "two"]) == ["one", "two"]
    with pytest.raises(ValueError, match="expected a different name for each of 2 tables"):
        method_names(twins, ["one"])
    with pytest.raises(ValueError, match="expected a different name for each of 2 tables"):
        method_names(twins, ["one", "one"])
    with pytest.raises(ValueError, match="the same one twice"):
        method_names([table, tmp_path / "runs" / ".." / "other.csv"])


def test_p_in_words() -> None:
    assert [p_text(p) for p in (1.0, 0.314, 0.0421, 0.001, 0.0009)] == ["1.00", "0.31", "0.042", "0.001", "< 0.001"]


def test_the_file_holds_every_number() -> None:
    found = compare_methods({"A": scores(1), "B": scores(2)})
    rows = list(csv.DictReader(comparison_csv(found).splitlines()))
    assert tuple(rows[0]) == COMPARISON_COLUMNS
    assert len(rows) == 13
    test = found.differences[5]
    row = rows[5]
    assert (row["region"], row["score"], row["test"]) == ("TC", "lesion_wise_hd95", "wilcoxon")
    numbers = [float(row[key]) for key in ("difference", "ci_low", "ci_high", "rank_biserial", "p", "p_holm")]
    assert numbers == [
        test.found.difference,
        *(test.found.interval or ()),
        test.found.effect,
        test.found.p,
        test.p_holm,
    ]
    assert (rows[6]["score"], rows[6]["p"], rows[6]["family"]) == ("dice", "", "exploratory")
    assert found.ranking is not None
    ranked = rows[-1]
    assert (ranked["region"], ranked["score"], ranked["test"]) == ("all", "mean_rank", "permutation")
    assert float(ranked["method_mean"]) == found.ranking.mean_ranks["B"]
    assert float(ranked["p"]) == found.ranking.pairs[0].p
    assert {row["rules"] for row in rows} == {"brats2023"}


def test_few_patients_are_said_to_show_nothing() -> None:
    said = "Fewer than 6 patients: no p can be below 0.05"
    few = compare_methods({"A": scores(1, cases=5, time_points=4), "B": scores(2, cases=5, time_points=4, shift=9)})
    assert min(test.found.p for test in few.differences) == 2 / 2**5
    assert said in comparison_text(few)
    assert said not in comparison_text(compare_methods({"A": scores(1, cases=6), "B": scores(2, cases=6)}))


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write(tmp_path / "one" / "scores.csv", scores(1))
    two = write(tmp_path / "two.csv", scores(2))
    assert main(["compare", str(one.parent), str(two), "--out", str(tmp_path / "out" / "comparison.csv")]) == 0
    printed = capsys.readouterr().out
    expected = compare_methods({"one": read_scores(one), "two": read_scores(two)})
    assert comparison_text(expected) in printed
    assert (tmp_path / "out" / "comparison.csv").read_text() == comparison_csv(expected)
    assert main(["compare", str(one), str(two), "--names", "A", "B", "--scores", "dice"]) == 0
    printed = capsys.readouterr().out
    assert "B minus A" in printed
    assert "The declared family is Whole-volume Dice in WT, TC, ET compared with A: 3 tests" in printed
    assert "hd95" not in printed.split("Ranking")[0]


def test_the_verb_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write(tmp_path / "one" / "scores.csv", scores(1))
    for wrong, said in (
        ([str(one)], "at least two methods"),
        ([str(one), str(tmp_path / "none.csv")], "none.csv: no such table"),
        ([str(one), str(tmp_path)], "scores.csv: no such table"),
        ([str(one), str(one)], "the same one twice"),
        ([str(one), str(write(tmp_path / "new.csv", scores(1, rules="brats2026")))], "one rule set"),
        ([str(one), str(write(tmp_path / "odd.csv", [{"case": "A", "dice": 1}]))], "none called region, rules"),
        ([str(one), str(write(tmp_path / "double.csv", scores(1) * 2))], "P-000-000 WT twice"),
    ):
        assert main(["compare", *wrong]) == 2
        error = capsys.readouterr().err
        assert error.startswith("mets3d compare: ")
        assert said in error
        assert error.count("\n") == 1
