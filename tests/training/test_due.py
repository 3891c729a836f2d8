"""What is due after a step, by hand."""

import dataclasses

import pytest

from mets3d.config import Config
from mets3d.training.due import Due, due
from mets3d.training.progress import Progress

CONFIG = Config.model_validate({"train": {"steps": 10, "checkpoint_every": 4}, "validate": {"every": 3}})
NOTHING = Due(validation=False, weights=False, checkpoint=False, stop=False)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (1, set()),
        (3, {"validation"}),
        (4, {"checkpoint"}),
        (9, {"validation"}),
        (10, {"validation", "weights", "checkpoint"}),
    ],
)
def test_each_on_its_own_count_and_all_after_the_last_step(step: int, expected: set[str]) -> None:
    now = due(CONFIG, Progress(step=step))
    assert {name for name, is_due in dataclasses.asdict(now).items() if is_due} == expected
    assert now.pause is bool(expected)


def test_a_validation_is_due_once_and_not_before_the_first_step() -> None:
    assert not due(CONFIG, Progress()).validation
    assert due(CONFIG, Progress(step=3, validated=3)) == NOTHING


def test_a_better_score_is_worth_weights_and_a_checkpoint() -> None:
    now = due(CONFIG, Progress(step=3, validated=3, best_step=3), better=True)
    assert now == Due(validation=False, weights=True, checkpoint=True, stop=False)


def test_the_last_weights_give_way_to_better_ones_of_before() -> None:
    assert not due(CONFIG, Progress(step=10, validated=10, best_step=3)).weights


@pytest.mark.parametrize("step", [1, 3, 10])
def test_a_stop_leaves_a_checkpoint_and_puts_the_validation_off(step: int) -> None:
    assert due(CONFIG, Progress(step=step), stop=True) == Due(
        validation=False, weights=False, checkpoint=True, stop=True
    )
