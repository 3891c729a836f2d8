"""Sums numbers in [-1, 1] over the voxels that share a number, the same way at every call on every device.

On the CPU by numba, in a file of its own, where it works; by torch elsewhere. Both give the same bits.
"""

from __future__ import annotations

import math
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from mets3d.ops.uncompiled import uncompiled

BITS = 50  # of a value behind the point, fewer where so many voxels could overflow 64 bits


@uncompiled
def segment_sums(
    values: Float[Tensor, "N V"], numbers: Integer[Tensor, "N V"], segments: int
) -> Float[Tensor, "N {segments}"]:
    """Returns, for each row, the sums of the values numbered 1, 2 ... up to `segments`, differentiable.

    Number 0 is no segment. Values must lie in [-1, 1]. They are summed as 64-bit integers, in which order does not
    matter, so that a GPU, which adds in another order at every call, repeats to the last bit. The error of a value is
    below 2^-40 for up to four million of them. NaN makes its whole row NaN. On the CPU numbers beyond raise
    ValueError; on a GPU they are not checked, which would wait for it.
    """
    return _SegmentSums.apply(values, numbers, segments)  # type: ignore[no-any-return, no-untyped-call]


@uncompiled
def segment_sizes(numbers: Integer[Tensor, "N V"], segments: int) -> Integer[Tensor, "N {segments}"]:
    """Returns how often each number from 1 occurs in each row."""
    fast = fast_for_device(numbers.device.type)
    if fast is not None:
        counts: Tensor = fast.sizes(numbers, segments)
        return counts
    place, _ = _places(numbers, segments)
    return _added(torch.ones_like(place), place, numbers, segments)


class _SegmentSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, numbers: Tensor, segments: int) -> Tensor:
        ctx.save_for_backward(numbers)
        bits = min(BITS, 62 - math.ceil(math.log2(max(values.shape[1], 2))))
        nothing = 0 * values.sum(1, keepdim=True)  # but NaN stays NaN, which a whole number cannot say
        fast = fast_for_device(values.device.type)
        if fast is not None:
            summed: Tensor = fast.whole_sums(values, numbers, segments, 2.0**bits)
            return (summed.double() / 2.0**bits).to(values.dtype) + nothing
        place, chosen = _places(numbers, segments)
        own = values.flatten() if chosen is None else values.flatten()[chosen]
        whole = (own.double() * 2.0**bits).round_().long()
        return (_added(whole, place, numbers, segments).double() / 2.0**bits).to(values.dtype) + nothing

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (numbers,) = ctx.saved_tensors
        fast = fast_for_device(gradient.device.type)
        if fast is not None:
            return fast.spread(gradient, numbers), None, None
        with_none = torch.cat([gradient.new_zeros(len(gradient), 1), gradient], dim=1)
        return with_none.gather(1, numbers.long()), None, None


@cache
def fast_for_device(device: str) -> ModuleType | None:
    """Returns `segments_numba` for the CPU where it works, None elsewhere."""
    if device != "cpu":
        return None
    try:
        return import_module("mets3d.ops.segments_numba")
    except (ImportError, RuntimeError):  # numba without a folder for its cache is a RuntimeError
        return None


def _places(numbers: Tensor, segments: int) -> tuple[Tensor, Tensor | None]:
    """Returns where each voxel's sum lies, all rows in one, and which voxels those are; None: all.

    On a CPU, where it costs no wait, voxels of no segment are left out.
    """
    rows = torch.arange(len(numbers), device=numbers.device)[:, None] * (segments + 1)
    if numbers.device.type != "cpu":
        return (numbers + rows).flatten(), None
    chosen = numbers.flatten().nonzero().flatten()
    return (chosen // numbers.shape[1]) * (segments + 1) + numbers.flatten()[chosen], chosen


def _added(values: Tensor, place: Tensor, numbers: Tensor, segments: int) -> Tensor:
    # In one row, for which torch has a deterministic form on a GPU.
    sums = torch.zeros(len(numbers) * (segments + 1), dtype=torch.int64, device=numbers.device)
    return sums.scatter_add_(0, place, values).view(len(numbers), segments + 1)[:, 1:]
