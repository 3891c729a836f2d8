"""How far a training is and how long it has left: times that can be added by hand."""

from __future__ import annotations

import pytest

from mets3d.statistics.pace import pace_of, step_curve


def steps(*seconds, first=1, batch_size=2):
    """Lines of steps that took so long; None for one without a time."""
    return [
        {"step": first + place, "loss": 1.0} | ({} if took is None else {"samples_per_second": batch_size / took})
        for place, took in enumerate(seconds)
    ]


def test_time_so_far_is_that_of_steps_and_validations_and_the_rest_follows_the_median():
    training = steps(10.0, 1.0, 2.0, 1.0)  # the first one compiles
    validation = [{"step": 2, "seconds": 5.0}, {"step": 4, "seconds": 7.0}]
    pace = pace_of(training, validation, batch_size=2, steps=9, every=[2])
    assert (pace.step, pace.steps) == (4, 9)
    assert pace.seconds == pytest.approx(14 + 12)
    assert pace.seconds_a_step == pytest.approx(1.5)
    assert pace.seconds_a_validation == pytest.approx(6)
    assert pace.seconds_left == pytest.approx(5 * 1.5 + 3 * 6)  # validations after 6, 8 and the last step, 9


def test_two_counts_of_validations_meet_in_one():
    pace = pace_of(steps(1.0), [{"step": 1, "seconds": 10.0}], batch_size=2, steps=12, every=[4, 6])
    assert pace.seconds_left == pytest.approx(11 + 4 * 10)  # after 4, 6, 8 and 12


def test_the_median_is_of_the_last_hundred_steps():
    pace = pace_of(steps(*[9.0] * 200, *[1.0] * 100), [], batch_size=2, steps=301, every=[])
    assert pace.seconds_a_step == pytest.approx(1)
    assert pace.seconds_left == pytest.approx(1)


def test_a_log_without_times_says_none():
    pace = pace_of(steps(None, None), [{"step": 2}], batch_size=2, steps=4, every=[2])
    assert (pace.step, pace.seconds) == (2, 0)
    assert (pace.seconds_a_step, pace.seconds_a_validation, pace.seconds_left) == (None, None, None)
    assert pace_of([], [], batch_size=2, steps=4, every=[2]).step == 0


def test_a_run_at_its_end_has_nothing_left():
    assert pace_of(steps(1.0, 1.0), [], batch_size=2, steps=2, every=[1]).seconds_left == 0


def test_steps_without_a_time_are_left_out_of_the_curve():
    at, seconds = step_curve(steps(2.0, None, 4.0, first=5, batch_size=3), 3)
    assert at.tolist() == [5, 7]
    assert seconds.tolist() == pytest.approx([2, 4])
