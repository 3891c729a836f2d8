"""Curves of a training log by hand."""

from __future__ import annotations

import numpy as np

from mets3d.statistics.curves import curve, mean_curve, summed_curve, thinned


def test_a_curve_leaves_out_what_has_no_finite_value() -> None:
    rows = [
        {"step": 1, "x": 2.0},
        {"step": 2, "x": None},
        {"step": 3},
        {"step": 4, "x": float("nan")},
        {"step": 5, "x": 1},
    ]
    steps, values = curve(rows, "x")
    assert steps.tolist() == [1, 5]
    assert values.tolist() == [2, 1]
    assert curve([], "x")[0].shape == (0,)


def test_a_sum_takes_the_keys_that_have_a_value() -> None:
    rows = [{"step": 1, "a": 1.0, "b": 2.0, "c": 6.0}, {"step": 2, "a": 1.0, "b": None}, {"step": 3, "c": 4.0}]
    steps, values = summed_curve(rows, ("a", "b"))
    assert steps.tolist() == [1, 2]
    assert values.tolist() == [3.0, 1.0]


def test_thinning_takes_means_of_neighbours() -> None:
    steps, values = np.arange(1.0, 13.0), np.arange(12.0) ** 2
    few_steps, few_values = thinned((steps, values), 4)
    assert few_steps.tolist() == [2, 5, 8, 11]
    assert few_values.tolist() == [float(np.mean(part)) for part in np.split(values, 4)]
    assert thinned((steps, values), 12)[1] is values


def test_the_mean_of_curves_is_at_the_steps_that_all_have() -> None:
    one = (np.array([1.0, 2.0, 4.0]), np.array([0.0, 1.0, 5.0]))
    two = (np.array([2.0, 3.0, 4.0]), np.array([3.0, 9.0, 1.0]))
    mean, low, high = mean_curve([one, two])
    assert [points.tolist() for points in mean] == [[2.0, 4.0], [2.0, 3.0]]
    assert low[1].tolist() == [1.0, 1.0]
    assert high[1].tolist() == [3.0, 5.0]
    assert [len(steps) for steps, _ in mean_curve([])] == [0, 0, 0]
