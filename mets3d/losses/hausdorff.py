"""Computes the three Hausdorff losses of Karimi and Salcudean, and the log form, on any number of regions or labels.

D. Karimi, S. E. Salcudean, IEEE TMI 39(2):499-513, 2020 (arXiv 1904.10030). With p the probability, g the target, a the
exponent alpha and means over the voxels of one item and channel:

    Loss_DT, distance       mean (p - g)^2 (d_g^a + d_p^a)
    Loss_ER, erosion        sum over k = 1..K of k^a mean E^k((p - g)^2)
    Loss_CV, convolution    sum over r of r^a mean [ fp (S(1 - B_r*g) + S(B_r*p)) + fn (S(B_r*g) + S(1 - B_r*p)) ]
                            fp = (p - g)^2 p,  fn = (p - g)^2 g

    d_g, d_p   a voxel's distance to the nearest voxel of the other class, in the target and in the prediction p > 0.5
    E          one soft erosion by a cross of seven voxels
    B_r*g      the convolution of g with a ball of radius r, whose weights add up to 1
    S(x)       the soft threshold (x - 0.5)+ / 0.5

Each takes [B, R, X, Y, Z] to [B, R]; regions may overlap. The distances are constants for the gradient, as in the
paper. Lengths are in mm and, unless `normalise` is off, divided by D0, the diagonal of the volume.

The distance loss is a squared error times a weight of each voxel, which is made by `DistanceWeight` in
distance_weight.py. Add a new weight there. A loss of another kind is a file of its own, see `mets3d.losses`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.autograd.function import once_differentiable

from mets3d.losses.distance_weight import Absent, DistanceWeight, Sides
from mets3d.losses.volumes import checked, checked_positive, checked_predicted, diagonal_mm, per_item
from mets3d.ops.distance import SpacingLike
from mets3d.ops.soft import ball_means, soft_erosion, soft_threshold
from mets3d.shapes import raised

MAX_RADIUS_VOXELS = 256  # A larger ball would take gigabytes to build.


def hausdorff_distance_loss(
    probability: Shaped[Tensor, "..."],
    target: Shaped[Tensor, "..."],
    spacing_mm: SpacingLike = (1.0, 1.0, 1.0),
    *,
    alpha: float | int = 2.0,
    sides: Sides = "both",
    normalise: bool = True,
    absent: Absent = "diagonal",
    cap_mm: float | int | None = None,
    class_balanced: bool = False,
    parity: Literal["monai"] | None = None,
    predicted: Bool[Tensor, "B R X Y Z"] | None = None,
) -> Float[Tensor, "B R"]:
    """Returns Loss_DT of each item and channel, mean (p - g)^2 w, with exact distances.

    probability: [B, R, X, Y, Z] in [0, 1]; half types are raised to fp32, double stays. target: same shape, bool, or
    float thresholded at > 0.5. spacing_mm: three numbers, or [B, 3].

    sides: the weight w. `both`: d_g^alpha + d_p^alpha. `target`: d_g^alpha (the paper's one-sided form; it hardly sees
    a missed lesion). `directed`: d_p^alpha on target voxels and d_g^alpha elsewhere, the two directed distances.
    normalise: distances in units of D0. The value then does not depend on the unit of length, but on the patch size.
    absent: d_g where the target lacks the label or fills the volume: D0, a length in mm, or `zero` (no weight, as in
    public code); `skip`: D0, but a channel that the target lacks has loss 0. `_on_false_positives` in
    distance_weight.py spreads it over the voxels where the target lacks the label. Where the prediction is empty or
    full, d_p on target voxels is the length that `absent` gives (0 for `zero`), so that a missed lesion has full
    weight, and 0 elsewhere.
    cap_mm: distances above it count as it; applied after the exact transform.
    class_balanced: the mean of the means over target voxels and over the others, instead of the mean over all.
    parity="monai": as monai.losses.HausdorffDTLoss per item and channel: distance 0 for a mask without a boundary.
    `normalise` and `absent` are ignored; distances are in units of `spacing_mm`.
    predicted: the predicted mask where it is not probability > 0.5 (softmax labels: the argmax).

    Raises ValueError for a wrong rank, shapes that differ, alpha or cap not above 0, a bad spacing, an unknown option
    and, on CPU tensors alone (a check on a GPU would wait for it), probabilities outside [0, 1]. NaN stays NaN.
    """
    weights = DistanceWeight(alpha, sides, normalise, absent, cap_mm, class_balanced)
    if parity not in (None, "monai"):
        raise ValueError(f"parity: expected monai or None, found {parity!r}")
    if parity == "monai":
        weights = replace(weights, normalise=False, absent="zero")
    truth, spacing = checked(probability, target, spacing_mm)
    with torch.autocast(probability.device.type, enabled=False):
        p = raised(probability)
        with torch.no_grad():
            mask = p.detach() > 0.5 if predicted is None else checked_predicted(predicted, truth)
            weight = weights.field(truth, mask, spacing)
        loss: Tensor = _WeightedSquare.apply(p, truth, weight)  # type: ignore[no-untyped-call]
    return loss


def hausdorff_log_loss(
    probability: Shaped[Tensor, "..."],
    target: Shaped[Tensor, "..."],
    spacing_mm: SpacingLike = (1.0, 1.0, 1.0),
    **options: Any,
) -> Float[Tensor, "B R"]:
    """Returns log(1 + Loss_DT) of each item and channel, as monai.losses.LogHausdorffDTLoss.

    It damps the loss where Loss_DT is above about 1 (mm^alpha). Distances stay in mm unless `normalise` is set: divided
    by D0 the loss is so small that the logarithm does nothing.
    Arguments and errors as `hausdorff_distance_loss`.
    """
    return torch.log1p(hausdorff_distance_loss(probability, target, spacing_mm, **({"normalise": False} | options)))


def hausdorff_erosion_loss(
    probability: Shaped[Tensor, "..."],
    target: Shaped[Tensor, "..."],
    spacing_mm: SpacingLike = (1.0, 1.0, 1.0),
    *,
    alpha: float | int = 2.0,
    erosions: int = 10,
    normalise: bool = True,
    rescale: Literal["fixed", "peak"] = "peak",
) -> Float[Tensor, "B R"]:
    """Returns Loss_ER of each item and channel, which penalises thick errors whatever their distance to the target.

    erosions: K. An erosion is the mean over a voxel and its six neighbours (0 outside), soft-thresholded at 0.5.
    rescale: how an erosion is brought back to [0, 1]; without it nothing would survive two. `peak`: by the minimum and
    maximum of the volume, as PatRyg99's and kornia's code do; one strong error then hides the weak ones. Where every
    error is weak, they count as shares of the largest square. `fixed`: by (x - 0.5)+ / 0.5; value and gradient are 0
    where no |p - g| is above 0.707.
    One erosion counts as a depth of s mm, the cube root of the voxel's volume: the factor k^alpha is (k s)^alpha,
    divided by D0^alpha with `normalise`.
    Shapes, types and errors as `hausdorff_distance_loss`; ValueError for erosions below 1.
    """
    checked_positive("alpha", alpha)
    if not isinstance(erosions, int) or erosions < 1:  # type: ignore[redundant-expr]
        raise ValueError(f"erosions: expected a whole number from 1, found {erosions}")
    truth, spacing = checked(probability, target, spacing_mm)
    with torch.autocast(probability.device.type, enabled=False):
        p = raised(probability)
        error = (p - truth.to(p.dtype)).square()
        total = torch.zeros_like(error[..., 0, 0, 0])
        for k in range(1, erosions + 1):
            error = soft_erosion(error, rescale)
            total = total + k**alpha * error.mean((-3, -2, -1))
        depth = spacing.prod(-1) ** (1 / 3)
        return total * per_item(_in_unit(depth, truth, spacing, normalise) ** alpha, total)


def hausdorff_convolution_loss(
    probability: Shaped[Tensor, "..."],
    target: Shaped[Tensor, "..."],
    spacing_mm: SpacingLike = (1.0, 1.0, 1.0),
    *,
    alpha: float | int = 2.0,
    radii_mm: Sequence[float | int] = (3, 6, 9, 12, 15, 18),
    normalise: bool = True,
) -> Float[Tensor, "B R"]:
    """Returns Loss_CV of each item and channel, which weighs an error by the balls that fit around it.

    Errors farther from the target than the largest radius all weigh the same.

    radii_mm: in mm, so that a ball is round, and equally large, on voxels of any size; a voxel belongs to a ball if its
    centre does. Outside the volume is background. The gradient passes through the convolutions too, as the formula is
    written. r^alpha is divided by D0^alpha with `normalise`.
    Shapes, types and errors as `hausdorff_distance_loss`; ValueError for radii that are not above 0.
    """
    checked_positive("alpha", alpha)
    truth, spacing = checked(probability, target, spacing_mm)
    if not isinstance(radii_mm, Sequence) or not len(radii_mm):  # type: ignore[redundant-expr]
        raise ValueError(f"radii_mm: expected a sequence of one radius or more, found {radii_mm!r}")
    for radius in radii_mm:
        if checked_positive("radii_mm", radius) > MAX_RADIUS_VOXELS * spacing.min():
            raise ValueError(
                f"radii_mm: expected at most {MAX_RADIUS_VOXELS} voxels, found {radius} at {spacing.min():g} mm"
            )
    with torch.autocast(probability.device.type, enabled=False):
        p = raised(probability)
        g = truth.to(p.dtype)
        square = (p - g).square()
        false_positive, false_negative = square * p, square * g
        total = torch.zeros_like(p[..., 0, 0, 0])
        around_g, around_p = ball_means(g, spacing, radii_mm), ball_means(p, spacing, radii_mm)
        for radius, of_g, of_p in zip(radii_mm, around_g, around_p, strict=True):
            false_alarm = false_positive * (soft_threshold(1 - of_g) + soft_threshold(of_p))
            missed = false_negative * (soft_threshold(of_g) + soft_threshold(1 - of_p))
            total = total + radius**alpha * (false_alarm + missed).mean((-3, -2, -1))
        return total * per_item(_in_unit(np.ones(len(spacing)), truth, spacing, normalise) ** alpha, total)


def _in_unit(
    length_mm: Float[np.ndarray, "N"], truth: Tensor, spacing: Float[np.ndarray, "N 3"], normalise: bool
) -> Float[np.ndarray, "N"]:
    """Returns lengths in mm, one per item, divided by D0 if `normalise`."""
    return length_mm / diagonal_mm(truth.shape, spacing) if normalise else length_mm


class _WeightedSquare(torch.autograd.Function):
    """The mean of (p - g)^2 w over the voxels, in half the passes and half the memory of torch's own operations."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        error = p - truth.to(p.dtype)
        weighted = error * weight
        ctx.save_for_backward(weighted)
        return error.mul_(weighted).mean((-3, -2, -1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (weighted,) = ctx.saved_tensors
        scale = gradient * (2 / math.prod(weighted.shape[-3:]))
        return weighted * scale[..., None, None, None], None, None
