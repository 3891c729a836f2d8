"""Intervals against slow loops, the normal distribution, published values, and how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mets3d.statistics.intervals import (
    RESAMPLES,
    bootstrap_interval,
    mean_interval,
    patient_sums,
    proportion_interval,
    ratio_of_sums,
    wilson_interval,
)

FOUR_PATIENTS = ["P-2-000", "P-1-001", "P-1-000", "P-3-000", "P-0"]  # patients 2, 1, 1, 3, 0


def names(patients: int, time_points: int = 1) -> list[str]:
    return [f"P-{patient:04d}-{time:03d}" for patient in range(patients) for time in range(time_points)]


def test_sums_over_the_time_points_of_a_patient() -> None:
    terms = np.array([[1.0, 1.0], [10.0, 1.0], [100.0, 1.0], [1000.0, 1.0], [0.5, 1.0]])
    assert patient_sums(terms, FOUR_PATIENTS).tolist() == [[0.5, 1], [110, 2], [1, 1], [1000, 1]]


def test_the_bootstrap_is_that_of_a_plain_loop_over_patients() -> None:
    rng = np.random.default_rng(3)
    cases = ["P-00-000", "P-00-001", "P-01-000", "P-02-000", "P-03-000", "P-04-000", "P-04-001", "P-04-002", "P-05-000"]
    values = rng.random(len(cases))
    of_patient: dict[str, list[float]] = {}
    for case, value in zip(cases, values, strict=True):
        of_patient.setdefault(case[:4], []).append(float(value))
    patients = [of_patient[patient] for patient in sorted(of_patient)]
    drawn = np.random.default_rng(0).integers(len(patients), size=(RESAMPLES, len(patients)))
    means = [np.mean([value for index in row for value in patients[index]]) for row in drawn]
    low, high = np.percentile(means, [2.5, 97.5])
    assert mean_interval(values, cases) == pytest.approx((low, high), rel=1e-12)


def test_time_points_of_a_patient_do_not_count_as_so_many_patients() -> None:
    values = np.random.default_rng(1).random(10)
    alone = mean_interval(values, names(10))
    repeated = mean_interval(np.repeat(values, 5), names(10, 5))
    as_if_independent = mean_interval(np.repeat(values, 5), names(50))
    assert alone is not None
    assert as_if_independent is not None
    assert repeated == pytest.approx(alone, rel=1e-12)
    assert (as_if_independent[1] - as_if_independent[0]) < 0.6 * (alone[1] - alone[0])


def test_few_patients_have_no_interval() -> None:
    assert mean_interval(np.ones(0), []) is None
    assert mean_interval(np.arange(5.0), names(5)) is None
    assert mean_interval(np.arange(50.0), names(5, 10)) is None
    assert mean_interval(np.arange(6.0), names(6)) is not None
    assert mean_interval(np.arange(2.0), names(2), fewest=2) == (0.0, 1.0)


def test_resamples_without_a_value_are_left_out() -> None:
    terms = np.array([[1.0, 1.0]] + [[0.0, 0.0]] * 6)  # a ratio that exists only where the first patient is drawn
    assert bootstrap_interval(ratio_of_sums, terms, names(7)) == (1.0, 1.0)
    assert bootstrap_interval(ratio_of_sums, np.zeros((7, 2)), names(7)) is None


def test_the_interval_of_many_is_the_normal_one() -> None:
    values = np.random.default_rng(5).normal(0.3, 1.0, 400)
    half = 1.959964 * values.std(ddof=1) / 20
    assert mean_interval(values, names(400)) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)


def test_wilson_by_published_values() -> None:
    # Newcombe, Statistics in Medicine 17:857, 1998, table I, method 3: 81/263, 15/148, 0/20, 1/29.
    for hits, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)):
        assert wilson_interval(hits / n, n) == pytest.approx((low, high), abs=5e-5)
    assert wilson_interval(1 / 29, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_proportions_of_independent_lesions_are_wilsons() -> None:
    hits = np.array([1.0, 0, 1, 1, 0, 1, 1, 1, 0, 1])
    assert proportion_interval(hits, np.ones(10), names(10)) == wilson_interval(0.7, 9.0)  # d = 10 / 9
    assert stats.binomtest(7, 10).proportion_ci(method="wilson").low == pytest.approx(wilson_interval(0.7, 10)[0])


def test_lesions_of_a_patient_that_go_together_count_as_one() -> None:
    hits = np.repeat([1.0, 0, 1, 1, 0, 1, 1, 1, 0, 1], 4) * 3
    clustered = proportion_interval(hits, np.full(40, 3.0), names(10, 4))
    assert clustered == pytest.approx(wilson_interval(0.7, 9.0))
    # Names that say nothing of the patient, and who it is.
    cases = [f"scan {number}" for number in range(40)]
    told = {case: str(number // 4) for number, case in enumerate(cases)}
    assert proportion_interval(hits, np.full(40, 3.0), cases, told) == clustered


def test_lesions_that_vary_less_than_chance_are_not_worth_more_than_independent_ones() -> None:
    assert proportion_interval(np.ones(8), np.full(8, 2.0), names(8)) == wilson_interval(0.5, 16)


def test_all_found_and_none_found_still_have_an_interval() -> None:
    assert proportion_interval(np.full(8, 5.0), np.full(8, 5.0), names(8)) == wilson_interval(1.0, 8)
    assert proportion_interval(np.zeros(8), np.full(8, 5.0), names(8)) == wilson_interval(0.0, 8)
    # Patients without a lesion say nothing, and five with one are too few.
    assert proportion_interval(np.zeros(8), np.array([1.0] * 5 + [0.0] * 3), names(8)) is None
    assert proportion_interval(np.zeros(0), np.zeros(0), []) is None


@pytest.mark.slow
def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """400 cohorts of 30 patients with one to four alike time points: the binomial SD of the coverage is 1.1 %."""
    rng = np.random.default_rng(7)
    held = {"patients": 0, "cases": 0, "recall": 0}
    cohorts = 400
    for _ in range(cohorts):
        points = rng.integers(1, 5, 30)
        cases = [f"P-{patient:04d}-{time:03d}" for patient in range(30) for time in range(points[patient])]
        patient = np.repeat(np.arange(30), points)
        values = rng.normal(0.5, 0.2, 30)[patient] + rng.normal(0, 0.05, len(cases))
        found = rng.binomial(5, rng.beta(3, 1, 30)[patient])
        for name, interval, truth in (
            ("patients", mean_interval(values, cases), 0.5),
            ("cases", mean_interval(values, [str(index) for index in range(len(cases))]), 0.5),
            ("recall", proportion_interval(found.astype(float), np.full(len(cases), 5.0), cases), 0.75),
        ):
            assert interval is not None
            held[name] += interval[0] <= truth <= interval[1]
    assert 0.90 <= held["patients"] / cohorts <= 0.97
    assert held["cases"] / cohorts < 0.85  # what resampling cases would do
    assert 0.91 <= held["recall"] / cohorts <= 0.98
