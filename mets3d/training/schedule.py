"""Computes the learning rate of a step. It is a function of the step alone, so there is no scheduler to save."""

from __future__ import annotations

import math

from mets3d.config import Optim


def learning_rate(step: int, steps: int, settings: Optim) -> float:
    """Returns the rate of optimizer step `step` (from 0): linear warm-up, then a decay to `min_lr` at the last step.

    Warm-up step k of K has lr (k + 1) / K, so that the first step already moves. A longer warm-up than the run is cut.
    """
    warmup = min(settings.warmup_steps, steps)
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    last = max(1, steps - 1 - warmup)
    return settings.min_lr + (settings.lr - settings.min_lr) * half_cosine(min(1.0, (step - warmup) / last))


def half_cosine(position: float) -> float:
    """Returns the share of the peak rate at a position from 0, the end of the warm-up, to 1, the last step."""
    return 0.5 * (1 + math.cos(math.pi * position))
