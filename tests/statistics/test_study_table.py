"""Arms x seeds x folds: every number by hand with NumPy, from the rows themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mets3d.evaluation.scores import score_of
from mets3d.statistics.against_reference import SHARED_LESIONS
from mets3d.statistics.intervals import mean_interval
from mets3d.statistics.paired_tests import holm, signed_rank
from mets3d.statistics.pooled_runs import MethodTables
from mets3d.statistics.study_table import step_seconds, study_table

Row = dict[str, Any]

# Ten cases of eight patients, in two folds of whole patients.
CASES = [f"P-{patient}-{time:03d}" for patient in range(8) for time in range(2 if patient < 2 else 1)]
FOLDS = (CASES[:5], CASES[5:])
SEEDS = (0, 1, 2)
RNG = np.random.default_rng(4)
SCORES = {
    (arm, seed, case, region): float(RNG.random()) + 0.3 * (arm == "term")
    for arm in ("base", "term", "alone")
    for seed in SEEDS
    for case in CASES
    for region in ("WT", "ET")
}
DICE = [score_of("dice")]


def run(arm: str, seed: int, cases: list[str]) -> MethodTables:
    rows = [
        {"case": case, "region": region, "rules": "brats2023", "dice": SCORES[arm, seed, case, region]}
        for case in cases
        for region in ("WT", "ET")
    ]
    return MethodTables(rows)


def arm(name: str, seeds: tuple[int, ...] = SEEDS) -> dict[tuple[int, int], MethodTables]:
    return {(seed, fold): run(name, seed, cases) for seed in seeds for fold, cases in enumerate(FOLDS)}


def of_cases(name: str, seeds: tuple[int, ...] = SEEDS, region: str = "ET") -> np.ndarray:
    return np.array([[SCORES[name, seed, case, region] for seed in seeds] for case in CASES])


ARMS = {"term": arm("term"), "base": arm("base"), "alone": {(0, 0): run("alone", 0, CASES)}}


def test_an_arm_is_the_mean_over_seeds_of_the_pooled_folds() -> None:
    table = study_table(ARMS, reference="base", scores=DICE)
    assert list(table.runs) == ["base", "term", "alone"]
    assert table.runs["term"] == ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1))
    assert (table.cases, table.patients) == (tuple(CASES), 8)
    found, expected = table.score("term", "ET", "dice"), of_cases("term")
    assert found is not None
    assert found.mean == pytest.approx(expected.mean())
    assert found.summary.sd == pytest.approx(expected.mean(1).std(ddof=1))
    assert found.by_seed == pytest.approx(dict(enumerate(expected.mean(0))))
    assert found.seed_sd == pytest.approx(expected.mean(0).std(ddof=1))
    alone = table.score("alone", "ET", "dice")
    assert alone is not None
    assert alone.seed_sd is None
    assert alone.by_seed == pytest.approx({0: of_cases("alone", (0,)).mean()})
    assert table.score("alone", "ET", "hd95") is None


def test_the_pair_is_the_patient_and_not_the_run() -> None:
    found = study_table(ARMS, reference="base", scores=DICE).difference("term", "ET", "dice")
    assert found is not None
    differences = (of_cases("term") - of_cases("base")).mean(1)
    assert (found.found.n, found.found.patients) == (10, 8)
    assert found.found.difference == pytest.approx(differences.mean())
    assert found.found.interval == pytest.approx(mean_interval(differences, CASES))
    of_patients = np.array([differences[:2].mean(), differences[2:4].mean(), *differences[4:]])
    assert found.found.p == signed_rank(of_patients).p
    by_seed = (of_cases("term") - of_cases("base")).mean(0)
    assert found.by_seed == pytest.approx(dict(enumerate(by_seed)))
    assert found.seed_sd == pytest.approx(by_seed.std(ddof=1))


def test_more_seeds_of_one_arm_change_only_its_mean() -> None:
    few = ARMS | {"term": arm("term", (1,))}
    found = study_table(few, reference="base", scores=DICE).difference("term", "ET", "dice")
    assert found is not None
    assert found.found.difference == pytest.approx((of_cases("term", (1,)).mean(1) - of_cases("base").mean(1)).mean())
    assert found.by_seed == pytest.approx({1: (of_cases("term", (1,)) - of_cases("base", (1,))).mean()})


def test_the_declared_family_is_corrected_by_itself() -> None:
    rows = {name: {key: MethodTables([row | {"f1": row["dice"] ** 2, "hd95": 9 - row["dice"]} for row in own.scores])
                   for key, own in runs.items()} for name, runs in ARMS.items()}  # fmt: skip
    table = study_table(rows, reference="base", family=("hd95",))
    declared = [test for test in table.differences if test.score.column == "hd95"]
    others = [test for test in table.differences if test.score.column != "hd95"]
    assert {test.score.column for test in others} == {"dice", "f1"}
    assert [test.p_holm for test in declared] == holm([test.found.p for test in declared])
    assert {test.family for test in declared} == {"declared"}
    assert {(test.p, test.p_holm, test.family) for test in others} == {(None, None, "exploratory")}
    every = study_table(rows, reference="base").differences
    assert {test.family for test in every} == {"exploratory"}  # no score of the primary family is there
    with pytest.raises(ValueError, match="family: expected columns that are compared, found hd59"):
        study_table(rows, family=("hd59",))


def test_cases_that_an_arm_lacks_are_left_out_and_named() -> None:
    short = ARMS | {"alone": {(0, 0): run("alone", 0, CASES[1:])}}
    table = study_table(short, reference="base", scores=DICE)
    assert table.cases == tuple(CASES[1:])
    assert table.left_out == {"term": [CASES[0]], "base": [CASES[0]], "alone": []}
    term = table.score("term", "ET", "dice")
    assert term is not None
    assert term.by_seed == pytest.approx(dict(enumerate(of_cases("term")[1:].mean(0))))
    # A seed without a case has no mean that can be held beside the others'.
    torn = ARMS | {"term": ARMS["term"] | {(2, 1): run("term", 2, CASES[6:])}}
    found = study_table(torn, reference="base", scores=DICE)
    assert found.partial == {"base": [], "term": [CASES[5]], "alone": []}
    score = found.score("term", "ET", "dice")
    assert score is not None
    assert sorted(score.by_seed) == [0, 1]
    assert score.mean == pytest.approx(
        np.mean([of_cases("term", (0, 1) if case == CASES[5] else SEEDS)[at].mean() for at, case in enumerate(CASES)])
    )


def test_lesions_of_both_and_by_size_are_means_over_seeds() -> None:
    def lesions(case: str, kind: str, hd95: float) -> list[Row]:
        of = {"case": case, "region": "ET", "lesion": "1", "kind": kind, "size_class": "2_to_27"}
        return [of | {"hd95": hd95, "reference_volume_mm3": 9.0}]

    def with_lesions(name: str, kinds: str, hd95: float) -> dict[tuple[int, int], MethodTables]:
        return {
            (seed, 0): MethodTables(run(name, seed, CASES[:1]).scores, lesions(CASES[0], kind, hd95 + seed))
            for seed, kind in enumerate(("missed", "found")[letter == "f"] for letter in kinds)
        }

    arms = {"base": with_lesions("base", "ffm", 1.0), "term": with_lesions("term", "fmf", 4.0)}
    table = study_table(arms)
    shared = table.difference("term", "ET", SHARED_LESIONS.column)
    assert shared is not None
    assert (shared.found.reference_mean, shared.found.method_mean) == (1.0, 4.0)  # seed 0 alone
    assert shared.by_seed == {0: 3.0}
    (size,) = table.recall("term", "ET")
    assert (size.found, size.missed, size.recall) == pytest.approx((2 / 3, 1 / 3, 2 / 3))
    assert table.recall("term", "WT") == []


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="arms with a run each"):
        study_table({"base": {}})
    with pytest.raises(ValueError, match="reference: expected one of term, base, alone, found bsae"):
        study_table(ARMS, reference="bsae")
    with pytest.raises(ValueError, match="cases that all arms have, found none"):
        study_table({"a": {(0, 0): run("base", 0, CASES[:2])}, "b": {(0, 0): run("base", 0, CASES[2:])}})
    other = [row | {"rules": "brats2026"} for row in run("term", 0, CASES).scores]
    with pytest.raises(ValueError, match=r"one rule set, found base: brats2023; term: brats2026"):
        study_table({"base": arm("base"), "term": {(0, 0): MethodTables(other)}})


def test_the_cost_of_a_step_is_its_median_without_the_first() -> None:
    rows = [{"step": step, "samples_per_second": speed} for step, speed in ((3, 2.0), (1, 0.01), (2, 4.0), (4, 1.0))]
    assert step_seconds(rows, 4) == 2.0
    assert step_seconds(rows[1:2], 4) is None
