"""Finds nearest numbered voxels in plain torch, on any device."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from mets3d.ops.nearest import NONE

# Elements of the [lines, n, n] block that a pass holds: what fills a GPU, and what a CPU keeps in its cache.
GPU_BLOCK, CPU_BLOCK = 1 << 25, 1 << 17


def nearest(
    numbers: Int32[Tensor, "N X Y Z"], squares: Int64[np.ndarray, "N 3"], label_bits: int
) -> Int32[Tensor, "N X Y Z"]:
    """Returns the nearest number of each voxel, 0 in a volume without one. Never waits."""
    on_device = torch.from_numpy(squares).to(numbers.device, non_blocking=True)
    keys = _along_x(numbers, on_device[:, 0, None, None, None])
    for axis in (2, 3):
        keys = _min_plus(keys, axis, on_device[:, axis - 1])
    return torch.where(keys < NONE, keys & ((1 << label_bits) - 1), 0).to(torch.int32)


def _along_x(numbers: Int32[Tensor, "N X Y Z"], square: Int64[Tensor, "N 1 1 1"]) -> Int64[Tensor, "N X Y Z"]:
    """Returns the key of the nearest number on each line along X: the last one before a voxel, or the first after."""
    n = numbers.shape[1]
    position = torch.arange(n, device=numbers.device)[:, None, None]
    there = numbers > 0
    before = torch.where(there, position, -1).cummax(1).values
    after = n - 1 - torch.where(there, n - 1 - position, -1).flip(1).cummax(1).values.flip(1)
    found = [(before, before >= 0), (after, after < n)]
    keys = [
        torch.where(any_, numbers.gather(1, site.clamp(0, n - 1)) + square * (position - site).square(), NONE)
        for site, any_ in found
    ]
    return torch.minimum(*keys)


def _min_plus(keys: Int64[Tensor, "N X Y Z"], axis: int, squares: Int64[Tensor, " N"]) -> Int64[Tensor, "N X Y Z"]:
    """Makes the pass along `axis`: all pairs (i, j) of a line at once, some lines at a time."""
    n = keys.shape[axis]
    moved = keys.movedim(axis, -1)
    lines = moved.reshape(-1, n)
    square = squares.repeat_interleave(len(lines) // len(squares))[:, None, None]
    position = torch.arange(n, device=keys.device)
    apart = (position[:, None] - position).square()
    out = torch.empty_like(lines)
    rows = max(1, (CPU_BLOCK if keys.device.type == "cpu" else GPU_BLOCK) // (n * n))
    for start in range(0, len(lines), rows):
        block = lines[start : start + rows, None, :] + square[start : start + rows] * apart
        out[start : start + rows] = block.amin(-1)
    return out.clamp_(max=NONE).reshape(moved.shape).movedim(-1, axis)
