"""Computes binary cross-entropy from probabilities, voxel by voxel and summed over segments, with a bounded slope.

With q the probability of a voxel's right class, p on the target and 1 - p elsewhere, it is -log q; below a least q the
curve goes on as its tangent. A missed voxel keeps its full slope down to what a network gives to background that it is
sure of. For a false one the least q is larger: in the query modes a score above 1 counts as 1 and its gradient passes,
where the slope of -log(1 - p) has no end.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor
from torch.autograd.function import once_differentiable

from mets3d.ops.segments import fast_for_device, segment_sums
from mets3d.ops.uncompiled import uncompiled

LEAST_OF_MISSED, LEAST_OF_FALSE = 1e-6, 1e-3
LARGEST = 16.0  # no voxel costs more: 1 - log LEAST_OF_MISSED is 14.8


def voxel_cross_entropy(probability: Float[Tensor, "*voxels"], truth: Bool[Tensor, "*voxels"]) -> Tensor:
    """Returns -log q of each voxel, q being p on the target and 1 - p elsewhere; below a least q, the tangent there."""
    return _CrossEntropy.apply(probability, truth)  # type: ignore[no-any-return, no-untyped-call]


@uncompiled
def segment_entropies(
    probability: Float[Tensor, "N V"], truth: Bool[Tensor, "N V"], numbers: Integer[Tensor, "N V"], segments: int
) -> tuple[Float[Tensor, "N {segments}"], Float[Tensor, "N {segments}"]]:
    """Returns sum p and the sum of `voxel_cross_entropy` over the voxels numbered 1, 2 ... up to `segments`, each row.

    As `segment_sums` it repeats to the last bit, but the CPU's sums and a GPU's may differ in the last digits.
    """
    if fast_for_device(probability.device.type) is not None:
        return _SegmentEntropies.apply(probability, truth, numbers, segments)  # type: ignore[no-any-return, no-untyped-call]
    entropy = voxel_cross_entropy(probability, truth) / LARGEST
    return segment_sums(probability, numbers, segments), LARGEST * segment_sums(entropy, numbers, segments)


class _CrossEntropy(torch.autograd.Function):
    """Value and slope in few passes: torch's own operations would keep four volumes for the backward pass."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, truth: Tensor) -> Tensor:
        right = torch.where(truth, p, 1 - p)
        kept = torch.where(truth, right.clamp_min(LEAST_OF_MISSED), right.clamp_min(LEAST_OF_FALSE))
        ctx.save_for_backward(kept, truth)
        return right.sub_(kept).div_(kept).add_(kept.log()).neg_()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        kept, truth = ctx.saved_tensors
        slope = gradient / kept
        return torch.where(truth, -slope, slope), None


class _SegmentEntropies(torch.autograd.Function):
    """Both sums in one pass over the voxels, and both gradients in another, on the CPU."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, truth: Tensor, numbers: Tensor, segments: int) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(p, truth, numbers)
        fast = fast_for_device("cpu")
        assert fast is not None
        sums, entropies = fast.entropies(p, truth, numbers, segments, (LEAST_OF_MISSED, LEAST_OF_FALSE))
        return sums.to(p.dtype), entropies.to(p.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_sums: Tensor, of_entropies: Tensor) -> tuple[Tensor, None, None, None]:
        fast = fast_for_device("cpu")
        assert fast is not None
        p, truth, numbers = ctx.saved_tensors
        least = LEAST_OF_MISSED, LEAST_OF_FALSE
        return fast.entropy_slopes(of_sums, of_entropies, p, truth, numbers, least), None, None, None
