"""Computes squared distances to the other class in plain torch, on any device."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

# Elements of the [lines, n, n] block that a pass holds: what fills a GPU, and what a CPU keeps in its cache.
GPU_BLOCK, CPU_BLOCK = 1 << 25, 1 << 18


def squared_field(
    masks: Bool[Tensor, "N X Y Z"], spacing_mm: Float[np.ndarray, "N 3"], absent: Float[np.ndarray, "N"]
) -> Float[Tensor, "N X Y Z"]:
    """Returns mm^2 to the nearest voxel of the other class; `absent` in volumes of one class. Never waits."""
    # Squared on the host in fp64: the square of a rounded size would cost a digit.
    squares = torch.from_numpy(spacing_mm**2).float().to(masks.device, non_blocking=True)
    field = torch.where(masks, -1.0, 1.0) * _steps(masks).square() * squares[:, 0, None, None, None]
    for axis in (2, 3):
        field = _min_plus(field, axis, squares[:, axis - 1])
    field = field.abs_()
    constant = torch.from_numpy(absent).float().to(masks.device, non_blocking=True)
    return torch.where(torch.isinf(field), constant[:, None, None, None], field)


def _steps(masks: Bool[Tensor, "N X Y Z"]) -> Float[Tensor, "N X Y Z"]:
    """Counts the voxels along X to the nearest of the other class, +inf where the line has none.

    The last change of class before a voxel and the first one after it are running maxima of positions.
    """
    n = masks.shape[1]
    position = torch.arange(n, dtype=torch.float32, device=masks.device)[:, None, None]
    changed = masks[:, 1:] != masks[:, :-1]
    none = torch.full_like(masks[:, :1], -math.inf, dtype=torch.float32)
    before = torch.cat([none, torch.where(changed, position[:-1], -math.inf)], 1).cummax(1).values
    after = torch.cat([torch.where(changed, -position[1:], -math.inf), none], 1).flip(1).cummax(1).values.flip(1)
    return torch.minimum(position - before, -after - position)


def _min_plus(field: Float[Tensor, "N X Y Z"], axis: int, squares: Float[Tensor, "N"]) -> Float[Tensor, "N X Y Z"]:
    """Makes the pass along `axis` of a signed field: all pairs (i, j) of a line at once, some lines at a time."""
    n = field.shape[axis]
    moved = field.movedim(axis, -1)
    lines = moved.reshape(-1, n)
    square = squares.repeat_interleave(len(lines) // len(squares))[:, None, None]
    position = torch.arange(n, dtype=torch.float32, device=field.device)
    apart = (position[:, None] - position).square()
    out = torch.empty_like(lines)
    rows = max(1, (CPU_BLOCK if field.device.type == "cpu" else GPU_BLOCK) // (n * n))
    for start in range(0, len(lines), rows):
        block = lines[start : start + rows]
        sign = torch.where(block < 0, -1.0, 1.0)
        # Of the same class: sign x value is the size. Of the other: it is negative, and clamped to 0.
        found = (sign[:, :, None] * block[:, None, :]).clamp_(min=0)
        found.addcmul_(apart, square[start : start + rows])
        out[start : start + rows] = sign * found.amin(-1)
    return out.reshape(moved.shape).movedim(-1, axis)
