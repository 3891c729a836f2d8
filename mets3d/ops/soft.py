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
from torch.autograd.function import once_differentiable

VOXELS = (-3, -2, -1)
Volumes = Float[Tensor, "B R X Y Z"]


def soft_threshold(values: Float[Tensor, "..."], threshold: float = 0.5) -> Float[Tensor, "..."]:
    """Returns (x - threshold)+ / (1 - threshold): 0 below the threshold, 1 at 1."""
    return (values - threshold).clamp_min(0) / (1 - threshold)


def soft_erosion(values: Volumes, rescale: Literal["fixed", "peak"] = "fixed") -> Volumes:
    """Erodes once by the seven-voxel cross: the mean over a voxel and its six neighbours, soft-thresholded at 0.5.

    Outside the volume is 0. rescale: `fixed` maps [0.5, 1] to [0, 1], so that what is below 0.5 leaves nothing. `peak`
    maps each volume's range to [0, 1]. Where no mean is above 0.5, it takes the volume as if its largest value were 1,
    and gives back that share: weak values count in proportion and not as zero. A volume of zeros stays one.
    """
    if rescale == "fixed":
        mean: Tensor = _CrossMean.apply(values)  # type: ignore[no-untyped-call]
        return soft_threshold(mean)
    if rescale != "peak":
        raise ValueError(f"rescale: expected fixed or peak, found {rescale!r}")
    eroded: Tensor = _PeakErosion.apply(values)  # type: ignore[no-untyped-call]
    return eroded


class _CrossMean(torch.autograd.Function):
    """Takes the mean over the cross: symmetric, so its own gradient. As operations it would keep seven volumes."""

    @staticmethod
    def forward(_ctx: Any, values: Tensor) -> Tensor:
        return _cross_mean(values)

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        mean: Tensor = _CrossMean.apply(gradient)  # type: ignore[no-untyped-call]
        return mean


class _PeakErosion(torch.autograd.Function):
    """Erodes once to u (mean - u / 2 - low)+ / (high - low), where low and high are the extremes of (mean - u / 2)+.

    u is 1, or the largest value of a volume without a mean above 0.5. u, low and high pass a gradient on, to equal
    shares where several voxels have that value, as `amax` does. The result alone is kept, and where u is not 1 a mask;
    operations would keep five volumes.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        mean = _cross_mean(values)
        least, most = mean.amin(VOXELS, keepdim=True), mean.amax(VOXELS, keepdim=True)
        strong = most > 0.5
        unit, at_largest = torch.ones_like(most), None
        if _perhaps(~strong):
            largest = values.amax(VOXELS, keepdim=True)
            unit, at_largest = torch.where(strong, unit, largest), values == largest
        low, high = ((extreme - 0.5 * unit).clamp_min(0) for extreme in (least, most))
        spread = high > low
        low, between = torch.where(spread, low, 0.0), torch.where(spread, high - low, 1.0)
        stretch = torch.where(spread, unit / between, 1.0)
        floor = 0.5 * unit + low
        eroded = mean.sub_(floor).clamp_min_(0).mul_(stretch)
        # By the same steps as every voxel, so that the largest ones are found by equality.
        top = (most - floor).clamp_min(0) * stretch
        ctx.save_for_backward(eroded, at_largest, strong, unit, low, between, spread, top)
        return eroded

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        eroded, at_largest, strong, unit, low, between, spread, top = ctx.saved_tensors
        # By the sum of gradient x result, u and the range between low and high reach the loss.
        product = (gradient * eroded).sum(VOXELS, keepdim=True)
        of_range = torch.where(spread, product / between, 0.0)
        stretch = torch.where(spread, unit / between, 1.0)
        of_mean = gradient * stretch
        of_mean -= _shared(of_range, eroded == top)
        above = eroded > 0
        if _perhaps(low > 0):
            whole = gradient.sum(VOXELS, keepdim=True)
            of_low = torch.where(low > 0, of_range - stretch * whole, 0.0)
            of_mean += _shared(of_low, eroded == 0)
            above = above | (low > 0)
        of_mean *= above
        if at_largest is None:
            return _cross_mean(of_mean)
        of_unit = torch.where(spread, product / torch.where(spread, unit, 1.0), 0.0)
        of_unit = torch.where(strong, 0.0, of_unit - 0.5 * of_mean.sum(VOXELS, keepdim=True))
        return _cross_mean(of_mean).add_(_shared(of_unit, at_largest))


def _cross_mean(values: Tensor) -> Tensor:
    total = values.clone()
    for axis, n in enumerate(values.shape[-3:], start=values.ndim - 3):
        total.narrow(axis, 1, n - 1).add_(values.narrow(axis, 0, n - 1))
        total.narrow(axis, 0, n - 1).add_(values.narrow(axis, 1, n - 1))
    return total.div_(7)


def _perhaps(flags: Tensor) -> bool:
    """Tells whether any flag may be set. On a GPU the answer is yes: to look would make the host wait."""
    return flags.device.type != "cpu" or bool(flags.any())


def _shared(amount: Tensor, among: Tensor) -> Tensor:
    """Gives each of the marked voxels of a volume an equal share of its amount, and the others 0."""
    return amount / among.sum(VOXELS, keepdim=True).clamp_min(1) * among


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
