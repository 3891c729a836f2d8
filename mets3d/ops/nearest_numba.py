"""Finds nearest numbered voxels on the CPU, compiled by numba on first use.

Lesions fill few planes, so the passes along X and Y are made in those planes alone. Along Z nothing but numbers is
needed: each line is cut where one plane's key takes over from another's, and the pieces are filled.
The lower envelope of whole-number parabolas is that of A. Meijster and others (2000), on keys.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from mets3d.ops.distance_numba import compiled


def nearest(
    numbers: Int32[Tensor, "N X Y Z"], squares: Int64[np.ndarray, "N 3"], label_bits: int
) -> Int32[Tensor, "N X Y Z"]:
    """Returns the nearest number of each voxel, 0 in a volume without one; volumes are shared over torch's threads."""
    out = torch.empty(numbers.shape, dtype=torch.int32)
    jobs = [(*job, label_bits) for job in zip(numbers.numpy(), squares, out.numpy(), strict=True)]
    threads = min(torch.get_num_threads(), len(jobs))
    if threads == 1:
        for job in jobs:
            _volume(*job)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda job: _volume(*job), jobs))
    return out


@compiled
def _volume(numbers, squares, out, label_bits):  # type: ignore[no-untyped-def]
    """Writes the nearest numbers of one volume [X, Y, Z] into `out`."""
    planes, only = _planes(numbers)
    if only >= 0:
        out[:] = only
        return
    keys = np.empty((*numbers.shape[:2], len(planes)), np.int64)
    for place in range(len(planes)):
        _plane(numbers[:, :, planes[place]], squares, keys[:, :, place])
    _fill(keys, planes, squares[2], label_bits, out)


@compiled
def _planes(numbers):  # type: ignore[no-untyped-def]
    """Returns the planes along Z that have a number, and the volume's only number, 0 without one, -1 with several."""
    nx, ny, nz = numbers.shape
    only = 0
    there = np.zeros(nz, np.bool_)
    for x in range(nx):
        for y in range(ny):
            seen = 0
            for z in range(nz):
                seen |= numbers[x, y, z]
            if seen == 0:
                continue
            for z in range(nz):
                number = numbers[x, y, z]
                if number != 0:
                    there[z] = True
                    if only == 0:
                        only = number
                    elif only != number:
                        only = -1
    return np.flatnonzero(there), only


@compiled
def _plane(numbers, squares, keys):  # type: ignore[no-untyped-def]
    """Writes the keys within one plane [X, Y] into `keys`."""
    nx, ny = numbers.shape
    lines = np.empty(ny, np.int64)
    count = 0
    along_x = np.empty((nx, ny), np.int64)
    for y in range(ny):
        if _line(numbers[:, y], squares[0], along_x[:, count]):
            lines[count] = y
            count += 1
    first, parabola = np.empty(ny, np.int64), np.empty(ny, np.int64)
    for x in range(nx):
        pieces = _envelope(along_x[x], lines, count, squares[1], ny, first, parabola)
        for piece in range(pieces):
            end = first[piece + 1] if piece + 1 < pieces else ny
            key, site = along_x[x, parabola[piece]], lines[parabola[piece]]
            for y in range(first[piece], end):
                keys[x, y] = key + squares[1] * (y - site) * (y - site)


@compiled
def _line(numbers, square, keys):  # type: ignore[no-untyped-def]
    """Writes the key of the nearest number on a line, from either side; returns whether it has any."""
    n = numbers.shape[0]
    last = -1
    for i in range(n):
        if numbers[i] != 0:
            last = i
        keys[i] = numbers[last] + square * (i - last) * (i - last) if last >= 0 else -1
    if last < 0:
        return False
    following = -1
    for i in range(n - 1, -1, -1):
        if numbers[i] != 0:
            following = i
        if following >= 0:
            key = numbers[following] + square * (following - i) * (following - i)
            if keys[i] < 0 or key < keys[i]:
                keys[i] = key
    return True


@compiled
def _envelope(heights, sites, count, square, n, first, parabola):  # type: ignore[no-untyped-def]
    """Writes which parabola is lowest from which place on, 0 to n; returns the number of pieces."""
    pieces = 0
    for new in range(count):
        start = 0
        while pieces:
            top = parabola[pieces - 1]
            at = first[pieces - 1]
            of_new = heights[new] + square * (at - sites[new]) * (at - sites[new])
            of_top = heights[top] + square * (at - sites[top]) * (at - sites[top])
            if of_top <= of_new:
                apart = 2 * square * (sites[new] - sites[top])
                rise = heights[new] - heights[top] + square * (sites[new] ** 2 - sites[top] ** 2)
                start = rise // apart + 1
                break
            pieces -= 1
        if start < n:
            first[pieces], parabola[pieces] = start, new
            pieces += 1
    return pieces


@compiled
def _fill(keys, planes, square, label_bits, out):  # type: ignore[no-untyped-def]
    """Writes the numbers of the lowest keys along Z."""
    nx, ny, count = keys.shape
    nz = out.shape[2]
    first, parabola = np.empty(count, np.int64), np.empty(count, np.int64)
    mask = (1 << label_bits) - 1
    for x in range(nx):
        for y in range(ny):
            pieces = _envelope(keys[x, y], planes, count, square, nz, first, parabola)
            for piece in range(pieces):
                end = first[piece + 1] if piece + 1 < pieces else nz
                number = keys[x, y, parabola[piece]] & mask
                for z in range(first[piece], end):
                    out[x, y, z] = number
