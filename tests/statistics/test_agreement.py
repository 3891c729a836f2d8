"""Bland-Altman by hand and by the formulas for independent cases; ICC against an analysis of variance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mets3d.statistics.agreement import volume_agreement, volume_pairs


def names(patients: int) -> list[str]:
    return [f"P-{patient:04d}-000" for patient in range(patients)]


def icc_by_anova(x: np.ndarray, y: np.ndarray) -> float:
    table = np.column_stack([x, y])
    n, k = table.shape
    grand = table.mean()
    rows = k * ((table.mean(1) - grand) ** 2).sum() / (n - 1)
    columns = n * ((table.mean(0) - grand) ** 2).sum() / (k - 1)
    residual = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + grand
    rest = (residual**2).sum() / ((n - 1) * (k - 1))
    return float((rows - rest) / (rows + (k - 1) * rest + k * (columns - rest) / n))


def test_limits_by_hand() -> None:
    # Differences 1, 3, -1, 1: mean 1, SD sqrt(8 / 3).
    found = volume_agreement(np.array([11.0, 23, 29, 41]), np.array([10.0, 20, 30, 40]), names(4))
    assert found is not None
    sd = (8 / 3) ** 0.5
    assert (found.n, found.bias_mm3) == (4, 1.0)
    assert found.sd_mm3 == pytest.approx(sd)
    assert (found.lower_mm3, found.upper_mm3) == pytest.approx((1 - 1.959964 * sd, 1 + 1.959964 * sd), rel=1e-6)
    assert found.bias_interval is None  # four patients


def test_icc_of_the_textbook() -> None:
    """Shrout and Fleiss's first two judges, by an analysis of variance written out here, and exact cases."""
    first, second = np.array([9.0, 6, 8, 7, 10, 6]), np.array([2.0, 1, 4, 1, 5, 2])
    found = volume_agreement(first, second, names(6))
    assert found is not None
    assert found.icc == pytest.approx(icc_by_anova(first, second), rel=1e-12)
    same = volume_agreement(first, first, names(6))
    assert same is not None
    assert same.icc == pytest.approx(1.0)
    # A constant shift is disagreement: with variance v of the cases and shift c, v / (v + c^2 / 2).
    shifted = volume_agreement(first + 3, first, names(6))
    assert shifted is not None
    variance = first.var(ddof=1)
    assert shifted.icc == pytest.approx(variance / (variance + 4.5))
    assert shifted.sd_mm3 == pytest.approx(0, abs=1e-12)


def test_large_volumes_lose_no_digits() -> None:
    rng = np.random.default_rng(0)
    x, y = 1e6 + rng.random(50), 1e6 + rng.random(50)
    found = volume_agreement(x, y, names(50))
    assert found is not None
    assert found.sd_mm3 == pytest.approx((x - y).std(ddof=1), rel=1e-9)
    assert found.upper_mm3 == pytest.approx((x - y).mean() + 1.959964 * (x - y).std(ddof=1), rel=1e-6)
    assert found.icc == pytest.approx(icc_by_anova(x, y), abs=1e-6)


def test_cases_without_the_region_are_left_out() -> None:
    found = volume_agreement(np.array([0.0, 0, 4, 5]), np.array([0.0, 2, 0, 5]), names(4))
    assert found is not None
    assert (found.n, found.bias_mm3) == (3, pytest.approx(2 / 3))
    assert volume_agreement(np.zeros(3), np.zeros(3), names(3)) is None
    assert volume_agreement(np.zeros(0), np.zeros(0), []) is None


def test_what_cannot_be_had_is_none() -> None:
    one = volume_agreement(np.array([5.0]), np.array([3.0]), names(1))
    assert one is not None
    assert (one.n, one.bias_mm3, one.sd_mm3, one.lower_mm3, one.icc) == (1, 2.0, None, None, None)
    equal = volume_agreement(np.full(8, 5.0), np.full(8, 5.0), names(8))
    assert equal is not None
    assert (equal.sd_mm3, equal.icc, equal.icc_interval) == (0.0, None, None)
    assert equal.bias_interval == (0.0, 0.0)


def test_intervals_of_the_limits_are_about_bland_and_altmans() -> None:
    """Their variance of a limit for independent normal differences: SD^2 (1 / n + 1.96^2 / (2 (n - 1)))."""
    rng = np.random.default_rng(2)
    reference = rng.uniform(100, 1000, 200)
    prediction = reference + rng.normal(10, 20, 200)
    found = volume_agreement(prediction, reference, names(200))
    assert found is not None
    difference = prediction - reference
    sd = difference.std(ddof=1)
    half = 1.96 * sd * (1 / 200 + 1.96**2 / (2 * 199)) ** 0.5
    assert found.upper_mm3 is not None
    assert found.upper_interval == pytest.approx((found.upper_mm3 - half, found.upper_mm3 + half), abs=0.25 * half)
    assert found.bias_interval == pytest.approx(
        (found.bias_mm3 - 1.96 * sd / 200**0.5, found.bias_mm3 + 1.96 * sd / 200**0.5), abs=0.3
    )
    assert found.icc_interval is not None
    assert found.icc is not None
    assert found.icc_interval[0] < found.icc < found.icc_interval[1]
    assert found.lower_interval is not None
    assert found.lower_interval[1] < found.bias_mm3


def test_pairs_are_the_cases_with_either_volume() -> None:
    cells = [("A", 0.0, 0.0), ("B", 0.0, 2.0), ("C", 4.0, 0.0), ("E", 5.0, 4.0), ("D", 1.0, math.nan)]
    table = [{"case": case, "prediction_volume_mm3": x, "reference_volume_mm3": y} for case, x, y in cells]
    pairs = volume_pairs([*table, {"case": "F", "prediction_volume_mm3": 1.0}])
    assert pairs.cases == ["B", "C", "E"]
    assert pairs.prediction_mm3.tolist() == [0, 4, 5]
    assert pairs.reference_mm3.tolist() == [2, 0, 4]
    assert volume_pairs([]).cases == []
