"""Defines changes that move image and labels alike: mirror, affine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor


@dataclass(frozen=True)
class Mirror:
    """A mirror image along each axis that is True."""

    axes: tuple[bool, bool, bool]

    @classmethod
    def draw(cls, rng: np.random.Generator, mirror: float) -> Mirror | None:
        """Mirrors each axis with probability `mirror`."""
        x, y, z = (bool(flip) for flip in rng.random(3) < mirror)
        return cls((x, y, z)) if x or y or z else None

    def apply(
        self,
        image: Float[Tensor, "C X Y Z"],
        labels: Integer[Tensor, "*L X Y Z"],
        spacing_mm: tuple[float, float, float],  # noqa: ARG002 - the signature of a spatial change
    ) -> tuple[Float[Tensor, "C X Y Z"], Integer[Tensor, "*L X Y Z"]]:
        """Flips image and labels."""
        axes = [axis - 3 for axis, flip in enumerate(self.axes) if flip]
        return image.flip(axes), labels.flip(axes)


@dataclass(frozen=True)
class Affine:
    """A rotation and a scaling about the centre of the patch."""

    matrix_mm: tuple[tuple[float, ...], ...]  # 3 x 3, from the output's position to the input's, in mm from the centre

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        rotation: float,
        rotation_degrees: float,
        scaling: float,
        scale: tuple[float, float],
    ) -> Affine | None:
        """Draws an angle about each axis and one factor within `scale`, each with its probability; above 1 enlarges."""
        # All are drawn in any case, so that the probability of one changes nothing of the other.
        rotates, scales = rng.random(2) < (rotation, scaling)
        largest = math.radians(rotation_degrees)
        angles, factor = rng.uniform(-largest, largest, size=3), rng.uniform(*scale)
        if not (rotates or scales):
            return None
        # Reading at positions divided by the factor enlarges what is seen. Log-uniform would favour neither side, but
        # the field draws the factor itself.
        matrix = (_rotation(angles) if rotates else np.eye(3)) / (factor if scales else 1.0)
        return cls(tuple(tuple(float(value) for value in row) for row in matrix))

    def apply(
        self,
        image: Float[Tensor, "C X Y Z"],
        labels: Integer[Tensor, "*L X Y Z"],
        spacing_mm: tuple[float, float, float],
    ) -> tuple[Float[Tensor, "C X Y Z"], Integer[Tensor, "*L X Y Z"]]:
        """Interpolates trilinearly on the image and takes the nearest voxel of the labels."""
        half = torch.tensor([n * size / 2 for n, size in zip(image.shape[1:], spacing_mm, strict=True)])
        matrix = torch.tensor(self.matrix_mm) * half / half[:, None]  # from mm to grid_sample's [-1, 1], axis by axis
        theta = F.pad(matrix.flip(0, 1), (0, 1))  # grid_sample counts axes from the last
        theta = theta.to(image.dtype).to(image.device, non_blocking=True)
        grid = F.affine_grid(theta[None], [1, 1, *image.shape[1:]], align_corners=False)
        moved = F.grid_sample(image[None], grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]
        flat = labels.reshape(1, -1, *labels.shape[-3:]).to(image.dtype)
        kept = F.grid_sample(flat, grid, mode="nearest", align_corners=False)
        return moved, kept.view(labels.shape).to(labels.dtype)


SPATIAL = {"mirror": Mirror, "affine": Affine}  # in the order of application


def _rotation(angles: Sequence[float] | np.ndarray) -> Float[np.ndarray, "3 3"]:
    """Returns the rotation about X, then Y, then Z by the angles, in radians."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        one, two = [other for other in range(3) if other != axis]
        turn = np.eye(3)
        turn[one, one] = turn[two, two] = math.cos(angle)
        turn[one, two], turn[two, one] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ turn
    return matrix
