"""Computes the focal Tversky loss: Dice in which false positives and missed voxels weigh differently, under a root.

N. Abraham, N. M. Khan, ISBI 2019 (arXiv 1810.07842). With sums over the voxels of one item and channel:

    TP = sum p g,  FP = sum p (1 - g),  FN = sum (1 - p) g
    T  = (TP + s) / (TP + a FP + b FN + s)
    loss = (1 - T)^(1 / focus)

They have a = 0.3, b = 0.7, focus = 4/3 and s = 1. With a = b = 1/2 and focus 1 it is soft Dice (whose s is doubled).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from mets3d.losses.volumes import checked, checked_positive
from mets3d.ops.distance import SpacingLike
from mets3d.shapes import raised


def focal_tversky_loss(
    probability: Shaped[Tensor, "..."],
    target: Shaped[Tensor, "..."],
    spacing_mm: SpacingLike = (1.0, 1.0, 1.0),
    *,
    weights: tuple[float | int, float | int] = (0.3, 0.7),
    focus: float | int = 4 / 3,
    smooth: float = 1.0,
) -> Float[Tensor, "B R"]:
    """Returns (1 - T)^(1 / focus) of each item and channel, [B, R, X, Y, Z] to [B, R].

    weights: a of false positives and b of missed voxels, not both 0. focus: above 1 the slope grows as the error falls,
    so that the last errors of a label keep weight; at exactly no error value and gradient are 0.
    Where the target lacks the label, the loss is (a FP / (a FP + s))^(1 / focus).
    The spacing is checked and otherwise unused. Types and errors as `hausdorff_distance_loss`; ValueError for weights
    below 0 and a focus that is not above 0.
    """
    truth, _ = checked(probability, target, spacing_mm)
    checked_positive("focus", focus)
    of_false, of_missed = weights
    if not (min(weights) >= 0 and 0 < sum(weights) < math.inf):
        raise ValueError(f"weights: expected two numbers from 0, not both 0, found {weights}")
    with torch.autocast(probability.device.type, enabled=False):
        p = raised(probability)
        # Each by itself: a difference of large sums would round to less than nothing, which has no root.
        false = torch.where(truth, 0, p).sum((-3, -2, -1))
        missed = torch.where(truth, 1 - p, 0).sum((-3, -2, -1))
        found = truth.sum((-3, -2, -1)) - missed
        wrong = of_false * false + of_missed * missed
        error = wrong / (found + wrong + smooth)
        # At 0 the slope of a root has no end, and there is nothing left to correct.
        none = error == 0
        return torch.where(none, 0.0, torch.where(none, 1.0, error) ** (1 / focus))
