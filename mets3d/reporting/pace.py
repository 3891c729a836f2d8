"""Says in words how far a training is: plain text, not yet escaped."""

from __future__ import annotations

from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import duration, percent
from mets3d.statistics.pace import Pace, pace_of


def pace(record: RunRecord) -> Pace:
    """Returns how far the training of a run is by its log, and how long that took."""
    config = record.config
    every = [count for count in (config.validate_.every, config.validate_.all_every) if count is not None]
    return pace_of(
        record.training,
        record.validation,
        batch_size=config.train.batch_size,
        steps=config.train.steps,
        every=every,
    )


def progress_line(record: RunRecord) -> str:
    """Says step, time so far and time left in one line, each as far as it is known."""
    found = pace(record)
    parts = [f"step {found.step:,} of {found.steps:,} ({percent(found.step / found.steps)})"]
    if found.seconds_a_step is not None:
        parts += [f"{duration(found.seconds)} so far", f"{seconds_in_words(found.seconds_a_step)} a step"]
    if found.seconds_left:
        parts.append(f"about {duration(found.seconds_left)} left")
    return ", ".join(parts)


def seconds_in_words(seconds: float) -> str:
    """Writes a short time with two digits that count, as in 0.31 s; from ten seconds on as any duration."""
    return f"{seconds:.2g} s" if seconds < 10 else duration(seconds)
