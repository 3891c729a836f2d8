"""Drawn augmentations applied to a batch on its device; what was drawn lies on the host, so nothing waits for a GPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor

from mets3d.augment.draw import Drawn, PerSequence


def augment(
    image: Float[Tensor, "B C X Y Z"],
    labels: Integer[Tensor, "B X Y Z"],
    drawn: Sequence[Drawn],
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> tuple[Float[Tensor, "B C X Y Z"], Integer[Tensor, "B X Y Z"]]:
    """Each sample changed by its own draw: mirror, affine, brightness, contrast, gamma, noise, in this order.

    Outside the brain (all sequences 0) the image stays 0. What the affine reads beyond the patch is background.
    """
    pairs = [_one(sample, labels[index], drawn[index], spacing_mm) for index, sample in enumerate(image)]
    return torch.stack([pair[0] for pair in pairs]), torch.stack([pair[1] for pair in pairs])


def _one(image: Tensor, labels: Tensor, drawn: Drawn, spacing_mm: tuple[float, float, float]) -> tuple[Tensor, Tensor]:
    axes = [axis - 3 for axis, flip in enumerate(drawn.mirror) if flip]
    if axes:
        image, labels = image.flip(axes), labels.flip(axes)
    if drawn.matrix_mm is not None:
        image, labels = _affine(image, labels, drawn.matrix_mm, spacing_mm)
    brain = (image != 0).any(0)
    if drawn.brightness is not None:
        image = image * _column(drawn.brightness, image)
    if drawn.contrast is not None:
        mean = _mean(image, brain)
        image = (image - mean) * _column(drawn.contrast, image) + mean
    if drawn.gamma is not None:
        image = _gamma(image, brain, drawn.gamma)
    if drawn.noise_std:
        generator = torch.Generator(image.device).manual_seed(drawn.noise_seed)
        noise = torch.randn(image.shape, generator=generator, device=image.device, dtype=image.dtype)
        image = image + drawn.noise_std * noise
    return image * brain, labels


def _affine(
    image: Tensor, labels: Tensor, matrix_mm: Sequence[Sequence[float]], spacing_mm: tuple[float, float, float]
) -> tuple[Tensor, Tensor]:
    """Trilinear on the image, nearest on the labels, about the centre of the patch."""
    half = torch.tensor([n * size / 2 for n, size in zip(image.shape[1:], spacing_mm, strict=True)])
    matrix = torch.tensor(matrix_mm) * half / half[:, None]  # from mm to the [-1, 1] of grid_sample, axis by axis
    theta = F.pad(matrix.flip(0, 1), (0, 1))  # grid_sample counts axes from the last
    theta = theta.to(image.dtype).to(image.device, non_blocking=True)
    grid = F.affine_grid(theta[None], [1, 1, *image.shape[1:]], align_corners=False)
    moved = F.grid_sample(image[None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]
    kept = F.grid_sample(labels[None, None].to(image.dtype), grid, mode="nearest", align_corners=False)[0, 0]
    return moved, kept.to(labels.dtype)


def _gamma(image: Tensor, brain: Tensor, exponents: PerSequence) -> Tensor:
    """A gamma curve on each sequence's range that keeps its mean and standard deviation inside the brain."""
    low = image.amin((1, 2, 3), keepdim=True)
    span = (image.amax((1, 2, 3), keepdim=True) - low).clamp_min(1e-6)
    mean, std = _mean(image, brain), _std(image, brain)
    curved = ((image - low) / span) ** _column(exponents, image) * span + low
    return (curved - _mean(curved, brain)) / _std(curved, brain) * std + mean


def _column(values: PerSequence, like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype).to(like.device, non_blocking=True)[:, None, None, None]


def _mean(image: Tensor, brain: Tensor) -> Tensor:
    return (image * brain).sum((1, 2, 3), keepdim=True) / brain.sum().clamp_min(1)


def _std(image: Tensor, brain: Tensor) -> Tensor:
    spread = ((image - _mean(image, brain)).square() * brain).sum((1, 2, 3), keepdim=True) / brain.sum().clamp_min(1)
    return spread.sqrt().clamp_min(1e-6)
