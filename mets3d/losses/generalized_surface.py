"""Computes the generalised surface loss of Celaya and others: a bounded ratio of sums of squared distances.

A. Celaya, B. Riviere, D. Fuentes, arXiv 2302.03868 (2023), as in their later code (MIST), for each class:

    1 - sum (D (1 - (g + p)))^2 / sum D^2

D is the signed distance of the target, divided by its largest value on each side of the boundary. With e = |p - g| the
term of a voxel is (D (1 - e))^2, so the loss is sum D^2 e (2 - e) / sum D^2, which is what is computed: the difference
of two numbers near 1 would cost digits. Their first code weighs the classes within both sums; here each channel has a
loss of its own, and `loss.boundary_label_weights` weighs them.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.autograd.function import once_differentiable

from mets3d.losses.volumes import any_voxel, checked
from mets3d.ops.distance import SpacingLike, distance_to_other_class
from mets3d.shapes import raised


def generalized_surface_loss(
    probability: Shaped[Tensor, "..."],
    target: Shaped[Tensor, "..."],
    spacing_mm: SpacingLike = (1.0, 1.0, 1.0),
    *,
    absent: Literal["one", "skip"] = "one",
) -> Float[Tensor, "B R"]:
    """Returns sum D^2 e (2 - e) / sum D^2 of each item and channel, from 0 for p = g to 1 for p = 1 - g.

    D is the exact distance of a voxel centre to the nearest of the other class, over the largest on its side of the
    boundary. absent: `one` has D = 1 everywhere where the target lacks the label or fills the volume, as the authors';
    `skip` gives 0 for a label that the target lacks.
    The loss is one-sided: distances to the prediction are not in it. Its gradient, 2 D^2 (1 - e) / sum D^2, is largest
    on voxels that are nearly right, and vanishes on those that are wholly wrong.
    Shapes, types, spacing and errors as `hausdorff_distance_loss`.
    """
    truth, spacing = checked(probability, target, spacing_mm)
    with torch.autocast(probability.device.type, enabled=False):
        exact = raised(probability)
        with torch.no_grad():
            weight = _weights(truth, np.broadcast_to(spacing, (len(truth), 3)))
            if absent == "skip":
                weight *= any_voxel(truth)
        loss: Tensor = _Surface.apply(exact, truth, weight)  # type: ignore[no-untyped-call]
    return loss


def _weights(truth: Tensor, spacing: Float[np.ndarray, "B 3"]) -> Float[Tensor, "B R X Y Z"]:
    """Returns D^2 / sum D^2."""
    squared = distance_to_other_class(truth, spacing, squared=True, absent_mm=1.0)
    # A side without a voxel has no largest distance, and no one to divide by it.
    inside, outside = (
        side.amax((-3, -2, -1), keepdim=True) for side in (squared * truth, squared.masked_fill(truth, 0.0))
    )
    squared /= torch.where(truth, inside, outside)
    return squared.div_(squared.sum((-3, -2, -1), keepdim=True))


class _Surface(torch.autograd.Function):
    """Sums w e (2 - e), with one volume kept for the gradient."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
        signed = p - truth.to(p.dtype)
        error = signed.abs()
        ctx.save_for_backward(weight * (1 - error) * torch.where(truth, -2.0, 2.0))
        return (weight * error).mul_(2 - error).sum((-3, -2, -1))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return slope * gradient[..., None, None, None], None, None
