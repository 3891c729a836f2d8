"""Computes cross-entropy over the worst voxels alone, so that the many that are right do not drown those that are not.

Z. Wu, C. Shen, A. van den Hengel, 2016 (arXiv 1605.06885, online bootstrapping); nnU-Net's TopKLoss, with 10 %. They
take the worst voxels of a batch; here it is those of each item and channel, so that a batch is the mean of its parts.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.autograd.function import once_differentiable

from mets3d.losses.volumes import checked
from mets3d.ops.cross_entropy import voxel_cross_entropy
from mets3d.ops.distance import SpacingLike
from mets3d.shapes import raised


def top_k_loss(
    probability: Shaped[Tensor, "..."],
    target: Shaped[Tensor, "..."],
    spacing_mm: SpacingLike = (1.0, 1.0, 1.0),
    *,
    top: float | int = 0.1,
) -> Float[Tensor, "B R"]:
    """Returns the mean of the k largest cross-entropies of each item and channel, [B, R, X, Y, Z] to [B, R].

    top: k as a share of the voxels, above 0 up to 1, rounded down; at least one voxel counts. Voxels that tie for the
    last places share the gradient of these, so that it does not depend on the device.
    Where the target lacks the label, the worst voxels are the most probable ones. The slope of
    the cross-entropy has a bound, see `mets3d.ops.cross_entropy`.
    The spacing is checked and otherwise unused. Types and errors as `hausdorff_distance_loss`; ValueError for a share
    outside these bounds.
    """
    truth, _ = checked(probability, target, spacing_mm)
    if not 0 < top <= 1:
        raise ValueError(f"top: expected a share above 0 and up to 1, found {top}")
    with torch.autocast(probability.device.type, enabled=False):
        entropy = voxel_cross_entropy(raised(probability), truth).flatten(0, 1).flatten(1)
        # 0.29 x 100 is 28.999... in binary.
        count = max(1, int(top * entropy.shape[1] * (1 + 1e-12)))
        mean: Tensor = _MeanOfLargest.apply(entropy, count)  # type: ignore[no-untyped-call]
        return mean.view(probability.shape[:2])


class _MeanOfLargest(torch.autograd.Function):
    """The mean of the `count` largest values of each row."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, count: int) -> Tensor:
        # The values alone, not the places: of voxels that tie each device finds others.
        last = values.topk(count, dim=1, sorted=False).values.amin(1, keepdim=True)
        above, level = values > last, values == last
        places = count - above.sum(1, keepdim=True)
        share = places / level.sum(1, keepdim=True).clamp_min(1)
        ctx.save_for_backward(above, level, share.to(values.dtype))
        ctx.count = count
        total = torch.where(above, values, 0).sum(1) + (places * last)[:, 0]
        return total / count + 0 * values.sum(1)  # NaN stays NaN

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        above, level, share = ctx.saved_tensors
        each = gradient[:, None] / ctx.count
        return torch.where(above, each, torch.where(level, share * each, 0)), None
