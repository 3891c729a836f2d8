"""What cross-validation supports: gains beyond their standard error over patients, computed another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mets3d.tuning.support import support

NAN = math.nan


def alone(count: int) -> list[str]:
    return [f"P{number}" for number in range(count)]


def test_a_gain_and_its_error_are_those_of_a_paired_sample() -> None:
    default, crossed = np.array([0.5, 0.25, 0.75, 0.5]), np.array([0.75, 0.5, 0.75, 0.75])
    found = support(default, crossed, alone(4))
    assert found.gain == pytest.approx(0.1875)
    assert found.error == pytest.approx(stats.sem(crossed - default))
    assert found.holds


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12))
def test_with_a_case_each_it_holds_where_students_t_is_above_one(differences: list[float]) -> None:
    change = np.array(differences)
    found = support(np.zeros(len(change)), change, alone(len(change)))
    error = float(stats.sem(change))
    assert found.error == pytest.approx(error, abs=1e-12)
    if abs(change.mean() - error) > 1e-6:
        assert found.holds == (change.mean() > error)


@pytest.mark.parametrize("others", [1, 4, 30])
def test_a_gain_of_one_patient_alone_is_none(others: int) -> None:
    default = np.full(others + 1, 0.5)
    crossed = default.copy()
    crossed[0] = 1.0
    found = support(default, crossed, alone(others + 1))
    assert found.gain == pytest.approx(found.error)
    assert not found.holds
    crossed[1:] += 0.01
    assert support(default, crossed, alone(others + 1)).holds


def test_cases_of_one_patient_are_one_observation() -> None:
    """Two patients with two cases each say as much as two patients with a case each."""
    default, crossed = np.zeros(4), np.array([0.1, 0.1, 0.4, 0.4])
    found = support(default, crossed, ["A", "A", "B", "B"])
    assert (found.gain, found.error) == (pytest.approx(0.25), pytest.approx(stats.sem([0.1, 0.4])))
    assert found.error > support(default, crossed, alone(4)).error


def test_equal_scores_and_less_and_one_patient_are_no_support() -> None:
    half = np.full(3, 0.5)
    assert not support(half, half, alone(3)).holds
    assert not support(half, half - 0.1, alone(3)).holds
    one = support(half, half + 0.1, ["A"] * 3)
    assert one.gain == pytest.approx(0.1)
    assert math.isnan(one.error)
    assert not one.holds
    nothing = support(np.full(3, NAN), np.full(3, NAN), alone(3))
    assert math.isnan(nothing.gain)
    assert not nothing.holds


def test_a_false_lesion_in_a_case_without_any_costs_and_a_removed_one_gains() -> None:
    """Such a case has no value where nothing is found, so that the mean over values alone would not show it."""
    better = np.array([0.6, 0.6, 0.6])
    default, crossed = np.array([0.5, 0.5, NAN]), np.array([0.6, 0.6, 0.0])
    assert support(default, crossed, alone(3)).gain == pytest.approx((0.1 + 0.1 - 1) / 3)
    default, crossed = np.array([0.5, 0.5, 0.0]), np.array([0.6, 0.6, NAN])
    assert support(default, crossed, alone(3)).gain == pytest.approx((0.1 + 0.1 + 1) / 3)
    default, crossed = np.array([0.5, 0.5, NAN]), np.array([0.6, 0.6, NAN])
    found = support(default, crossed, alone(3))
    assert found.gain == pytest.approx(0.1)
    assert found == support(default[:2], better[:2], alone(2)), "a case without any value counts nowhere"
