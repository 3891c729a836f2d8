"""Sums over the voxels of mask logits that are the product of a small matrix and a volume of channels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mets3d.ops.uncompiled import uncompiled
from mets3d.products import mix, overlap
from mets3d.shapes import raised

# Logits made at a time: on a CPU they stay in its cache, elsewhere they bound the memory (256 MiB in fp32).
AT_ONCE = {"cpu": 2**19}
AT_ONCE_ELSEWHERE = 2**26
# Below it the sigmoid is no normal number any more, and softplus is 0 to the last digit.
LOWEST_LOGIT = -80.0


class MaskSums(NamedTuple):
    """Sums over voxels of logits x and masks t: softplus(x), sigmoid(x), sigmoid(x) t, and x t."""

    softplus: Float[Tensor, "B M"]
    inside: Float[Tensor, "B M"]
    inside_mask: Float[Tensor, "B M R"]
    logit_mask: Float[Tensor, "B M R"]


@uncompiled
@torch.no_grad()
def mask_sums(
    matrix: Float[Tensor, "B M C"],
    constant: Float[Tensor, "B M"],
    volume: Float[Tensor, "B C N"],
    masks: Bool[Tensor, "B R N"] | Float[Tensor, "B R N"],
) -> MaskSums:
    """Returns the sums for the logits matrix @ volume + constant, in fp32 (fp64 stays); the logits are not kept."""
    fused = fused_on_cuda() if volume.is_cuda and raised(volume[:0]).dtype == torch.float32 else None
    if fused is not None:
        sums = fused(matrix, constant, volume, masks)
        regions = masks.shape[1]
        return MaskSums(sums[..., 0], sums[..., 1], sums[..., 2 : 2 + regions], sums[..., 2 + regions :])
    return _in_parts(matrix, constant, volume, masks.to(matrix.dtype))


def _in_parts(matrix: Tensor, constant: Tensor, volume: Tensor, masks: Tensor) -> MaskSums:
    """With s = sigmoid(x), softplus(x) is x - log(s), for which s is there anyway."""
    batch, rows, _ = matrix.shape
    logs, logits_sum, inside_sum = (matrix.new_zeros(batch, rows) for _ in range(3))
    inside_mask = matrix.new_zeros(batch, rows, masks.shape[1])
    of_mask = matrix.new_zeros(batch, volume.shape[1], masks.shape[1])
    for part in _parts(volume.shape[-1], batch * rows, volume.device.type):
        channels, mask = raised(volume[..., part]), masks[..., part]
        of_mask += overlap(channels, mask)
        logits = mix(matrix, channels).add_(constant[..., None]).clamp_(min=LOWEST_LOGIT)
        logits_sum += logits.sum(-1)
        inside = logits.sigmoid_()
        inside_sum += inside.sum(-1)
        inside_mask += overlap(inside, mask)
        logs += inside.log_().sum(-1)
    # Logits are linear in the volume, so their sum over a mask is one over the volume.
    logit_mask = matrix @ of_mask + constant[..., None] * masks.sum(-1)[:, None]
    return MaskSums(logits_sum - logs, inside_sum, inside_mask, logit_mask)


def _parts(voxels: int, rows: int, device: str) -> Iterator[slice]:
    at_once = max(1, AT_ONCE.get(device, AT_ONCE_ELSEWHERE) // rows)
    return (slice(start, start + at_once) for start in range(0, voxels, at_once))


@cache
def fused_on_cuda() -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] | None:
    """Returns the sums in one launch, or None, with a warning, where Triton does not work."""
    try:
        from mets3d.ops.mask_sums_triton import mask_sums as fused

        # Triton builds a launcher with the host's C compiler; without one it fails here and not in a training step.
        one = torch.ones(1, 1, 1, device="cuda")
        fused(one, one[0], one, one > 0)
    except Exception as error:  # a compiler, an assembler, a driver: each fails in a class of its own
        warnings.warn(f"Triton does not work here ({error}): matching queries takes longer", stacklevel=4)
        return None
    return fused
