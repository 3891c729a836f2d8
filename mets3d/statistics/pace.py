"""Works out from its log how far a training is, how long that took and how long the rest will take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from mets3d.evaluation.tables import Row
from mets3d.log_names import SAMPLES_PER_SECOND, SECONDS
from mets3d.statistics.curves import Curve, curve

RECENT = 100  # steps by whose median the rest is judged: the first ones, which compile or fill caches, are no measure


@dataclass(frozen=True)
class Pace:
    """How far a training is and how fast it goes.

    step, steps: the last one logged, and of how many. seconds: what the logged steps and validations took together,
    over all sessions of the run. seconds_a_step, seconds_a_validation, seconds_left: None where nothing was timed.
    """

    step: int
    steps: int
    seconds: float
    seconds_a_step: float | None
    seconds_a_validation: float | None
    seconds_left: float | None


def pace_of(
    training: Sequence[Row], validation: Sequence[Row], *, batch_size: int, steps: int, every: Iterable[int]
) -> Pace:
    """Returns the pace of a training by its lines of steps and of validations, each ascending.

    every: a validation is due at each multiple of each of these, and at the last step.
    """
    step = training[-1]["step"] if training else 0
    a_step = step_curve(training, batch_size)[1].tolist()
    a_validation = [row[SECONDS] for row in validation if isinstance(row.get(SECONDS), int | float)]
    lately = median(a_step[-RECENT:]) if a_step else None
    of_validation = fmean(a_validation) if a_validation else None
    ahead = {due for interval in every for due in range(interval, steps + 1, interval)} | {steps}
    left = None if lately is None else lately * max(steps - step, 0)
    if left is not None:
        left += (of_validation or 0.0) * sum(due > step for due in ahead)
    return Pace(step, steps, sum(a_step) + sum(a_validation), lately, of_validation, left)


def step_curve(training: Sequence[Row], batch_size: int) -> Curve:
    """Returns steps and the duration of each that was timed, in seconds."""
    steps, samples_per_second = curve(training, SAMPLES_PER_SECOND)
    timed = samples_per_second > 0
    return steps[timed], batch_size / samples_per_second[timed]
