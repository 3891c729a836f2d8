"""Defines changes that move image and labels alike: mirror, elastic deformation, rotation, scaling.

Each is drawn with a probability of its own. `mets3d.augment.movement` composes those of a sample to one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from mets3d.augment.displacement import Displacement
from mets3d.augment.movement import Movement

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Mirror:
    """A mirror image along each axis that is True."""

    axes: tuple[bool, bool, bool]

    @classmethod
    def draw(cls, rng: np.random.Generator, mirror: float) -> Mirror | None:
        """Mirrors each axis with probability `mirror`."""
        x, y, z = (bool(flip) for flip in rng.random(3) < mirror)
        return cls((x, y, z)) if x or y or z else None

    def added_to(self, movement: Movement) -> Movement:
        """Returns the movement of which the result is mirrored."""
        return replace(movement, mirrored=self.axes)


@dataclass(frozen=True)
class Elastic:
    """A smooth random displacement of the voxels of the patch, before they are rotated and scaled.

    As nnU-Net v1's elastic deformation draws it: a scale, and along each axis a largest displacement of 1/8 to 1/2 of
    the standard deviation that belongs to the scale.
    """

    displacement: Displacement

    @classmethod
    def draw(cls, rng: np.random.Generator, elastic: float, elastic_scale: tuple[float, float]) -> Elastic | None:
        """Draws with probability `elastic` a scale within `elastic_scale`, the strengths and a seed."""
        if rng.random() >= elastic:
            return None
        scale = float(rng.uniform(*elastic_scale))
        x, y, z = (float(strength) for strength in rng.uniform(1 / 8, 1 / 2, size=3))
        return cls(Displacement(scale, (x, y, z), seed=int(rng.integers(2**62))))

    def added_to(self, movement: Movement) -> Movement:
        """Returns the movement with this displacement."""
        return replace(movement, elastic=self.displacement)


@dataclass(frozen=True)
class Rotation:
    """A rotation about the centre of the patch."""

    matrix: Matrix  # 3 x 3, from the patch's position to the case's, in mm from the centre

    @classmethod
    def draw(cls, rng: np.random.Generator, rotation: float, rotation_degrees: float) -> Rotation | None:
        """Draws with probability `rotation` an angle of at most `rotation_degrees` about each axis."""
        if rng.random() >= rotation:
            return None
        largest = math.radians(rotation_degrees)
        return cls(_as_tuples(_rotation(rng.uniform(-largest, largest, size=3))))

    def added_to(self, movement: Movement) -> Movement:
        """Returns the movement with this rotation after its own."""
        return replace(movement, matrix_mm=_as_tuples(np.array(self.matrix) @ np.array(movement.matrix_mm)))


@dataclass(frozen=True)
class Scaling:
    """Factors on the distances at which the case is read, along its axes: above 1 it is shown smaller."""

    factors: tuple[float, float, float]

    @classmethod
    def draw(
        cls, rng: np.random.Generator, scaling: float, scale: tuple[float, float], scale_per_axis: float
    ) -> Scaling | None:
        """Draws with probability `scaling` a factor within `scale`.

        With probability `scale_per_axis` each axis has a factor of its own, otherwise all have the same.
        """
        if rng.random() >= scaling:
            return None
        own = rng.random() < scale_per_axis
        x, y, z = (float(factor) for factor in rng.uniform(*scale, size=3))
        return cls((x, y, z) if own else (x, x, x))

    def added_to(self, movement: Movement) -> Movement:
        """Returns the movement with this scaling after its own."""
        return replace(movement, matrix_mm=_as_tuples(np.array(self.factors)[:, None] * np.array(movement.matrix_mm)))


# In the order in which they are composed.
SPATIAL = {"mirror": Mirror, "elastic": Elastic, "rotation": Rotation, "scaling": Scaling}


def _rotation(angles: Sequence[float] | np.ndarray) -> Float64[np.ndarray, "3 3"]:
    """Returns the rotation about X, then Y, then Z by the angles, in radians."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        one, two = [other for other in range(3) if other != axis]
        turn = np.eye(3)
        turn[one, one] = turn[two, two] = math.cos(angle)
        turn[one, two], turn[two, one] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ turn
    return matrix


def _as_tuples(matrix: np.ndarray) -> Matrix:
    return tuple(tuple(float(value) for value in row) for row in matrix)
