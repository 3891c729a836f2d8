"""Resizing of volumes, linear and separable: one small matrix an axis. NumPy, so that loaders need no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8


def resize(volume: Float32[np.ndarray, "*N X Y Z"], shape: Sequence[int]) -> Float32[np.ndarray, "*N x y z"]:
    """The volume on a grid of `shape` that covers the same box: voxel edges coincide, voxel centres in general do not.

    Linear interpolation, constant beyond the outermost voxel centres. Where an axis shrinks, the triangle is widened by
    the factor, so that every voxel is seen and fine structures do not alias. Weights are positive and sum to 1: no
    value leaves the range of the input, which a cubic kernel does next to the zeros around a stripped brain.
    An axis whose size does not change is left exactly as it is; a volume without such an axis is not copied.
    """
    for axis, size in zip((-3, -2, -1), shape, strict=True):
        if volume.shape[axis] != size:
            weights = linear_weights(volume.shape[axis], size)
            volume = np.moveaxis(np.tensordot(weights, volume, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(volume)


def resize_labels(labels: UInt8[np.ndarray, "X Y Z"], shape: Sequence[int]) -> UInt8[np.ndarray, "x y z"]:
    """The label map on a grid of `shape`: at each voxel the label whose mask, resized as in `resize`, is largest.

    Unlike nearest neighbours this moves no boundary by half a voxel and leaves no stairs. Ties go to the smaller
    label, and a lesion much smaller than the new voxels can vanish.
    """
    if labels.shape == tuple(shape):
        return labels
    winner = np.zeros(tuple(shape), dtype=np.uint8)
    highest = np.full(tuple(shape), -1, dtype=np.float32)
    for label in np.unique(labels):
        share = resize((labels == label).astype(np.float32), shape)
        higher = share > highest
        winner[higher] = label
        highest[higher] = share[higher]
    return winner


def linear_weights(old: int, new: int) -> Float32[np.ndarray, "{new} {old}"]:
    """Row i holds the weights of the old voxels in new voxel i; rows sum to 1."""
    factor = old / new
    centres = (np.arange(new) + 0.5) * factor - 0.5
    inner = centres if factor > 1 else np.clip(centres, 0, old - 1)
    distance = np.abs(inner[:, None] - np.arange(old)) / max(factor, 1.0)
    weights = np.clip(1 - distance, 0, None)
    return np.asarray(weights / weights.sum(1, keepdims=True), dtype=np.float32)


def shape_at(shape: Sequence[int], spacing_mm: Sequence[float], target_mm: Sequence[float]) -> tuple[int, int, int]:
    """Voxels per axis, at least 1, that cover the box of `shape` voxels of `spacing_mm` with voxels of `target_mm`.

    The box is kept to the edge, so the true spacing differs from the target by less than half a voxel over its length.
    """
    x, y, z = (max(1, round(n * own / target)) for n, own, target in zip(shape, spacing_mm, target_mm, strict=True))
    return x, y, z
