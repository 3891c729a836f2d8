"""Samples volumes at points between voxels, in a form whose gradient can be deterministic on a GPU too."""

from __future__ import annotations

import itertools

import torch
from jaxtyping import Float
from torch import Tensor


def values_at(volume: Float[Tensor, "B R X Y Z"], positions: Float[Tensor, "B R P 3"]) -> Float[Tensor, "B R P"]:
    """Interpolates trilinearly at positions in [-1, 1], along X, Y and Z, from one face of the volume to the other.

    Beyond the centre of the outermost voxel its value goes on. As `grid_sample` with padding `border` and
    align_corners=False, whose gradient has no deterministic form on a GPU, while that of `gather` has one.
    """
    sides = [_side(positions[..., axis], n) for axis, n in enumerate(volume.shape[2:])]
    _, _, _, y, z = volume.shape
    indices, weights = [], []
    for (one, along_x), (two, along_y), (three, along_z) in itertools.product(*sides):
        indices.append((one * y + two) * z + three)
        weights.append(along_x * along_y * along_z)
    corners = torch.stack(indices, -1)
    values = volume.flatten(2).gather(2, corners.flatten(2)).view(corners.shape)
    return (values * torch.stack(weights, -1)).sum(-1)


def _side(position: Tensor, n: int) -> list[tuple[Tensor, Tensor]]:
    """Returns the two voxels along an axis of n between which each position lies, and the weight of each."""
    place = ((position + 1) * (n / 2) - 0.5).clamp(0, n - 1)
    lower = place.floor()
    upper_weight = place - lower
    index = lower.long()
    return [(index, 1 - upper_weight), ((index + 1).clamp(max=n - 1), upper_weight)]
