"""Checks the arguments of losses on whole masks, and computes D0, the unit of their distances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mets3d.ops.distance import SpacingLike, checked_mask_and_spacing


def checked(
    probability: Tensor, target: Tensor, spacing_mm: SpacingLike
) -> tuple[Bool[Tensor, "B R X Y Z"], Float[np.ndarray, "_ 3"]]:
    """Returns the target as a boolean mask, and the spacing as float64 [1, 3] or [B, 3].

    Raises ValueError for a wrong rank, shapes that differ, a bad spacing and, on CPU tensors alone (a check on a GPU
    would wait for it), probabilities outside [0, 1].
    """
    arguments: dict[str, Any] = {"probability": probability, "target": target}
    for name, value in arguments.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{name}: expected a tensor [B, R, X, Y, Z], found {type(value).__name__}")
    if probability.ndim != 5 or not probability.is_floating_point() or not probability.numel():
        raise ValueError(
            f"probability: expected [B, R, X, Y, Z] of floating point, found {probability.dtype} of shape "
            f"{tuple(probability.shape)}"
        )
    if probability.shape != target.shape:
        raise ValueError(
            f"target: expected the shape of probability, {tuple(probability.shape)}, found {tuple(target.shape)}"
        )
    if target.dtype != torch.bool and not target.is_floating_point():
        raise ValueError(
            f"target: expected bool, or float thresholded at > 0.5, found {target.dtype}; make a mask of each label"
        )
    if probability.device.type == "cpu":
        low, high = probability.detach().aminmax()
        if low < 0 or high > 1:  # neither is true of NaN, which is to reach the loss
            raise ValueError(
                f"probability: expected values in [0, 1], found {low:.9g} to {high:.9g}; pass probabilities, not logits"
            )
    mask = target if target.dtype == torch.bool else target > 0.5
    return mask, checked_mask_and_spacing(spacing_mm, mask)


def checked_predicted(predicted: Tensor, truth: Tensor) -> Tensor:
    """Returns the predicted mask. Raises ValueError unless it is boolean and has the target's shape."""
    if predicted.shape != truth.shape or predicted.dtype != torch.bool:
        raise ValueError(
            f"predicted: expected bool {tuple(truth.shape)}, found {predicted.dtype} {tuple(predicted.shape)}"
        )
    return predicted


def checked_positive(name: str, value: Any) -> Any:
    """Returns the value; raises ValueError unless it is a finite number above 0."""
    if not isinstance(value, Real) or not (math.isfinite(value) and float(value) > 0):
        raise ValueError(f"{name}: expected a number above 0, found {value}")
    return value


def any_voxel(mask: Bool[Tensor, "B R X Y Z"]) -> Bool[Tensor, "B R 1 1 1"]:
    """Returns whether each volume of a mask has a True voxel."""
    return mask.any(-1, keepdim=True).any(-2, keepdim=True).any(-3, keepdim=True)


def diagonal_mm(shape: Sequence[int], spacing_mm: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N"]:
    """Returns D0, the diagonal of each volume in mm. A distance divided by it has no unit of length."""
    extents: Float[np.ndarray, "N 3"] = spacing_mm * np.asarray(shape[-3:])
    diagonals: Float[np.ndarray, "N"] = np.sqrt((extents**2).sum(-1))
    return diagonals


def per_item(values: Float[np.ndarray, "N"], like: Tensor) -> Float[Tensor, "N 1"]:
    """Copies numbers, one per item or one for all, to a column that broadcasts to [B, R], without a device wait."""
    return torch.from_numpy(values).to(like.dtype).to(like.device, non_blocking=True)[:, None]


def per_voxel(values: Float[np.ndarray, "N"], like: Tensor) -> Float[Tensor, "N 1 1 1 1"]:
    """Copies numbers, one per item or one for all items, to a shape that broadcasts to [B, R, X, Y, Z]."""
    return per_item(values, like)[..., None, None, None]
