"""Makes a smooth random displacement of the voxels of a patch, on the device, from a few numbers and a seed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from mets3d.ops.voxels import Shape3

SMALLEST_KNOT = 2.0  # voxels between control points; a field that is rougher moves by less than a voxel


@dataclass(frozen=True)
class Displacement:
    """A random displacement, in voxels, as smooth as white noise after a Gaussian filter.

    Along each axis of a patch of n voxels it is a cubic B-spline of control points that are uniformly random and
    sqrt(3) s apart, where s = scale n is the standard deviation of that Gaussian. Its largest value is strength s.
    """

    scale: float  # of the patch's sides
    strengths: tuple[float, float, float]  # largest displacement along each axis, per standard deviation
    seed: int  # of the control points

    def largest_voxels(self, patch: Shape3) -> Float64[np.ndarray, "3"]:
        """Returns the largest displacement along each axis of the patch."""
        largest: Float64[np.ndarray, "3"] = np.array(self.strengths) * self.scale * np.array(patch)
        return largest

    def field(self, patch: Shape3, like: Tensor) -> Float[Tensor, "3 X Y Z"]:
        """Makes the displacement of every voxel, in voxels, on the device and in the precision of a tensor."""
        # A cubic B-spline has the variance of four boxes, 4 / 12 of the square of its knots' distance.
        knots = [max(math.sqrt(3) * self.scale * size, SMALLEST_KNOT) for size in patch]
        sides = [_spline(size, knot) for size, knot in zip(patch, knots, strict=True)]
        rng = np.random.default_rng(self.seed)  # on the host: the same field on every device
        control = rng.uniform(-1, 1, size=(3, *(len(side.T) for side in sides)))
        x, y, z = (on_device(side, like) for side in sides)
        field = x @ (y @ (on_device(control, like) @ z.T)).flatten(2)
        scale = on_device(self.largest_voxels(patch), like) / field.abs().amax((1, 2)).clamp_min(1e-6)
        return (field * scale[:, None, None]).view(3, *patch)


def on_device(values: np.ndarray, like: Tensor) -> Tensor:
    """Copies numbers from the host, without waiting, to the device and precision of a tensor."""
    return torch.from_numpy(np.ascontiguousarray(values)).to(like.dtype).to(like.device, non_blocking=True)


def _spline(size: int, knot: float) -> Float64[np.ndarray, "size K"]:
    """Returns the weight of each control point of a uniform cubic B-spline at every voxel of a side."""
    at = np.arange(size) / knot
    distance = np.abs(at[:, None] - np.arange(-1, math.floor(at[-1]) + 3))
    near, far = 2 / 3 - distance**2 + distance**3 / 2, (2 - distance).clip(0) ** 3 / 6
    return np.where(distance < 1, near, far)
