"""The smallest difference that a design shows: variances by least squares, power by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm, t, wilcoxon

from mets3d.statistics.power import DifferenceSpread, smallest_difference, spread_of_differences


def simulated(spread: DifferenceSpread, shift: float, shape: tuple[int, int, int], seed: int) -> np.ndarray:
    """Differences [study, patient, seed] around `shift`."""
    rng = np.random.default_rng(seed)
    studies, patients, seeds = shape
    found = shift + spread.patient * rng.standard_normal((studies, patients, 1))
    found = found + (spread.seed or 0.0) * rng.standard_normal((studies, 1, seeds))
    return found + spread.rest * rng.standard_normal(shape)


@pytest.mark.parametrize(("patients", "seeds"), [(12, 1), (40, 3)])
def test_the_test_over_patients_has_the_power_at_the_smallest_difference(patients: int, seeds: int) -> None:
    spread = DifferenceSpread(0.05, 0.0, 0.08)
    shift = smallest_difference(spread, patients=patients, seeds=seeds).these_networks
    means = simulated(spread, shift, (1500, patients, seeds), 1).mean(2)
    shown = np.mean(wilcoxon(means, axis=1, method="asymptotic").pvalue < 0.05)
    assert shown == pytest.approx(0.8, abs=0.04)  # three standard errors of 1500 studies are 0.03


def test_a_test_of_the_methods_has_the_power_at_the_larger_difference() -> None:
    """The mean over its standard error from the mean squares of the table, Satterthwaite's degrees of freedom."""
    spread = DifferenceSpread(0.03, 0.04, 0.06)
    found = smallest_difference(spread, patients=30, seeds=5)
    assert found.other_seeds is not None
    assert found.other_seeds > found.these_networks
    tables = simulated(spread, found.other_seeds, (4000, 30, 5), 2)
    rows, columns, middle = tables.mean(2, keepdims=True), tables.mean(1, keepdims=True), tables.mean((1, 2))
    of_patients, of_seeds = 5 * rows[..., 0].var(1, ddof=1), 30 * columns[:, 0].var(1, ddof=1)
    rest = ((tables - rows - columns + middle[:, None, None]) ** 2).sum((1, 2)) / (29 * 4)
    square = of_patients + of_seeds - rest
    freedom = square**2 / (of_patients**2 / 29 + of_seeds**2 / 4 + rest**2 / (29 * 4))
    shown = np.abs(middle) / np.sqrt(square / 150) > t.ppf(0.975, freedom)
    assert shown.mean() == pytest.approx(0.8, abs=0.04)


def test_many_patients_have_the_normal_formula() -> None:
    spread = DifferenceSpread(0.2, None, 0.0)
    found = smallest_difference(spread, patients=100_000, seeds=1, power=0.9, level=0.05, tests=5)
    by_hand = 0.2 * math.sqrt(math.pi / 3 / 100_000) * (norm.ppf(1 - 0.005) + norm.ppf(0.9))
    assert found.these_networks == pytest.approx(by_hand, rel=1e-4)
    assert found.other_seeds is None


def test_the_spread_is_that_of_the_mean_squares() -> None:
    rng = np.random.default_rng(3)
    cases = [f"P-{number}-000" for number in range(7)]
    table = rng.normal(size=(7, 4)) + 2 * rng.normal(size=(7, 1)) + 3 * rng.normal(size=4)
    by_seed = {seed: dict(zip(cases, table[:, seed].tolist(), strict=True)) for seed in range(4)}
    found = spread_of_differences(by_seed)
    # Residuals of the additive model by least squares on dummy variables.
    design = np.zeros((28, 11))
    for row, (patient, seed) in enumerate(np.ndindex(7, 4)):
        design[row, patient] = design[row, 7 + seed] = 1
    solution = np.linalg.lstsq(design, table.ravel(), rcond=None)[0]
    rest = ((table.ravel() - design @ solution) ** 2).sum() / 18
    assert found.rest == pytest.approx(math.sqrt(rest))
    assert found.patient == pytest.approx(math.sqrt(max(table.mean(1).var(ddof=1) - rest / 4, 0)))
    assert found.seed == pytest.approx(math.sqrt(max(table.mean(0).var(ddof=1) - rest / 7, 0)))


def test_time_points_of_a_patient_are_one_difference() -> None:
    values = {"P-1-000": 1.0, "P-1-001": 3.0, "P-2-000": 5.0, "P-3-000": 9.0}
    found = spread_of_differences({0: values})
    assert found.patient == pytest.approx(np.std([2.0, 5.0, 9.0], ddof=1))
    assert (found.seed, found.rest) == (None, 0.0)
    named = dict.fromkeys(values, "one") | {"P-3-000": "two"}
    assert spread_of_differences({0: values}, named).patient == pytest.approx(np.std([3.0, 9.0], ddof=1))


def test_equal_methods_show_any_difference() -> None:
    assert smallest_difference(DifferenceSpread(0.0, 0.0, 0.0), patients=9, seeds=2).other_seeds == 0.0


def test_what_cannot_be_computed_is_refused() -> None:
    with pytest.raises(ValueError, match="cases that all seeds have"):
        spread_of_differences({0: {"A": 1.0}, 1: {"B": 1.0}})
    with pytest.raises(ValueError, match="two patients or more, found one"):
        spread_of_differences({0: {"P-1-000": 1.0, "P-1-001": 2.0}})
    with pytest.raises(ValueError, match="found 1 patients, 3 seeds"):
        smallest_difference(DifferenceSpread(0.1, 0.1, 0.1), patients=1, seeds=3)
