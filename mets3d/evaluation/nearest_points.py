"""Distances from each point of one set to the nearest of another, exact.

Surfaces are sets of some thousand points in a volume of millions of voxels: what is done here costs what the points
cost, where a distance transform costs what the volume does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from mets3d.ops.voxels import Spacing, Voxels, extent

REACH = 4  # voxels along each axis within which a neighbour is looked for step by step
STEPS = 257  # at most so many; by then, at 1 mm, everything within 4 voxels has been found
FEW = 100  # points for which the tree alone is quicker
ROUND = 32  # steps after which it is asked whether stepping on pays
WORTH = 0.1  # share of the points that a round of steps must settle: it costs a tenth of asking the tree
VOXELS_PER_POINT = 30  # of a distance transform, for what a point costs in the tree
MOST_VOXELS = 20_000_000  # of a distance transform, which holds 12 bytes for each


@dataclass(frozen=True, eq=False)
class Nearest:
    """For every point of one set the nearest of another: its distance in mm, +inf without any, and its place there."""

    distance_mm: Float[np.ndarray, " N"]
    index: Int[np.ndarray, " N"]


def nearest(start: Voxels, goal: Voxels, spacing_mm: Spacing) -> Nearest:
    """The nearest point of `goal` to every point of `start`; points are grid indices. No goal: +inf and index -1.

    The surfaces of a lesion and its prediction are mostly a voxel or two apart, so every point first looks at its
    neighbours in the order of their distance. For the points that are left a k-d tree answers, or a distance transform
    where they are many in a small box. The distance is that of whole steps times the voxel size, so that a step along
    one axis is exactly that axis' size and compares equal to a tolerance of that size.
    """
    found = Nearest(np.full(len(start), np.inf), np.full(len(start), -1, np.int64))
    if not len(start) or not len(goal):
        return found
    left = np.arange(len(start))
    if len(start) > FEW:
        left = _near(start, goal, spacing_mm, found)
    if len(left):
        index = _far(start[left], goal, spacing_mm)
        found.index[left] = index
        found.distance_mm[left] = _length_mm(goal[index] - start[left], spacing_mm)
    return found


def nearest_mm(start: Voxels, goal: Voxels, spacing_mm: Spacing) -> Float[np.ndarray, " _"]:
    """The distances of `nearest` alone."""
    return nearest(start, goal, spacing_mm).distance_mm


def _near(start: Voxels, goal: Voxels, spacing_mm: Spacing, found: Nearest) -> Int[np.ndarray, " M"]:
    """Fills in points with a goal among their closest neighbours; returns the points without one."""
    first, shape = _box(start, goal, REACH)
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    # Pages of zeros that nobody looks at cost nothing, so the box may be as large as the image.
    number = np.zeros(int(shape.prod()), np.int32)
    number[(goal - first) @ strides] = np.arange(1, len(goal) + 1)
    left, here = np.arange(len(start)), (start - first) @ strides
    left_before = len(left)
    for taken, (step, step_mm) in enumerate(zip(*_steps(spacing_mm), strict=True), start=1):
        there = number.take(here + int(step @ strides))
        hit = there > 0
        if hit.any():
            found.distance_mm[left[hit]] = step_mm
            found.index[left[hit]] = there[hit] - 1
            left, here = left[~hit], here[~hit]
            if len(left) < FEW:
                break
        if taken % ROUND == 0:
            if len(left) > (1 - WORTH) * left_before:
                break
            left_before = len(left)
    return left


@lru_cache(maxsize=64)
def _steps(spacing_mm: Spacing) -> tuple[Int[np.ndarray, "S 3"], Float[np.ndarray, " S"]]:
    """Steps on the grid by their length in mm, and the lengths: all that are shorter than any step left out."""
    side = 2 * REACH + 1
    steps = np.stack(np.unravel_index(np.arange(side**3), (side,) * 3), axis=1) - REACH
    lengths = _length_mm(steps, spacing_mm)
    order = np.argsort(lengths, kind="stable")
    complete = order[lengths[order] < (REACH + 1) * min(spacing_mm)][:STEPS]
    return steps[complete], lengths[complete]


def _far(start: Voxels, goal: Voxels, spacing_mm: Spacing) -> Int[np.ndarray, " N"]:
    """Index of the nearest goal."""
    first, shape = _box(start, goal, 0)
    if shape.prod() < min(VOXELS_PER_POINT * len(start), MOST_VOXELS):
        from scipy import ndimage

        number = np.full(shape, -1, np.int32)
        number[tuple((goal - first).T)] = np.arange(len(goal))
        # Asked which point is nearest, not how far it is: half the time.
        where = ndimage.distance_transform_edt(number < 0, spacing_mm, return_distances=False, return_indices=True)
        return np.asarray(number[tuple(where[:, *(start - first).T])], np.int64)
    from scipy.spatial import cKDTree

    # Neither balanced nor tight: the points lie on a grid and are asked once, so building counts as much as asking.
    tree = cKDTree(goal * spacing_mm, balanced_tree=False, compact_nodes=False)
    return np.asarray(tree.query(start * spacing_mm)[1], np.int64)


def _box(start: Voxels, goal: Voxels, margin: int) -> tuple[Int[np.ndarray, "3"], Int[np.ndarray, "3"]]:
    """First index and shape of the box that holds all points and a margin."""
    (a, b), (c, d) = extent(start), extent(goal)
    first = np.minimum(a, c) - margin
    return first, np.maximum(b, d) + margin + 1 - first


def _length_mm(steps: Voxels, spacing_mm: Spacing) -> Float[np.ndarray, " _"]:
    return np.asarray(np.sqrt(((steps * spacing_mm) ** 2).sum(1)))
