"""Ranks by hand, the permutation test against every exchange written out, and on methods that are equally good."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from mets3d.evaluation.rules import BRATS_2023, RULE_SETS
from mets3d.evaluation.scores import lower_is_better
from mets3d.statistics.ranking import Ranking, rank_methods

Row = dict[str, Any]
METRICS = BRATS_2023.ranked_by


def table(values: dict[str, tuple[float | None, float | None]], region: str = "ET") -> list[Row]:
    """Case -> Dice, HD95."""
    return [
        {"case": case, "region": region, "rules": "brats2023"} | dict(zip(METRICS, scores, strict=True))
        for case, scores in values.items()
    ]


def test_ranks_by_hand() -> None:
    tables = {
        "A": table({"P-1": (0.9, 2.0), "P-2": (0.5, 10.0)}),
        "B": table({"P-1": (0.8, 1.0), "P-2": (0.5, 12.0)}),
        "C": table({"P-1": (0.7, 3.0), "P-2": (0.9, 1.0)}),
    }
    found = rank_methods(tables, ["P-2", "P-1"], ["ET"], METRICS)
    # Dice ranks: P-1 1 2 3, P-2 2.5 2.5 1. HD95 ranks: P-1 2 1 3, P-2 2 3 1.
    assert found.mean_ranks == {"A": 7.5 / 4, "B": 8.5 / 4, "C": 8 / 4}
    assert (found.cases, found.patients, found.regions, found.metrics) == (2, 2, ("ET",), METRICS)
    assert [(pair.reference, pair.method, pair.difference) for pair in found.pairs] == [
        *(("A", "B", 0.25), ("A", "C", 0.125), ("B", "C", -0.125)),
    ]
    assert (found.pairs[1].better, found.pairs[1].worse) == (1, 1)


def test_no_value_is_the_worst_rank() -> None:
    tables = {
        "A": table({"P-1": (0.0, None), "P-2": (None, None)}),
        "B": table({"P-1": (None, 374.0), "P-2": (None, 1.0)}),
        "C": table({"P-1": (0.5, None), "P-2": (None, 2.0)}),
    }
    found = rank_methods(tables, ["P-1", "P-2"], ["ET"], METRICS)
    # P-1: Dice 2 3 1, HD95 2.5 1 2.5. P-2: Dice 2 2 2, HD95 3 1 2.
    assert found.mean_ranks == {"A": 9.5 / 4, "B": 7 / 4, "C": 7.5 / 4}


def random_tables(rng: np.random.Generator, patients: int, gain: float = 0.0) -> dict[str, list[Row]]:
    """Two methods of 1 or 2 time points a patient, scores rounded so that some are tied."""
    cases = [f"P-{patient:04d}-{time:03d}" for patient in range(patients) for time in range(1 + patient % 2)]

    def draw(shift: float) -> list[Row]:
        rows = []
        for region in ("WT", "ET"):
            drawn = {case: rng.random(2) for case in cases}
            values = {case: (round(x + shift, 1), round(20 * y - shift)) for case, (x, y) in drawn.items()}
            rows += table(values, region)
        return rows

    return {"A": draw(0.0), "B": draw(gain)}


def all_cases(tables: dict[str, list[Row]]) -> list[str]:
    return sorted({row["case"] for row in tables["A"]})


def ranked(tables: dict[str, list[Row]]) -> Ranking:
    return rank_methods(tables, all_cases(tables), ["WT", "ET"], METRICS)


@pytest.mark.parametrize("seed", [1, 3, 5])
def test_p_is_that_of_every_exchange_of_the_two_methods(seed: int) -> None:
    """For each of 2^7 choices of patients the two methods' rows are exchanged and everything is ranked anew."""
    tables = random_tables(np.random.default_rng(seed), 7, gain=0.15)
    observed = ranked(tables).pairs[0]
    hits = []
    for exchanged in itertools.product((False, True), repeat=7):
        mixed = {
            name: [
                row
                for row, other in zip(tables[name], tables["BA"[name == "B"]], strict=True)
                for row in [other if exchanged[int(row["case"][2:6])] else row]
            ]
            for name in "AB"
        }
        hits.append(abs(ranked(mixed).pairs[0].difference) >= abs(observed.difference) - 1e-12)
    assert len(hits) == 128
    assert observed.p == pytest.approx(np.mean(hits), rel=1e-12)


def test_exchanging_the_methods_flips_the_difference_and_keeps_p() -> None:
    tables = random_tables(np.random.default_rng(1), 9, gain=0.1)
    forward = ranked(tables).pairs[0]
    backward = ranked({"B": tables["B"], "A": tables["A"]}).pairs[0]
    assert backward.p == forward.p
    assert backward.difference == -forward.difference
    assert forward.interval is not None
    assert backward.interval == pytest.approx((-forward.interval[1], -forward.interval[0]), abs=1e-12)
    assert (backward.better, backward.worse) == (forward.worse, forward.better)


def test_a_method_against_itself() -> None:
    rows = random_tables(np.random.default_rng(2), 8)["A"]
    found = ranked({"A": rows, "B": rows})
    assert found.mean_ranks == {"A": 1.5, "B": 1.5}
    assert (found.pairs[0].p, found.pairs[0].difference, found.pairs[0].interval) == (1.0, 0.0, (0.0, 0.0))


def test_few_patients_have_ranks_without_interval_and_p() -> None:
    tables = random_tables(np.random.default_rng(5), 5, gain=0.4)
    (pair,) = ranked(tables).pairs
    assert (pair.interval, pair.p, pair.p_holm) == (None, None, None)
    (pair,) = ranked(random_tables(np.random.default_rng(5), 6, gain=0.4)).pairs
    assert None not in (pair.interval, pair.p, pair.p_holm)


def test_pairs_are_corrected_for_their_number() -> None:
    rng = np.random.default_rng(3)
    tables = random_tables(rng, 12, gain=0.4) | {"C": random_tables(rng, 12)["A"]}
    pairs = ranked(tables).pairs
    smallest = min(pairs, key=lambda pair: pair.p)
    assert smallest.p_holm == pytest.approx(3 * smallest.p)
    assert all(pair.p_holm >= pair.p for pair in pairs)


def test_chance_alone_is_called_a_difference_at_most_as_often_as_allowed() -> None:
    """300 pairs of equally good methods over 12 patients: the binomial SD of the rate at 5 % is 1.3 %."""
    rng = np.random.default_rng(4)
    rejected = np.mean([ranked(random_tables(rng, 12)).pairs[0].p <= 0.05 for _ in range(300)])
    assert 0.015 < rejected <= 0.08


def test_directions() -> None:
    assert lower_is_better("lesion_wise_hd95")
    assert lower_is_better("lesions_missed")
    assert lower_is_better("global_hd95")
    assert lower_is_better("lesions_false")
    for score in ("lesion_wise_dice", "lesion_wise_nsd_1.0", "small_f1", "lesions_found", "sensitivity", "specificity"):
        assert not lower_is_better(score)
    for score in ("volume_error_mm3", "lesion_wise_dice_sd", "lesion_wise_hd95_sd", "nonsense", "reference_volume_mm3"):
        with pytest.raises(ValueError, match=f"found '{score}'"):
            lower_is_better(score)
    for score, lower in (("my_dice", False), ("hd95_of_edges", True), ("recall_5", False), ("false_rate", True)):
        assert lower_is_better(score) == lower  # a column that somebody added goes by its name
    for score in ("my_dice_sd", "hd95_mm3"):
        with pytest.raises(ValueError, match=f"found '{score}'"):
            lower_is_better(score)
    assert [lower_is_better(metric) for rules in RULE_SETS for metric in rules.ranked_by].count(True) == 1
