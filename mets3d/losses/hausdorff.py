"""The two-sided Hausdorff distance loss on any number of overlapping regions or labels.

Karimi and Salcudean, IEEE TMI 39(2):499-513, 2020 (arXiv 1904.10030), Loss_DT: with p the probability, g the target,

    L = mean over voxels of (p - g)^2 (d_g^alpha + d_p^alpha),

d_g and d_p the distances to the boundary of the target and of the thresholded prediction, both constants for the
gradient. Here a distance is that to the nearest voxel of the other class, in millimetres.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, SupportsFloat

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from mets3d.ops.distance import checked_spacing, distance_to_other_class
from mets3d.shapes import raised


def hausdorff_distance_loss(
    probability: Shaped[Tensor, "..."],
    target: Shaped[Tensor, "..."],
    spacing_mm: Sequence[SupportsFloat] = (1.0, 1.0, 1.0),
    *,
    alpha: float | int = 2.0,
    parity: Literal["monai"] | None = None,
    predicted: Bool[Tensor, "B R X Y Z"] | None = None,
) -> Float[Tensor, "B R"]:
    """Loss of each item and channel, [B, R].

    probability: [B, R, X, Y, Z] in [0, 1]; half types are raised to fp32, double stays. target: same shape, bool, or
    float thresholded at > 0.5.
    predicted: the predicted mask where it is not probability > 0.5 (softmax labels: the argmax).

    Distances are divided by D0, the diagonal of the volume in mm, so that the value does not depend on the size of the
    patch or its spacing. A target without the label, or that is nothing but the label, has distance D0 everywhere (the
    limit of a boundary far away: a false positive on an absent label has full weight). Where nothing is predicted, a
    missed target voxel has distance D0 and background 0.

    parity="monai": as monai.losses.HausdorffDTLoss per item and channel: no division by D0, and a mask without a
    boundary has distance 0.

    Raises ValueError for shapes that differ, a wrong rank, alpha not above 0, a bad spacing, and, on CPU tensors alone
    (a check on a GPU would wait for it), probabilities outside [0, 1]. NaN stays NaN.
    """
    _check(probability, target, alpha)
    spacing = checked_spacing(spacing_mm)
    with torch.autocast(probability.device.type, enabled=False):
        exact = raised(probability)
        truth = target if target.dtype == torch.bool else target > 0.5
        with torch.no_grad():
            mask = exact > 0.5 if predicted is None else predicted
            fields = distance_to_other_class(torch.stack([truth, mask]), spacing, squared=True)
            weight = _weight(fields, truth, alpha, None if parity else _diagonal_mm(truth.shape[-3:], spacing))
        return ((exact - truth.to(exact.dtype)).square() * weight).mean((-3, -2, -1))


def _weight(squared: Tensor, truth: Tensor, alpha: float | int, diagonal_mm: float | None) -> Tensor:
    """d_g^alpha + d_p^alpha of the squared fields [2, B, R, X, Y, Z]; +inf marks a mask without a boundary."""
    unbounded = torch.isinf(squared)
    if diagonal_mm is None:
        powers = torch.where(unbounded, 0.0, squared) ** (alpha / 2)
        return powers[0] + powers[1]
    powers = torch.where(unbounded, 0.0, squared / diagonal_mm**2) ** (alpha / 2)
    of_target = torch.where(unbounded[0], 1.0, powers[0])
    of_prediction = torch.where(unbounded[1] & truth, 1.0, powers[1])
    return of_target + of_prediction


def _diagonal_mm(shape: Sequence[int], spacing_mm: Sequence[float]) -> float:
    return math.sqrt(sum((n * size) ** 2 for n, size in zip(shape, spacing_mm, strict=True)))


def _check(probability: Tensor, target: Tensor, alpha: float | int) -> None:
    if probability.ndim != 5:
        raise ValueError(f"probability: expected [B, R, X, Y, Z], found shape {tuple(probability.shape)}")
    if probability.shape != target.shape:
        raise ValueError(
            f"target: expected the shape of probability, {tuple(probability.shape)}, found {tuple(target.shape)}"
        )
    if not alpha > 0:
        raise ValueError(f"alpha: expected a number above 0, found {alpha}")
    if probability.device.type == "cpu" and ((probability < 0) | (probability > 1)).any():
        low, high = probability.min().item(), probability.max().item()
        raise ValueError(
            f"probability: expected values in [0, 1], found {low:g} to {high:g}; pass probabilities, not logits"
        )
