"""Defines changes of the intensities, sequence by sequence: brightness, contrast, gamma."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

Range = tuple[float, float]
PerSequence = tuple[float, ...]


@dataclass(frozen=True)
class Brightness:
    """A factor on the intensities of each sequence."""

    factors: PerSequence

    @classmethod
    def draw(
        cls, rng: np.random.Generator, sequences: int, brightness: float, brightness_range: Range
    ) -> Brightness | None:
        """Draws the factors with probability `brightness`."""
        return cls(_uniform(rng, brightness_range, sequences)) if rng.random() < brightness else None

    @classmethod
    def apply(
        cls,
        changes: Mapping[int, Brightness],
        image: Float[Tensor, "B C X Y Z"],
        brain: Bool[Tensor, "B 1 X Y Z"],
    ) -> Float[Tensor, "B C X Y Z"]:
        """Multiplies each sequence by its factor."""
        for index, change in changes.items():
            image[index] = change._changed(image[index], brain[index, 0])
        return image

    def _changed(self, image: Float[Tensor, "C X Y Z"], brain: Bool[Tensor, "X Y Z"]) -> Float[Tensor, "C X Y Z"]:  # noqa: ARG002
        return image * _column(self.factors, image)


@dataclass(frozen=True)
class Contrast:
    """A factor on each sequence's distance from its mean inside the brain."""

    factors: PerSequence

    @classmethod
    def draw(cls, rng: np.random.Generator, sequences: int, contrast: float, contrast_range: Range) -> Contrast | None:
        """Draws the factors with probability `contrast`."""
        return cls(_uniform(rng, contrast_range, sequences)) if rng.random() < contrast else None

    @classmethod
    def apply(
        cls,
        changes: Mapping[int, Contrast],
        image: Float[Tensor, "B C X Y Z"],
        brain: Bool[Tensor, "B 1 X Y Z"],
    ) -> Float[Tensor, "B C X Y Z"]:
        """Stretches each sequence about its mean."""
        for index, change in changes.items():
            image[index] = change._changed(image[index], brain[index, 0])
        return image

    def _changed(self, image: Float[Tensor, "C X Y Z"], brain: Bool[Tensor, "X Y Z"]) -> Float[Tensor, "C X Y Z"]:
        mean = _mean(image, brain)
        return (image - mean) * _column(self.factors, image) + mean


@dataclass(frozen=True)
class Gamma:
    """A gamma curve on each sequence's range that keeps its mean and standard deviation inside the brain."""

    exponents: PerSequence

    @classmethod
    def draw(cls, rng: np.random.Generator, sequences: int, gamma: float, gamma_range: Range) -> Gamma | None:
        """Draws the exponents with probability `gamma`."""
        return cls(_uniform(rng, gamma_range, sequences)) if rng.random() < gamma else None

    @classmethod
    def apply(
        cls,
        changes: Mapping[int, Gamma],
        image: Float[Tensor, "B C X Y Z"],
        brain: Bool[Tensor, "B 1 X Y Z"],
    ) -> Float[Tensor, "B C X Y Z"]:
        """Bends each sequence's range, then restores its mean and standard deviation."""
        for index, change in changes.items():
            image[index] = change._changed(image[index], brain[index, 0])
        return image

    def _changed(self, image: Float[Tensor, "C X Y Z"], brain: Bool[Tensor, "X Y Z"]) -> Float[Tensor, "C X Y Z"]:
        low = image.amin((1, 2, 3), keepdim=True)
        span = (image.amax((1, 2, 3), keepdim=True) - low).clamp_min(1e-6)
        mean, std = _mean(image, brain), _std(image, brain)
        curved = ((image - low) / span) ** _column(self.exponents, image) * span + low
        return (curved - _mean(curved, brain)) / _std(curved, brain) * std + mean


INTENSITY = {"brightness": Brightness, "contrast": Contrast, "gamma": Gamma}  # in the order of application


def _uniform(rng: np.random.Generator, limits: Range, count: int) -> PerSequence:
    return tuple(float(value) for value in rng.uniform(*limits, size=count))


def _column(values: PerSequence, like: Tensor) -> Tensor:
    """Returns one number per sequence on the image's device, in a shape that multiplies it."""
    return torch.tensor(values, dtype=like.dtype).to(like.device, non_blocking=True)[:, None, None, None]


def _mean(image: Tensor, brain: Tensor) -> Tensor:
    return (image * brain).sum((1, 2, 3), keepdim=True) / brain.sum().clamp_min(1)


def _std(image: Tensor, brain: Tensor) -> Tensor:
    spread = ((image - _mean(image, brain)).square() * brain).sum((1, 2, 3), keepdim=True) / brain.sum().clamp_min(1)
    return spread.sqrt().clamp_min(1e-6)
