"""Finds nearest numbered voxels in plain torch, on any device."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from mets3d.ops.nearest import NONE

# Elements of the [lines, n, n] block that a pass holds: what fills a GPU, and what a CPU keeps in its cache.
GPU_BLOCK, CPU_BLOCK = 1 << 23, 1 << 17


def nearest(
    numbers: Int32[Tensor, "N X Y Z"], squares: Int64[np.ndarray, "N 3"], label_bits: int
) -> Int32[Tensor, "N X Y Z"]:
    """Returns the nearest number of each voxel, 0 in a volume without one. Never waits.

    One volume at a time: keys take 64 bits a voxel, and several volumes of them at once.
    """
    out = torch.empty_like(numbers)
    for volume, (x, y, z), found in zip(numbers, squares.tolist(), out, strict=True):
        keys = _min_plus(_min_plus(_along_x(volume, x), 1, y), 2, z)
        found.copy_(torch.where(keys < NONE, keys & ((1 << label_bits) - 1), 0))
    return out


def _along_x(numbers: Int32[Tensor, "X Y Z"], square: int) -> Int64[Tensor, "X Y Z"]:
    """Returns the key of the nearest number on each line along X: the last one before a voxel, or the first after."""
    n = len(numbers)
    position = torch.arange(n, device=numbers.device)[:, None, None]
    there = numbers > 0
    before = torch.where(there, position, -1).cummax(0).values
    after = n - 1 - torch.where(there, n - 1 - position, -1).flip(0).cummax(0).values.flip(0)
    keys = [
        torch.where(any_, numbers.gather(0, site.clamp(0, n - 1)) + square * (position - site).square(), NONE)
        for site, any_ in ((before, before >= 0), (after, after < n))
    ]
    return torch.minimum(*keys)


def _min_plus(keys: Int64[Tensor, "X Y Z"], axis: int, square: int) -> Int64[Tensor, "X Y Z"]:
    """Makes the pass along `axis`: all pairs (i, j) of a line at once, some lines at a time."""
    n = keys.shape[axis]
    moved = keys.movedim(axis, -1)
    lines = moved.reshape(-1, n)
    position = torch.arange(n, device=keys.device)
    apart = square * (position[:, None] - position).square()
    out = torch.empty_like(lines)
    rows = max(1, (CPU_BLOCK if keys.device.type == "cpu" else GPU_BLOCK) // (n * n))
    for start in range(0, len(lines), rows):
        out[start : start + rows] = (lines[start : start + rows, None, :] + apart).amin(-1)
    return out.clamp_(max=NONE).reshape(moved.shape).movedim(-1, axis)
