"""Exact Euclidean distance fields of masks, batched over every leading axis, on any device.

Separable min-plus passes (Saito and Toriwaki 1994): along each axis in turn,

    new(i) = min over j of f(j) + w^2 (i - j)^2,        w the voxel size along that axis,

starts from 0 on the mask and +inf off it and ends with the squared distance. For the distance to the other class one
field serves both sides: a voxel of the other class contributes 0 and one of the same class what it has found so far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import SupportsFloat

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

# Elements of the [lines, n, n] block that one broadcast holds: enough to fill a GPU at 256 MB of fp32.
_BLOCK_ELEMENTS = 1 << 26


def distance_transform(
    mask: Shaped[Tensor, "..."], spacing_mm: Sequence[SupportsFloat] = (1.0, 1.0, 1.0)
) -> Float[Tensor, "..."]:
    """Distance in mm from each voxel centre to the nearest True voxel centre of the same volume.

    mask: bool [..., X, Y, Z]. The field is float32, 0 on the mask, +inf everywhere in a volume without a True voxel.
    Raises ValueError for a mask that is not boolean or has fewer than three axes, and for a spacing that is not three
    positive numbers.
    """
    spacing = _checked(mask, spacing_mm)
    return _passes(torch.where(mask, 0.0, math.inf).to(torch.float32), torch.zeros_like(mask), spacing).sqrt_()


def distance_to_other_class(
    mask: Shaped[Tensor, "..."], spacing_mm: Sequence[SupportsFloat] = (1.0, 1.0, 1.0), *, squared: bool = False
) -> Float[Tensor, "..."]:
    """Distance in mm from each voxel to the nearest of the other class: outside to the mask, inside to its outside.

    Equal to the sum of the distance transforms of the mask and of its complement. +inf everywhere in a volume that is
    all True or all False. `squared` gives mm^2 and saves the root. Raises as `distance_transform`.
    """
    spacing = _checked(mask, spacing_mm)
    field = _passes(torch.full(mask.shape, math.inf, dtype=torch.float32, device=mask.device), mask, spacing)
    return field if squared else field.sqrt_()


def _passes(field: Tensor, classes: Tensor, spacing_mm: tuple[float, float, float]) -> Tensor:
    """The three passes over a squared field; voxels of another class contribute 0 to each other."""
    if field.device.type == "cpu" and field.numel():
        from mets3d.ops.distance_cpu import passes_in_place

        volumes = field.contiguous().view(-1, *field.shape[-3:])
        masks = classes.contiguous().view(volumes.shape)
        passes_in_place(volumes.numpy(), masks.numpy(), np.asarray(spacing_mm, dtype=np.float64))
        return volumes.view(field.shape)
    for axis, size_mm in zip((-3, -2, -1), spacing_mm, strict=True):
        field = broadcast_pass(field, classes, axis, size_mm)
    return field


def broadcast_pass(
    field: Float[Tensor, "*batch X Y Z"], classes: Bool[Tensor, "*batch X Y Z"], axis: int, size_mm: float
) -> Float[Tensor, "*batch X Y Z"]:
    """One min-plus pass along `axis` in plain torch, for any device."""
    n = field.shape[axis]
    along_last = field.movedim(axis, -1)
    lines, line_classes = along_last.reshape(-1, n), classes.movedim(axis, -1).reshape(-1, n)
    # In fp64, and so on the host: the difference of two rounded positions would cost three digits at 0.7 mm.
    position = torch.arange(n, dtype=torch.float64)
    squares = ((position[:, None] - position) * size_mm).square().to(torch.float32)
    offsets = squares.to(field.device, non_blocking=True)
    out = torch.empty_like(lines)
    rows = max(1, _BLOCK_ELEMENTS // max(1, n * n))
    for start in range(0, len(lines), rows):
        block, same = lines[start : start + rows], line_classes[start : start + rows]
        found = torch.where(same[:, :, None] == same[:, None, :], block[:, None, :], 0.0)
        out[start : start + rows] = (found + offsets).amin(-1)
    return out.reshape(along_last.shape).movedim(-1, axis)


def _checked(mask: Tensor, spacing_mm: Sequence[SupportsFloat]) -> tuple[float, float, float]:
    if mask.dtype != torch.bool:
        raise ValueError(f"mask: expected a boolean tensor, found {mask.dtype}; threshold it first")
    if mask.ndim < 3:
        raise ValueError(f"mask: expected [..., X, Y, Z], found shape {tuple(mask.shape)}")
    return checked_spacing(spacing_mm)


def checked_spacing(spacing_mm: Sequence[SupportsFloat]) -> tuple[float, float, float]:
    """Three positive finite numbers as floats, else ValueError."""
    values = tuple(float(value) for value in spacing_mm)
    if len(values) != 3 or not all(math.isfinite(value) and value > 0 for value in values):
        raise ValueError(f"spacing_mm: expected three positive numbers, found {tuple(spacing_mm)}")
    return values
