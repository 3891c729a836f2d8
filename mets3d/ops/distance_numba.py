"""Computes squared distances to the other class on the CPU, compiled by numba on first use.

Along the last axis two runs meet at every change of class, and a voxel's distance is that to the nearer end of its run.
Along the others a line is cut into runs of one class. Inside a run the new value is the lower envelope of the parabolas
f(j) + w^2 (i - j)^2 of its own voxels and of the two voxels that bound it, which are of the other class and count 0;
farther voxels of the other class cannot be nearer. An envelope costs O(n) (Felzenszwalb and Huttenlocher 2012).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mets3d.ops.numba_cache import compiled

# Lines that are copied out of the volume, worked on and copied back together: a cache line of fp32.
TILE = 16


def squared_field(
    masks: Bool[Tensor, "N X Y Z"], spacing_mm: Float[np.ndarray, "N 3"], absent: Float[np.ndarray, "N"]
) -> Float[Tensor, "N X Y Z"]:
    """Returns mm^2 to the nearest voxel of the other class; `absent` in volumes of one class.

    Volumes are shared over as many threads as torch is set to use. They are threads of this call, so neither torch's
    nor numba's setting changes, and a forked loader process inherits none.
    """
    out = torch.empty(masks.shape, dtype=torch.float32)
    on_threads(_volume, list(zip(masks.numpy(), spacing_mm**2, absent, out.numpy(), strict=True)))
    return out


def on_threads(volume: Callable[..., object], jobs: Sequence[tuple[Any, ...]]) -> None:
    """Calls a compiled function with the arguments of each volume, on as many threads as torch is set to use."""
    threads = min(torch.get_num_threads(), len(jobs))
    if threads == 1:
        for job in jobs:
            volume(*job)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda job: volume(*job), jobs))


@compiled
def _volume(mask, squares, absent, field):  # type: ignore[no-untyped-def]
    """Writes squared distances of one volume [X, Y, Z] into `field`, signed (inside negative) until the last pass."""
    nx, ny, nz = mask.shape
    _runs(mask, squares[2], field)
    _lines(field, squares[1], absent, False)
    _lines(field.reshape(1, nx, ny * nz), squares[0], absent, True)


@compiled
def _runs(mask, square, field):  # type: ignore[no-untyped-def]
    """Writes the signed squared distance along the last axis to the nearer end of each run of one class."""
    nx, ny, nz = mask.shape
    for x in range(nx):
        for y in range(ny):
            first = 0
            while first < nz:
                last = first
                while last + 1 < nz and mask[x, y, last + 1] == mask[x, y, first]:
                    last += 1
                sign = -square if mask[x, y, first] else square
                for z in range(first, last + 1):
                    steps = math.inf
                    if first > 0:
                        steps = z - first + 1.0
                    if last + 1 < nz:
                        steps = min(steps, last + 1.0 - z)
                    field[x, y, z] = sign * (steps * steps)
                first = last + 1


@compiled
def _lines(field, square, absent, last):  # type: ignore[no-untyped-def]
    """Makes the pass along the middle axis of field [A, n, C], in place; the last pass drops the signs."""
    outer, n, inner = field.shape
    lines = np.empty((TILE, n), np.float32)
    site, height, start = np.empty(n, np.int64), np.empty(n, np.float64), np.empty(n, np.float64)
    half_reciprocal = np.empty(n, np.float64)
    for apart in range(1, n):
        half_reciprocal[apart] = 0.5 / apart
    for a in range(outer):
        for first in range(0, inner, TILE):
            width = min(TILE, inner - first)
            for j in range(n):
                for line in range(width):
                    lines[line, j] = field[a, j, first + line]
            for line in range(width):
                _line(lines[line], square, half_reciprocal, site, height, start)
            for j in range(n):
                for line in range(width):
                    value = lines[line, j]
                    if last:
                        value = absent if abs(value) == math.inf else abs(value)
                    field[a, j, first + line] = value


@compiled
def _line(line, square, half_reciprocal, site, height, start):  # type: ignore[no-untyped-def]
    """Replaces every run of one class by its lower envelope; the last three are scratch of the line's length.

    Heights are in units of the squared voxel size and hold the parabola's square, f / w^2 + j^2, so that two of them
    cross at (difference of heights) / (2 x difference of sites).
    """
    n = line.shape[0]
    first = 0
    while first < n:
        sign = -1.0 if line[first] < 0 else 1.0
        last = first
        while last + 1 < n and (line[last + 1] < 0) == (sign < 0):
            last += 1
        parabolas = 0
        for j in range(max(first - 1, 0), min(last + 1, n - 1) + 1):
            value = abs(np.float64(line[j])) if first <= j <= last else 0.0
            if value == math.inf:
                continue
            h = value / square + j * j
            crossing = -math.inf
            while parabolas:
                crossing = (h - height[parabolas - 1]) * half_reciprocal[j - site[parabolas - 1]]
                if crossing > start[parabolas - 1]:
                    break
                parabolas -= 1
            site[parabolas] = j
            height[parabolas] = h
            start[parabolas] = crossing if parabolas else -math.inf
            parabolas += 1
        i = first
        for lowest in range(parabolas):
            end = last + 1
            if lowest + 1 < parabolas and start[lowest + 1] < last:
                end = max(math.floor(start[lowest + 1]) + 1, i)
            base = height[lowest] - site[lowest] * site[lowest]
            for k in range(i, end):
                offset = k - site[lowest]
                line[k] = sign * square * (base + offset * offset)
            i = end
        first = last + 1
