"""Decides which held-out cases a validation scores, and which score chooses the best weights.

A mean over some cases cannot be compared with one over others. So one set of cases chooses, in all validations of a
run: all held-out cases where they are validated on their own count (`validate.all_every` beside `validate.cases`), else
those of every validation.
"""

from __future__ import annotations

from collections.abc import Mapping

from mets3d.config import Config
from mets3d.log_names import SCORES, score_name
from mets3d.training.progress import Progress


def all_choose(config: Config) -> bool:
    """Returns whether only validations of all held-out cases choose the best weights."""
    return config.validate_.cases is not None and config.validate_.all_every is not None


def scores_all(config: Config, step: int) -> bool:
    """Returns whether the validation after this step is of all cases and not only of the subset."""
    every = config.validate_.all_every
    return all_choose(config) and every is not None and (step == config.train.steps or step % every == 0)


def chooses(config: Config, step: int) -> bool:
    """Returns whether the validation after this step may choose the best weights."""
    return scores_all(config, step) or not all_choose(config)


def note_if_best(config: Config, progress: Progress, scores: Mapping[str, float]) -> bool:
    """Records score and step if the score that chooses is there and the highest so far; returns whether it is.

    Validations without that score, as those of a subset where all cases choose, do not count for `validate.patience`.
    """
    score = scores.get(_choosing_score(config))
    if score is None:
        return False
    if score <= progress.best:
        progress.stale += 1
        return False
    progress.best, progress.best_step, progress.stale = score, progress.step, 0
    return True


def without_value(config: Config, step: int, scores: Mapping[str, float]) -> str | None:
    """Returns a remark where a validation should choose, and no case has the score by which it would."""
    if not chooses(config, step) or _choosing_score(config) in scores:
        return None
    settings = config.validate_
    return (
        f"no weights are chosen by this validation: by {settings.rules} no validated case has a value for "
        f"{SCORES[settings.best_by]}; set validate.cases to more, validate.best_by or validate.rules to another one"
    )


def _choosing_score(config: Config) -> str:
    return score_name(config.validate_.best_by, all_cases=all_choose(config))
