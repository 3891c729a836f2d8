"""The learning rate by hand."""

import itertools
from typing import Any

import pytest

from mets3d.config import ConfigError, Optim, validate
from mets3d.training.schedule import learning_rate


def rate(step: int, steps: int, **settings: Any) -> float:
    return learning_rate(step, steps, Optim(**{"lr": 1.0, "min_lr": 0.0, "warmup_steps": 0, **settings}))


def test_warm_up_is_linear_and_the_end_is_the_minimum() -> None:
    rates = [rate(step, 13, min_lr=0.1, warmup_steps=4) for step in range(13)]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[4] == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.1)
    assert rates[8] == pytest.approx(0.55)  # half-way through the cosine
    assert all(a >= b for a, b in itertools.pairwise(rates[4:]))


def test_a_warm_up_longer_than_the_run_is_the_run() -> None:
    assert rate(4, 5, warmup_steps=500) == 1.0
    assert rate(0, 1) == 1.0


def test_poly_is_that_of_nnunet() -> None:
    # nnU-Net: initial rate x (1 - step / steps) ^ 0.9, so that the last step still moves.
    assert [rate(step, 4, schedule="poly") for step in range(4)] == pytest.approx([1.0, 0.75**0.9, 0.5**0.9, 0.25**0.9])
    after_two = [rate(step, 6, schedule="poly", warmup_steps=2, poly_power=2.0, min_lr=0.2) for step in range(6)]
    assert after_two == pytest.approx([0.5, 1.0, 1.0, 0.2 + 0.8 * 9 / 16, 0.2 + 0.8 / 4, 0.2 + 0.8 / 16])


def test_step_drops_by_its_factor_counted_from_the_end_of_the_warm_up() -> None:
    rates = [rate(step, 9, schedule="step", warmup_steps=1, step_every=3, step_factor=0.5) for step in range(9)]
    assert rates == pytest.approx([1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25])


def test_constant_stays_after_its_warm_up() -> None:
    assert [rate(step, 5, schedule="constant", warmup_steps=2) for step in range(5)] == [0.5, 1, 1, 1, 1]


@pytest.mark.parametrize("warmup", [0, 2, 5, 9])
@pytest.mark.parametrize("schedule", ["cosine", "poly", "constant", "step"])
def test_behind_the_end_of_the_curve_its_last_rate_holds(schedule: str, warmup: int) -> None:
    settings = {"schedule": schedule, "warmup_steps": warmup, "step_every": 2, "min_lr": 0.01}
    last = rate(4, 5, **settings)
    assert [rate(step, 5, **settings) for step in (5, 6, 50)] == [last] * 3


@pytest.mark.parametrize(
    ("optim", "message"),
    [
        ({"schedule": "step"}, "step_every none"),
        ({"schedule": "step", "step_every": 0}, "step_every is 0"),
        ({"schedule": "step", "step_every": 8, "warmup_steps": 2}, "first drop would come after 10 of 10 steps"),
        ({"schedule": "poly", "warmup_steps": 10}, "10 steps of warm-up leave it none of 10"),
        ({"schedule": "poly", "poly_power": 0.0, "warmup_steps": 0}, "optim.poly_power"),
        ({"schedule": "step", "step_every": 3, "step_factor": 1.0, "warmup_steps": 0}, "optim.step_factor"),
        ({"schedule": "linear"}, "optim.schedule"),
        ({"lr": 0.001, "min_lr": 0.01}, "min_lr is 0.01 and lr 0.001"),
        ({"ema": 1.0}, "optim.ema"),
        ({"ema": 1.5}, "optim.ema"),
        ({"ema": 0.0}, "optim.ema"),
        ({"layer_decay": 0.0}, "optim.layer_decay"),
        ({"betas": [0.9, 1.0]}, "optim.betas"),
    ],
)
def test_a_schedule_without_steps_and_its_like_are_one_line_each(optim: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate({"optim": optim, "train": {"steps": 10}}, [])
    (fault,) = caught.value.faults
    assert message in fault
    assert "\n" not in fault


def test_schedules_with_steps_pass() -> None:
    step = {"schedule": "step", "step_every": 7, "warmup_steps": 2}
    for optim in (step, {"schedule": "poly", "warmup_steps": 9}, {"schedule": "cosine", "warmup_steps": 500}):
        config = validate({"optim": optim, "train": {"steps": 10}}, [])
        assert config.optim.model_dump(include=set(optim)) == optim
    # What counts is the length of the curves.
    config = validate({"optim": step | {"step_every": 700}, "train": {"steps": 10, "schedule_steps": 1000}}, [])
    assert (config.optim.step_every, config.train.curve_steps) == (700, 1000)
