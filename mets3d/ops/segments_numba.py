"""Sums over segments on the CPU, compiled by numba on first use. Neighbours mostly share a number."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Integer, Shaped
from torch import Tensor

from mets3d.ops.numba_cache import compiled


def whole_sums(
    values: Float[Tensor, "N V"], numbers: Integer[Tensor, "N V"], segments: int, scale: float
) -> Int64[Tensor, "N segments"]:
    """Returns the sums of the values times `scale`, each rounded to a whole number, over the voxels of each number."""
    sums = np.zeros((len(numbers), segments + 1), np.int64)
    _add(_array(values), _checked(numbers, segments), scale, sums)
    return torch.from_numpy(sums[:, 1:])


def sizes(numbers: Integer[Tensor, "N V"], segments: int) -> Int64[Tensor, "N segments"]:
    """Returns how often each number from 1 occurs in each row."""
    counts = np.zeros((len(numbers), segments + 1), np.int64)
    _count(_checked(numbers, segments), counts)
    return torch.from_numpy(counts[:, 1:])


def spread(of_segments: Float[Tensor, "N segments"], numbers: Integer[Tensor, "N V"]) -> Float[Tensor, "N V"]:
    """Returns at each voxel the value of its number, 0 at voxels of none."""
    out = torch.empty(numbers.shape, dtype=of_segments.dtype)
    _take(_with_none(of_segments), _array(numbers.int()), out.numpy())
    return out


def entropies(
    p: Float[Tensor, "N V"],
    truth: Bool[Tensor, "N V"],
    numbers: Integer[Tensor, "N V"],
    segments: int,
    least: tuple[float, float],
) -> tuple[Float[Tensor, "N segments"], Float[Tensor, "N segments"]]:
    """Returns sum p and the sum of the cross-entropy over the voxels of each number, in fp64.

    least: probabilities of the right class below which the curve goes on as its tangent, on the target and elsewhere.
    """
    sums = np.zeros((2, len(numbers), segments + 1))
    _add_entropies(_array(p), _array(truth), _checked(numbers, segments), least, sums)
    return torch.from_numpy(sums[0, :, 1:]), torch.from_numpy(sums[1, :, 1:])


def entropy_slopes(
    of_sums: Float[Tensor, "N segments"],
    of_entropies: Float[Tensor, "N segments"],
    p: Float[Tensor, "N V"],
    truth: Bool[Tensor, "N V"],
    numbers: Integer[Tensor, "N V"],
    least: tuple[float, float],
) -> Float[Tensor, "N V"]:
    """Returns the gradient at p, given that at the sums of `entropies`."""
    out = torch.empty(p.shape, dtype=p.dtype)
    of_segments = _with_none(of_sums), _with_none(of_entropies)
    _slopes(*of_segments, _array(p), _array(truth), _array(numbers.int()), least, out.numpy())
    return out


def _checked(numbers: Integer[Tensor, "N V"], segments: int) -> Integer[np.ndarray, "N V"]:
    """Returns the numbers, which compiled code takes as places in memory; raises ValueError where one is beyond."""
    low, high = numbers.aminmax()
    if low < 0 or high > segments:
        raise ValueError(f"numbers: expected 0 to {segments}, found {int(low)} to {int(high)}")
    return _array(numbers.int())


def _array(tensor: Shaped[Tensor, "N V"]) -> Shaped[np.ndarray, "N V"]:
    values: Shaped[np.ndarray, "N V"] = tensor.detach().contiguous().numpy()
    return values


def _with_none(of_segments: Float[Tensor, "N segments"]) -> Float[np.ndarray, "N segments_and_none"]:
    """Puts a 0 for number 0 before the values of each row."""
    values: Float[np.ndarray, "N K"] = np.pad(of_segments.detach().numpy(), ((0, 0), (1, 0)))
    return values


@compiled
def _add(values, numbers, scale, sums):  # type: ignore[no-untyped-def]
    for row in range(len(numbers)):
        before, total = numbers[row, 0], np.int64(0)
        for voxel in range(numbers.shape[1]):
            number = numbers[row, voxel]
            if number != before:
                sums[row, before] += total
                before, total = number, np.int64(0)
            total += np.int64(np.rint(np.float64(values[row, voxel]) * scale))
        sums[row, before] += total


@compiled
def _count(numbers, counts):  # type: ignore[no-untyped-def]
    for row in range(len(numbers)):
        before, total = numbers[row, 0], 0
        for voxel in range(numbers.shape[1]):
            number = numbers[row, voxel]
            if number != before:
                counts[row, before] += total
                before, total = number, 0
            total += 1
        counts[row, before] += total


@compiled
def _take(of_segments, numbers, out):  # type: ignore[no-untyped-def]
    for row in range(len(numbers)):
        for voxel in range(numbers.shape[1]):
            out[row, voxel] = of_segments[row, numbers[row, voxel]]


@compiled
def _add_entropies(values, truth, numbers, least, sums):  # type: ignore[no-untyped-def]
    """Adds sum p and the cross-entropy; of many factors one logarithm is taken, before their product is too small."""
    for row in range(len(numbers)):
        before, total, entropy, product = numbers[row, 0], 0.0, 0.0, 1.0
        for voxel in range(numbers.shape[1]):
            number = numbers[row, voxel]
            if number != before:
                sums[0, row, before] += total
                sums[1, row, before] += entropy - math.log(product)
                before, total, entropy, product = number, 0.0, 0.0, 1.0
            p = np.float64(values[row, voxel])
            inside = truth[row, voxel]
            right, lowest = (p, least[0]) if inside else (1.0 - p, least[1])
            if right < lowest:
                entropy += (lowest - right) / lowest
                right = lowest
            total += p
            product *= right
            if product < 1e-200:
                entropy -= math.log(product)
                product = 1.0
        sums[0, row, before] += total
        sums[1, row, before] += entropy - math.log(product)


@compiled
def _slopes(of_sums, of_entropies, values, truth, numbers, least, out):  # type: ignore[no-untyped-def]
    for row in range(len(numbers)):
        for voxel in range(numbers.shape[1]):
            number = numbers[row, voxel]
            p = np.float64(values[row, voxel])
            slope = -1.0 / max(p, least[0]) if truth[row, voxel] else 1.0 / max(1.0 - p, least[1])
            out[row, voxel] = of_sums[row, number] + slope * of_entropies[row, number]
