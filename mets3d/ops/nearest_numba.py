"""Finds nearest numbered voxels on the CPU, compiled by numba on first use.

Lesions fill few planes, so the passes along X and Y are made in those planes alone. Along Z nothing but numbers is
needed: each line is cut where one plane's key takes over from another's, and the pieces are filled.
The lower envelope of whole-number parabolas is that of A. Meijster and others (2000), on keys.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from mets3d.ops.distance_numba import on_threads
from mets3d.ops.numba_cache import compiled


def nearest(
    numbers: Int32[Tensor, "N X Y Z"], squares: Int64[np.ndarray, "N 3"], label_bits: int
) -> Int32[Tensor, "N X Y Z"]:
    """Returns the nearest number of each voxel, 0 in a volume without one; volumes are shared over torch's threads."""
    out = torch.empty(numbers.shape, dtype=torch.int32)
    on_threads(_volume, [(*job, label_bits) for job in zip(numbers.numpy(), squares, out.numpy(), strict=True)])
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
    square, half_reciprocal, pieces = squares[1], 0.5 / (squares[1] * np.arange(ny)), np.empty((ny + 1, 4), np.int64)
    for x in range(nx):
        many = _envelope(along_x[x], lines, count, square, ny, half_reciprocal, pieces)
        for piece in range(many):
            site, key = pieces[piece, 1], pieces[piece, 2]
            for y in range(pieces[piece, 0], pieces[piece + 1, 0]):
                keys[x, y] = key + square * (y - site) * (y - site)


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
def _envelope(heights, sites, count, square, n, half_reciprocal, pieces):  # type: ignore[no-untyped-def]
    """Writes the pieces of the lower envelope: where each begins, its site, its height, and its value at its beginning.

    Returns how many there are; the one behind the last begins at n.
    """
    many = 0
    for new in range(count):
        site, height = sites[new], heights[new]
        start = 0
        while many:
            at = pieces[many - 1, 0]
            if pieces[many - 1, 3] <= height + square * (at - site) * (at - site):
                between = site - pieces[many - 1, 1]
                rise = height - pieces[many - 1, 2] + square * between * (site + pieces[many - 1, 1])
                start = _quotient(rise, 2 * square * between, half_reciprocal[between]) + 1
                break
            many -= 1
        if start < n:
            pieces[many, 0], pieces[many, 1], pieces[many, 2] = start, site, height
            pieces[many, 3] = height + square * (start - site) * (start - site)
            many += 1
    pieces[many, 0] = n
    return many


@compiled
def _quotient(rise, apart, reciprocal):  # type: ignore[no-untyped-def]
    """Returns rise // apart for rise from 0, several times faster than by a division of 64-bit numbers."""
    quotient = np.int64(np.float64(rise) * reciprocal)
    rest = rise - quotient * apart
    if rest < 0:
        return quotient - 1
    return quotient + 1 if rest >= apart else quotient


@compiled
def _fill(keys, planes, square, label_bits, out):  # type: ignore[no-untyped-def]
    """Writes the numbers of the lowest keys along Z."""
    nx, ny, count = keys.shape
    nz = out.shape[2]
    half_reciprocal, pieces = 0.5 / (square * np.arange(nz)), np.empty((nz + 1, 4), np.int64)
    mask = (1 << label_bits) - 1
    for x in range(nx):
        for y in range(ny):
            for piece in range(_envelope(keys[x, y], planes, count, square, nz, half_reciprocal, pieces)):
                number = pieces[piece, 2] & mask
                for z in range(pieces[piece, 0], pieces[piece + 1, 0]):
                    out[x, y, z] = number
