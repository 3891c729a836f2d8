"""Decides what is due after an optimizer step: validation, weights for prediction, checkpoint, stop."""

from __future__ import annotations

from dataclasses import dataclass

from mets3d.config import Config
from mets3d.training.progress import Progress


def ended_early(config: Config, progress: Progress) -> bool:
    """Returns whether so many validations found no better score that the run has ended before its last step."""
    patience = config.validate_.patience
    return patience is not None and progress.stale >= patience and progress.step < config.train.steps


@dataclass(frozen=True)
class Due:
    """The tasks that are due after a step, in this order.

    validation: scores of the held-out cases. weights: model.safetensors. checkpoint: the state of every process.
    stop: leaving the loop before its last step.
    """

    validation: bool
    weights: bool
    checkpoint: bool
    stop: bool

    @property
    def pause(self) -> bool:
        """Returns whether anything is due, so that all delayed numbers must be read first."""
        return self.validation or self.weights or self.checkpoint or self.stop


def due(config: Config, progress: Progress, *, stop: bool = False, better: bool = False) -> Due:
    """Returns what is due after step `progress.step`. A run that ends early leaves what its last step would.

    stop: a process wishes to stop; the validation that is then left out stays due until the run is resumed.
    better: this step's validation found the best score so far.
    """
    step = progress.step
    last = step == config.train.steps or ended_early(config, progress)
    return Due(
        validation=not stop and step != progress.validated and (last or _counts(config, step)),
        # The last weights serve where no validation chose better ones.
        weights=better or (last and not stop and progress.best_step == 0),
        checkpoint=last or better or stop or step % config.train.checkpoint_every == 0,
        stop=stop,
    )


def _counts(config: Config, step: int) -> bool:
    """Returns whether one of the two counts of validations falls on a step."""
    counts = (config.validate_.every, config.validate_.all_every)
    return any(step % every == 0 for every in counts if every is not None)
