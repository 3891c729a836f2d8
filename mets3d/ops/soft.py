"""Computes soft morphology: thresholds, erosions and means over balls that a gradient passes through."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped
from scipy.fft import next_fast_len
from torch import Tensor

Volumes = Float[Tensor, "B R X Y Z"]


def soft_threshold(values: Float[Tensor, "..."], threshold: float = 0.5) -> Float[Tensor, "..."]:
    """Returns (x - threshold)+ / (1 - threshold): 0 below the threshold, 1 at 1."""
    return (values - threshold).clamp_min(0) / (1 - threshold)


def soft_erosion(values: Volumes, rescale: Literal["fixed", "peak"] = "fixed") -> Volumes:
    """Erodes once by the seven-voxel cross: the mean over a voxel and its six neighbours, soft-thresholded at 0.5.

    Outside the volume is 0. rescale: `fixed` maps [0.5, 1] to [0, 1]; `peak` each volume's range to [0, 1], a volume
    without a range staying as it is.
    """
    mean: Tensor = _CrossMean.apply(values)  # type: ignore[no-untyped-call]
    if rescale == "fixed":
        return soft_threshold(mean)
    if rescale != "peak":
        raise ValueError(f"rescale: expected fixed or peak, found {rescale!r}")
    kept = (mean - 0.5).clamp_min(0)
    low, high = kept.amin((-3, -2, -1), keepdim=True), kept.amax((-3, -2, -1), keepdim=True)
    return torch.where(high > low, (kept - low) / torch.where(high > low, high - low, 1.0), kept)


class _CrossMean(torch.autograd.Function):
    """Takes the mean over the cross: symmetric, so its own gradient. As operations it would keep seven volumes."""

    @staticmethod
    def forward(_ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        for axis, n in enumerate(values.shape[-3:], start=values.ndim - 3):
            total.narrow(axis, 1, n - 1).add_(values.narrow(axis, 0, n - 1))
            total.narrow(axis, 0, n - 1).add_(values.narrow(axis, 1, n - 1))
        return total.div_(7)

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        mean: Tensor = _CrossMean.apply(gradient)  # type: ignore[no-untyped-call]
        return mean


def ball_means(values: Volumes, spacing_mm: Float[np.ndarray, "N 3"], radii_mm: Sequence[float]) -> Iterator[Volumes]:
    """Yields for each radius the mean over the ball around each voxel, 0 outside the volume; by FFT.

    spacing_mm: [1, 3] or [B, 3]. A voxel belongs to the ball if its centre does. Within 1e-6 in fp32.
    """
    shape = values.shape[-3:]
    widest = max(radii_mm)
    reach = [min(int(widest / size), n - 1) for size, n in zip(spacing_mm.min(0), shape, strict=True)]
    padding = tuple(int(next_fast_len(n + extent, real=True)) for n, extent in zip(shape, reach, strict=True))
    spectrum = torch.fft.rfftn(values, s=padding)
    for radius in radii_mm:
        of_items = [_ball_spectrum(radius, tuple(s), shape, padding, values.dtype, values.device) for s in spacing_mm]
        blurred = torch.fft.irfftn(spectrum * torch.stack(of_items)[:, None], s=padding, dim=(-3, -2, -1))
        yield _without_rounding(blurred[..., : shape[0], : shape[1], : shape[2]])


def _without_rounding(means: Volumes) -> Volumes:
    """Clamps to [0, 1], which a mean leaves by rounding alone, with the gradient of the mean itself.

    Where all probabilities are 1, that of `clamp` would be 1 or 0 as the last bit falls, another one in another batch.
    """
    return means + (means.clamp(0, 1) - means).detach()


# Every training step needs the same six, and making them takes longer than the rest.
@lru_cache(maxsize=8)
def _ball_spectrum(
    radius: float,
    size_mm: tuple[float, ...],
    shape: tuple[int, ...],
    padded: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
) -> Shaped[Tensor, "X Y Z"]:
    with torch.inference_mode(False), torch.no_grad():
        ball = torch.from_numpy(_ball(radius, np.array(size_mm), shape, padded)).to(dtype)
        spectrum: Tensor = torch.fft.rfftn(ball.to(device, non_blocking=True))
        return spectrum


def _ball(
    radius: float, size_mm: Float[np.ndarray, "3"], shape: Sequence[int], padded: Sequence[int]
) -> Float[np.ndarray, "X Y Z"]:
    """Returns a kernel of sum 1 around the origin of a periodic grid; beyond the volume it would meet only zeros."""
    whole = [math.floor(radius / size) for size in size_mm]
    axes = np.ogrid[tuple(slice(-n, n + 1) for n in whole)]
    inside = sum((axis * size) ** 2 for axis, size in zip(axes, size_mm, strict=True)) <= radius**2
    kernel = np.zeros(tuple(padded))
    offsets = np.argwhere(inside) - whole
    kept = offsets[(np.abs(offsets) < np.asarray(shape)).all(1)]
    kernel[tuple(kept.T)] = 1 / inside.sum()  # negative offsets wrap round, as a periodic grid wants
    return kernel
