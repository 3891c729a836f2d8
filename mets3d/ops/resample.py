"""Resizes volumes, axis by axis with one small matrix each. NumPy, so that preprocessing needs no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8

ROUNDING = 1e-5  # of a voxel's share: below that two labels fill it equally


def resize(volume: Float32[np.ndarray, "*N X Y Z"], shape: Sequence[int]) -> Float32[np.ndarray, "*N x y z"]:
    """Resizes a volume to a grid of `shape` over the same box: voxel edges coincide, voxel centres in general do not.

    An axis that grows is interpolated linearly, constant beyond the outermost voxel centres; on one that shrinks, a new
    voxel is the mean over its extent, so that nothing is overlooked and fine structures do not alias. Weights are
    positive and sum to 1: no value leaves the range of the input, which a cubic kernel does next to the zeros around a
    stripped brain.
    An axis whose size does not change is left exactly as it is.
    """
    return _apply(volume, [shares(old, new) for old, new in zip(volume.shape[-3:], shape, strict=True)])


def resize_labels(labels: UInt8[np.ndarray, "X Y Z"], shape: Sequence[int]) -> UInt8[np.ndarray, "x y z"]:
    """Resizes a label map to a grid of `shape` over the same box: each new voxel has the label that fills most of it.

    Unlike nearest neighbours this moves no boundary by half a voxel; unlike the largest of linearly resized masks, it
    keeps a lesion of one voxel when the grid gets finer by a whole factor. Ties go to the smaller label. A lesion
    that fills less than half of every new voxel vanishes: it serves brain masks; lesions are for `lesion_resample`.
    """
    if labels.shape == tuple(shape):
        return labels
    weights = [overlap_weights(old, new) for old, new in zip(labels.shape, shape, strict=True)]
    winner = np.zeros(tuple(shape), dtype=np.uint8)
    highest = np.full(tuple(shape), -1, dtype=np.float32)
    for label in np.unique(labels):
        share = _apply((labels == label).astype(np.float32), weights)
        higher = share > highest + ROUNDING
        winner[higher] = label
        highest[higher] = share[higher]
    return winner


def resize_probabilities(
    volume: Float32[np.ndarray, "*N X Y Z"], shape: Sequence[int]
) -> Float32[np.ndarray, "*N x y z"]:
    """Resizes probabilities to a grid of `shape` over the same box, on the way back to a case's own grid.

    An axis that shrinks by a whole factor is averaged: there an old voxel was divided into these parts, and what was
    repeated comes back exactly. Any other axis is interpolated linearly at the new voxel's centre: a mean over its
    extent would hold lesions of a voxel or two below 1/2.
    """
    sizes = zip(volume.shape[-3:], shape, strict=True)
    return _apply(volume, [(linear_weights if old % new else overlap_weights)(old, new) for old, new in sizes])


def shares(old: int, new: int) -> Float32[np.ndarray, "{new} {old}"]:
    """Returns the weights of `resize` along one axis: new voxel i has the share [i, j] of old voxel j."""
    return (linear_weights if new > old else overlap_weights)(old, new)


def linear_weights(old: int, new: int) -> Float32[np.ndarray, "{new} {old}"]:
    """Returns the weights of the old voxels at the centre of new voxel i, as row i; rows sum to 1."""
    centres = np.clip((np.arange(new) + 0.5) * (old / new) - 0.5, 0, old - 1)
    return np.asarray(np.clip(1 - np.abs(centres[:, None] - np.arange(old)), 0, None), dtype=np.float32)


def overlap_weights(old: int, new: int) -> Float32[np.ndarray, "{new} {old}"]:
    """Returns the share of new voxel i that each old voxel covers, as row i; rows sum to 1."""
    edges = np.arange(new + 1) * (old / new)
    stop = np.minimum(edges[1:, None], np.arange(1, old + 1))
    start = np.maximum(edges[:-1, None], np.arange(old))
    return np.asarray(np.clip(stop - start, 0, None) * (new / old), dtype=np.float32)


def shape_at(shape: Sequence[int], spacing_mm: Sequence[float], target_mm: Sequence[float]) -> tuple[int, int, int]:
    """Returns how many voxels of `target_mm`, at least 1 an axis, cover the box of `shape` voxels of `spacing_mm`.

    The box is kept to the edge, so the true spacing differs from the target by less than half a voxel over its length.
    """
    x, y, z = (max(1, round(n * own / target)) for n, own, target in zip(shape, spacing_mm, target_mm, strict=True))
    return x, y, z


def _apply(
    volume: Float32[np.ndarray, "*N X Y Z"], weights: Sequence[Float32[np.ndarray, "_ _"]]
) -> Float32[np.ndarray, "*N x y z"]:
    """Applies one matrix an axis; an axis that keeps its size is skipped, for there all weights are the identity."""
    for axis, matrix in zip((-3, -2, -1), weights, strict=True):
        new, old = matrix.shape
        if new != old:
            volume = np.moveaxis(np.tensordot(matrix, volume, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(volume)
