"""How the cases of a table were decoded, in words and as remarks; tables that do not say it stay as they are."""

from __future__ import annotations

from mets3d.evaluation.tables import Row
from mets3d.statistics.decodings import decoding_in_words, decoding_remarks, decodings, different_decodings
from mets3d.statistics.pooled_runs import MethodTables, pooled


def rows(how: str = "", tuned_by: str = "", cases: int = 2, rules: str = "brats2026", first: int = 0) -> list[Row]:
    told = {key: value for key, value in (("decoding", how), ("decoding_rules", tuned_by)) if value}
    return [
        {"case": f"P-{first + number:03d}-000", "region": region, "rules": rules, **told}
        for number in range(cases)
        for region in ("WT", "ET")
    ]


def test_a_table_that_does_not_say_it_has_no_words() -> None:
    assert decoding_in_words(rows()) == ""
    assert decoding_remarks(rows()) == []
    assert different_decodings({"a": rows(), "b": rows()}) == []


def test_cases_are_counted_and_not_rows() -> None:
    assert decodings(rows("default", cases=3)) == {"default": ["P-000-000", "P-001-000", "P-002-000"]}
    assert decoding_in_words(rows("default")) == "default"
    mixed = rows("default", cases=1) + rows("tuned out-of-fold", "brats2026", cases=2, first=1) + rows(cases=1, first=5)
    assert decoding_in_words(mixed) == "tuned out-of-fold (2), default (1), unknown (1) by brats2026"


def test_what_makes_scores_optimistic_or_was_forced_is_remarked() -> None:
    assert decoding_remarks(rows("tuned out-of-fold", "brats2026")) == []
    [seen] = decoding_remarks(rows("tuned on this case", "brats2026"))
    assert seen == (
        "the decoding of 2 cases (P-000-000, P-001-000) was tuned on these very cases, so their scores are optimistic"
    )
    [perhaps] = decoding_remarks(rows("tuned (perhaps on this case)"), named=False)
    assert perhaps == "the decoding of 2 cases may have been tuned on them; then their scores are optimistic"
    forced, seen = decoding_remarks(rows("forced: tuned on this case", "brats2026"))
    assert "was forced: cross-validation does not support it" in forced
    assert "on these very cases" in seen


def test_one_run_of_an_arm_that_was_tuned_on_its_cases_is_remarked() -> None:
    alone = {case: rows(case, "brats2026") for case in ("tuned on this case", "tuned out-of-fold")}
    runs = {(seed, 0): MethodTables(tables) for seed, tables in enumerate(alone.values())}
    arm = pooled(runs).scores
    assert decoding_remarks(arm, named=False) == decoding_remarks(alone["tuned on this case"], named=False) != []
    forced = {(0, 0): MethodTables(rows("default")), (1, 0): MethodTables(rows("forced: tuned", "brats2023"))}
    assert "forced" in decoding_remarks(pooled(forced).scores)[0]
    assert "tuned by brats2023 and these are scores by brats2026" in decoding_remarks(pooled(forced).scores)[1]


def test_scores_by_other_rules_than_those_of_the_tuning_are_remarked() -> None:
    [remark] = decoding_remarks(rows("tuned out-of-fold", "brats2023"))
    assert remark.startswith(
        "the decoding was tuned by brats2023 and these are scores by brats2026, which it may lower"
    )
    assert decoding_remarks(rows("tuned out-of-fold", "brats2023", rules="brats2023")) == []
    both = rows("tuned out-of-fold", "brats2023", rules="brats2023") + rows("tuned out-of-fold", "brats2023")
    [remark] = decoding_remarks(both)
    assert "by brats2023 and these are scores by brats2023, brats2026, which" in remark


def test_methods_that_were_decoded_differently_are_named() -> None:
    tables = {"a": rows("default"), "b": rows("tuned out-of-fold", "brats2026"), "c": rows()}
    assert different_decodings(tables) == [
        "decoded differently (a: default; b: tuned out-of-fold by brats2026; c: unknown)"
    ]
    assert different_decodings({"a": rows("default"), "b": rows("default")}) == []
