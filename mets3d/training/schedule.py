"""Computes the learning rate of a step. It is a function of the step alone, so there is no scheduler to save."""

from __future__ import annotations

import math

from mets3d.config import Optim


def learning_rate(step: int, steps: int, settings: Optim) -> float:
    """Returns the rate of optimizer step `step` (from 0) of a curve of `steps` steps: warm-up, then the schedule.

    Warm-up step k of K has lr (k + 1) / K, so that the first step already moves. A longer warm-up than the curve is
    cut. Behind the curve's end its last rate holds.
    """
    warmup = min(settings.warmup_steps, steps)
    if step < warmup:
        return settings.lr * (step + 1) / warmup
    # A curve that is all warm-up ends at the peak.
    after, length = max(0, min(step, steps - 1) - warmup), max(1, steps - warmup)
    match settings.schedule:
        case "constant":
            return settings.lr
        case "step":
            assert settings.step_every is not None  # the configuration refuses a schedule without
            return settings.lr * math.pow(settings.step_factor, after // settings.step_every)
        case "poly":
            share = math.pow(1 - after / length, settings.poly_power)
        case "cosine":
            share = half_cosine(after / max(1, length - 1))
    return settings.min_lr + (settings.lr - settings.min_lr) * share


def half_cosine(position: float) -> float:
    """Returns the share of the peak rate at a position from 0, the end of the warm-up, to 1, the last step."""
    return 0.5 * (1 + math.cos(math.pi * position))
