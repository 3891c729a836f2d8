"""Defines changes that a scanner makes: noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Noise:
    """Gaussian noise, independent in every voxel and sequence."""

    std: float
    seed: int  # of the device's own generator: the noise itself is too large to draw on the host

    @classmethod
    def draw(cls, rng: np.random.Generator, noise: float, noise_std: float) -> Noise | None:
        """Draws with probability `noise` a standard deviation of at most `noise_std`, and a seed."""
        if rng.random() >= noise:
            return None
        return cls(std=float(rng.uniform(0, noise_std)), seed=int(rng.integers(2**62)))

    @classmethod
    def apply(
        cls,
        changes: Mapping[int, Noise],
        image: Float[Tensor, "B C X Y Z"],
        brain: Bool[Tensor, "B 1 X Y Z"],
    ) -> Float[Tensor, "B C X Y Z"]:
        """Adds noise that depends on the seed and the shape alone."""
        for index, change in changes.items():
            image[index] = change._changed(image[index], brain[index, 0])
        return image

    def _changed(self, image: Float[Tensor, "C X Y Z"], brain: Bool[Tensor, "X Y Z"]) -> Float[Tensor, "C X Y Z"]:  # noqa: ARG002
        generator = torch.Generator(image.device).manual_seed(self.seed)
        noise = torch.randn(image.shape, generator=generator, device=image.device, dtype=image.dtype)
        return image + self.std * noise


ARTEFACTS = {"noise": Noise}  # in the order of application, after the intensities
