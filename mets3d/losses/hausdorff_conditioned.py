"""Computes the conditioned Hausdorff loss: how far the wrong voxels are from the other mask, by volume.

Of our own making, after the distance loss of Karimi and Salcudean (hausdorff.py). That loss is a mean over the patch of
unbounded squares: in a trained network most of its gradient is on background that is right, a boundary that is off by
a voxel has next to none, and a first false voxel far away takes nearly all weight from a missed lesion. Here

    w = f + (1 - f) (min(d, c) / c)^a     on the wrong voxels, 0 on all others
    M = sum of w (p - g)^2 over missed voxels,  F = the same over false ones,  Z = target's volume + v
    loss = M / Z + F / (F + Z)

p is the probability, g the target. A voxel is wrong if the prediction p > 0.5 differs from the target: missed with g =
1, false with g = 0. d is the distance that the Hausdorff distance takes the largest of: of a missed voxel to the
nearest predicted one, of a false voxel to the nearest of the target; c where there is none. M, F and Z are volumes.

Where each part comes from:

c  caps d, so that w is at most 1 and a far error does not outweigh all near ones together. a = 1 grades errors up to c
   by their distance itself: with a square a voxel next to the boundary would have 1 / 400 of the weight of one at c.
f  bounds the step that a single voxel can make. Let two predictions differ in one voxel, and share n >= 1 wrong ones.
   Every shared voxel has a weight between f and 1 in both, the other at most 1, so the losses differ by a factor of (n
   + 1) / (n f) at most, which is 2 / f or less. f = 0.1 makes that 20, whatever the lesions and the voxels are.
Z  makes the first part a weighted share of the target that is missed, at most 1, and the second one a weighted false
   discovery rate, below 1. The patch is in neither. A plain F / Z would have no bound. Division by the mass of errors
   would leave one wrong voxel as dear as a thousand, and reward adding cheap errors to dear ones. The joint (M + F) /
   (Z + F), a Jaccard distance, would give false positives no gradient while the target is missed. A count of lesions in
   place of Z would need their components, for which a GPU waits.
v  is 40 mm^3, the median volume of an enhancing lesion in BraTS-METS 2025: it keeps the gradient finite where the
   target is a voxel or nothing, and makes a false ball of that size on an empty target cost one half.

The gradient passes through p alone; distances, masks and Z are constants.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.autograd.function import once_differentiable

from mets3d.losses.volumes import any_voxel, checked, checked_positive, checked_predicted, per_item
from mets3d.ops.distance import SpacingLike, distance_to_other_class
from mets3d.shapes import raised

# Of a lesion by itself: half of the enhancing lesions of BraTS-METS 2025 are smaller.
REFERENCE_MM3 = 40.0
# Least weight of a wrong voxel: one voxel more or less changes the loss by a factor of 20 at most.
FLOOR = 0.1


def hausdorff_conditioned_loss(
    probability: Shaped[Tensor, "..."],
    target: Shaped[Tensor, "..."],
    spacing_mm: SpacingLike = (1.0, 1.0, 1.0),
    *,
    alpha: float | int = 1.0,
    cap_mm: float | int = 20.0,
    absent: float | int | Literal["cap", "zero", "skip"] = "cap",
    floor: float | int = FLOOR,
    reference_mm3: float | int = REFERENCE_MM3,
    predicted: Bool[Tensor, "B R X Y Z"] | None = None,
) -> Float[Tensor, "B R"]:
    """Returns M / Z + F / (F + Z) of each item and channel, from 0 to 2; the formula is at the top of this file.

    alpha, cap_mm, floor, reference_mm3: a, c, f and v. absent: d where the target lacks the label, and where nothing is
    predicted: the cap, a length in mm, or `zero`, which leaves the floor; `skip` gives 0 for a label that the target
    lacks.
    predicted: the predicted mask, if it is not p > 0.5 (the argmax of exclusive labels).

    Both masks empty: 0. Where no voxel is wrong, value and gradient are 0.
    Shapes, types and errors as `hausdorff_distance_loss`; ValueError for a floor outside [0, 1].
    """
    checked_positive("alpha", alpha)
    checked_positive("cap_mm", cap_mm)
    checked_positive("reference_mm3", reference_mm3)
    if not 0 <= floor <= 1:
        raise ValueError(f"floor: expected a number from 0 to 1, found {floor}")
    truth, spacing = checked(probability, target, spacing_mm)
    with torch.autocast(probability.device.type, enabled=False):
        p = raised(probability)
        with torch.no_grad():
            mask = p.detach() > 0.5 if predicted is None else checked_predicted(predicted, truth)
            weight = _distances(truth, mask, spacing / cap_mm, _absent_over_cap(absent, cap_mm), alpha)
            # In place: the transform's memory is this loss's peak.
            weight.mul_(1 - floor).add_(floor).masked_fill_(truth == mask, 0.0)
            if absent == "skip":
                weight *= any_voxel(truth)
        missed, false, volume = _WrongSums.apply(p, truth, weight)  # type: ignore[no-untyped-call]
        volume = volume + per_item(reference_mm3 / spacing.prod(-1), volume)
        loss: Tensor = missed / volume + false / (false + volume)
    return loss


def _absent_over_cap(absent: float | Literal["cap", "zero", "skip"], cap_mm: float) -> float:
    if absent in ("cap", "zero", "skip"):
        return 0.0 if absent == "zero" else 1.0
    return min(float(checked_positive("absent", absent)) / cap_mm, 1.0)


def _distances(
    truth: Tensor, mask: Tensor, spacing: Float[np.ndarray, "N 3"], absent: float, alpha: float
) -> Float[Tensor, "B R X Y Z"]:
    """Returns min(d, 1)^alpha, d to the prediction on the target and to the target elsewhere.

    On right voxels that is the distance to the other class, which no one looks at.
    """
    spacings = np.broadcast_to(spacing, (len(truth), 3))
    field = distance_to_other_class(torch.stack([truth, mask], 1), spacings, squared=True, absent_mm=absent)
    squared = torch.where(truth, field[:, 1], field[:, 0]).clamp_(max=1.0)
    if alpha == 1:
        return squared.sqrt_()
    return squared if alpha == 2 else squared.pow_(alpha / 2)


class _WrongSums(torch.autograd.Function):
    """Sums w (p - g)^2 over target voxels and over the others, and g; one volume is kept for the gradient.

    A boolean factor is copied to fp32 each time it is used, which takes as long as the rest: hence once.
    """

    @staticmethod
    def forward(ctx: Any, p: Tensor, truth: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        target = truth.to(p.dtype)
        error = p - target
        weighted = error * weight
        ctx.save_for_backward(weighted, truth)
        volume = target.sum((-3, -2, -1))
        ctx.mark_non_differentiable(volume)
        square = error.mul_(weighted)
        missed = target.mul_(square).sum((-3, -2, -1))
        return missed, square.masked_fill_(truth, 0.0).sum((-3, -2, -1)), volume

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_missed: Tensor, of_false: Tensor, _of_volume: Tensor) -> tuple[Tensor, None, None]:
        weighted, truth = ctx.saved_tensors
        scale = torch.where(truth, (2 * of_missed)[..., None, None, None], (2 * of_false)[..., None, None, None])
        return scale.mul_(weighted), None, None
