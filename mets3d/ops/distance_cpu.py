"""The min-plus passes of `ops.distance` for arrays in host memory, compiled by numba on first use.

A line is cut into runs of one class. Inside a run the new value is the lower envelope of the parabolas
f(j) + w^2 (i - j)^2 of its own voxels and of the two voxels that bound it, which are of the other class and count 0;
farther voxels of the other class cannot be nearer. One envelope costs O(n) (Felzenszwalb and Huttenlocher 2012).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit


def compiled(function: Callable[..., Any]) -> Any:
    """njit of the bare function: a checker of shapes that wraps every function of a package cannot be compiled."""
    return njit(cache=True)(inspect.unwrap(function))


@compiled
def passes_in_place(field, classes, spacing_mm):  # type: ignore[no-untyped-def]
    """Passes along X, Y and Z over squared distances field [N, X, Y, Z] (float32), classes [N, X, Y, Z] (bool)."""
    volumes, nx, ny, nz = field.shape
    longest = max(nx, ny, nz) + 2
    site = np.empty(longest, np.int64)
    height = np.empty(longest, np.float64)
    start = np.empty(longest, np.float64)
    for volume in range(volumes):
        for x in range(nx):
            for y in range(ny):
                _pass(field[volume, x, y, :], classes[volume, x, y, :], spacing_mm[2], site, height, start)
        for x in range(nx):
            for z in range(nz):
                _pass(field[volume, x, :, z], classes[volume, x, :, z], spacing_mm[1], site, height, start)
        for y in range(ny):
            for z in range(nz):
                _pass(field[volume, :, y, z], classes[volume, :, y, z], spacing_mm[0], site, height, start)


@compiled
def _pass(line, classes, size_mm, site, height, start):  # type: ignore[no-untyped-def]
    n = line.shape[0]
    first = 0
    while first < n:
        last = first
        while last + 1 < n and classes[last + 1] == classes[first]:
            last += 1
        _envelope(line, first, last, size_mm * size_mm, site, height, start)
        first = last + 1


@compiled
def _envelope(line, first, last, square, site, height, start):  # type: ignore[no-untyped-def]
    """Replaces line[first : last + 1], a run of one class, by its lower envelope; scratch: site, height, start."""
    parabolas = 0
    for j in range(max(first - 1, 0), min(last + 1, line.shape[0] - 1) + 1):
        h = np.float64(line[j]) if first <= j <= last else 0.0
        if h == math.inf:
            continue
        crossing = -math.inf
        while parabolas:
            other = site[parabolas - 1]
            crossing = ((h - height[parabolas - 1]) / square + (j * j - other * other)) / (2.0 * (j - other))
            if crossing > start[parabolas - 1]:
                break
            parabolas -= 1
        site[parabolas] = j
        height[parabolas] = h
        start[parabolas] = crossing if parabolas else -math.inf
        parabolas += 1
    if parabolas == 0:
        return
    lowest = 0
    for i in range(first, last + 1):
        while lowest + 1 < parabolas and start[lowest + 1] <= i:
            lowest += 1
        offset = i - site[lowest]
        line[i] = height[lowest] + square * (offset * offset)
