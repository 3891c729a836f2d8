"""Drawing an augmentation: plain numbers from one sample's own random generator, on the host.

What is drawn depends on that generator alone, so a sample has the same augmentation on any number of processes. Every
quantity is drawn whether or not it is used: changing one probability does not shift the draws that follow it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Range = tuple[float, float]
PerSequence = tuple[float, ...]


@dataclass(frozen=True)
class Drawn:
    """The augmentation of one sample. None, False or 0: not applied."""

    mirror: tuple[bool, bool, bool] = (False, False, False)
    matrix_mm: tuple[tuple[float, ...], ...] | None = None  # output to input position about the centre, in mm, 3 x 3
    brightness: PerSequence | None = None
    contrast: PerSequence | None = None
    gamma: PerSequence | None = None
    noise_std: float = 0.0
    noise_seed: int = 0


def draw(
    rng: np.random.Generator,
    sequences: int,
    *,
    mirror: float,
    affine: float,
    rotation_degrees: float,
    scale: Range,
    noise: float,
    noise_std: float,
    brightness: float,
    brightness_range: Range,
    contrast: float,
    contrast_range: Range,
    gamma: float,
    gamma_range: Range,
) -> Drawn:
    """One augmentation for an image of `sequences` channels; the arguments are those of `config.Augment`."""
    flips = tuple(bool(flip) for flip in rng.random(3) < mirror)
    matrix = _rotation_and_scale(rng, rotation_degrees, scale)
    switches = rng.random(5) < np.array([affine, brightness, contrast, gamma, noise])
    factors = [
        tuple(float(value) for value in rng.uniform(*limits, size=sequences))
        for limits in (brightness_range, contrast_range, gamma_range)
    ]
    std, seed = float(rng.uniform(0, noise_std)), int(rng.integers(2**62))
    return Drawn(
        mirror=(flips[0], flips[1], flips[2]),
        matrix_mm=matrix if switches[0] else None,
        brightness=factors[0] if switches[1] else None,
        contrast=factors[1] if switches[2] else None,
        gamma=factors[2] if switches[3] else None,
        noise_std=std if switches[4] else 0.0,
        noise_seed=seed,
    )


def _rotation_and_scale(rng: np.random.Generator, degrees: float, scale: Range) -> tuple[tuple[float, ...], ...]:
    matrix = np.eye(3)
    for axis, angle in enumerate(rng.uniform(-math.radians(degrees), math.radians(degrees), size=3)):
        one, two = [other for other in range(3) if other != axis]
        turn = np.eye(3)
        turn[one, one] = turn[two, two] = math.cos(angle)
        turn[one, two], turn[two, one] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ turn
    # Reading at positions divided by the factor enlarges what is seen. Log-uniform would favour neither side, but the
    # field draws the factor itself.
    matrix /= rng.uniform(*scale)
    return tuple(tuple(float(value) for value in row) for row in matrix)
