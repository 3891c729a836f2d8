"""The learning rate by hand."""

import itertools

import pytest

from mets3d.config import Optim
from mets3d.training.schedule import learning_rate


def rate(step: int, steps: int, **settings: float) -> float:
    return learning_rate(step, steps, Optim(**{"lr": 1.0, "min_lr": 0.0, "warmup_steps": 0, **settings}))  # type: ignore[arg-type]


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
