"""Finds the surfaces of masks, measures their distances from each other, and makes scores of these.

A mask has two kinds of surface, and both are sets of points on a grid. Border voxels are voxels of the mask with a face
neighbour outside it; NSD and the HD95 of the later rule sets are made of them. Surface elements lie on the grid of
voxel corners and weigh by area: a corner is one where some but not all of the eight voxels around it are in the mask,
and stands for the piece of surface that marching cubes (Lorensen and Cline, SIGGRAPH 1987) puts between the centres of
those voxels, each vertex midway between two centres. Definition after Nikolov et al. (arXiv 1809.04430), whose program
the BraTS challenge of 2023 scores with. For both, outside the image is background.

Surfaces have some thousand points in a volume of millions of voxels: the nearest points are searched for at the cost of
the points, where a distance transform costs what the volume does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int, Integer, UInt8

from mets3d.evaluation.facets import CODES, FACETS
from mets3d.ops.voxels import Shape3, Spacing, Voxels, bounding_box, extent, voxels_of

REACH = 4  # voxels along each axis within which a neighbour is looked for step by step
STEPS = 257  # at most so many; by then, at 1 mm, everything within 4 voxels has been found
FEW = 100  # points for which the tree alone is quicker
ROUND = 32  # steps after which it is checked whether stepping on pays
WORTH = 0.1  # share of the points that a round of steps must settle: it costs a tenth of the tree
VOXELS_PER_POINT = 30  # of a distance transform, for what a point costs in the tree
MOST_VOXELS = 20_000_000  # of a distance transform, which holds 12 bytes for each

Chosen = Int[np.ndarray, " _"]  # indices of points
# As `Mask` and `Numbers` of ops/components.py, of boxes that differ in shape.
BoxMask = Bool[np.ndarray, "_ _ _"]
BoxNumbers = Integer[np.ndarray, "_ _ _"]  # 0 where a component was deleted, too
# With where the box begins in the image, and how many components came before.
PlacedMask = tuple[BoxMask, BoxNumbers, Shape3, int]


# ---------------------------------------------------------------- surfaces


@dataclass(frozen=True, eq=False)
class Points:
    """A surface of one mask: where its points are, the component that each belongs to, and the area it stands for."""

    where: Voxels
    component: Int[np.ndarray, " N"]  # 0: one that the rules deleted
    areas_mm2: Float[np.ndarray, " N"]  # 0 for border voxels

    @property
    def all(self) -> Chosen:
        """All points, as indices."""
        return np.arange(len(self.component))

    def of(self, components: Int[np.ndarray, " _"]) -> Chosen:
        """Returns the points of some components."""
        if len(components) == 1:
            return np.flatnonzero(self.component == components[0])
        return np.flatnonzero(np.isin(self.component, components))


def border_points(masks: Iterable[PlacedMask]) -> Points:
    """Returns the border voxels of masks in several places of one image."""
    found = []
    for mask, numbers, corner, before in masks:
        where = border(mask)
        own = numbers[tuple(where.T)]
        found.append((where + corner, np.where(own > 0, own + before, 0), np.zeros(len(own))))
    return _joined(found)


def element_points(masks: Iterable[PlacedMask], spacing_mm: Spacing) -> Points:
    """Returns the surface elements of masks in several places of one image; a margin of background is around each."""
    found = []
    for mask, numbers, corner, before in masks:
        where, areas_mm2 = surface_elements(mask, spacing_mm)
        own = _around(numbers, where)
        found.append((where + corner, np.where(own > 0, own + before, 0), areas_mm2))
    return _joined(found)


def _around(numbers: BoxNumbers, corners: Voxels) -> Int[np.ndarray, " _"]:
    """Returns the component that each corner touches. Two components share no corner, or they would be one."""
    own = np.zeros(len(corners), np.int64)
    for x, y, z in np.ndindex(2, 2, 2):  # the margin keeps them inside
        np.maximum(own, numbers[corners[:, 0] - x, corners[:, 1] - y, corners[:, 2] - z], out=own)
    return own


def _joined(found: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Points:
    nothing = (np.zeros((0, 3), np.int64), np.zeros(0, np.int64), np.zeros(0))
    return Points(*map(np.concatenate, zip(nothing, *found, strict=True)))


def border(mask: Bool[np.ndarray, "X Y Z"]) -> Voxels:
    """Returns the indices of the border voxels of a mask; none for an empty one."""
    box = bounding_box(mask)
    if box is None:
        return np.zeros((0, 3), np.int64)
    padded = np.pad(mask[box], 1)
    inside = mask[box].copy()
    for axis in range(3):
        for side in (slice(None, -2), slice(2, None)):
            place = [slice(1, -1)] * 3
            place[axis] = side
            inside &= padded[tuple(place)]
    return np.asarray(voxels_of(mask[box] & ~inside) + [side.start for side in box])


def surface_elements(mask: Bool[np.ndarray, "X Y Z"], spacing_mm: Spacing) -> tuple[Voxels, Float[np.ndarray, " N"]]:
    """Returns the corners on a mask's surface and their areas in mm2; none for an empty mask.

    Corner (i, j, k) lies between voxels (i-1, j-1, k-1) and (i, j, k).
    """
    box = bounding_box(mask)
    if box is None:
        return np.zeros((0, 3), np.int64), np.zeros(0)
    codes = _corner_codes(mask[box])
    corners = voxels_of((codes != 0) & (codes != CODES - 1))
    return corners + [side.start for side in box], area_table(spacing_mm)[codes[tuple(corners.T)]]


def _corner_codes(mask: Bool[np.ndarray, "X Y Z"]) -> UInt8[np.ndarray, "X+1 Y+1 Z+1"]:
    """Returns the code of every corner of the grid, the image's border included, beyond which there is background."""
    voxels = np.pad(mask, 1).view(np.uint8)
    codes = np.zeros([side - 1 for side in voxels.shape], np.uint8)
    for bit, (x, y, z) in enumerate(np.ndindex(2, 2, 2)):
        codes |= voxels[x : x + codes.shape[0], y : y + codes.shape[1], z : z + codes.shape[2]] << bit
    return codes


@lru_cache(maxsize=64)
def area_table(spacing_mm: Spacing) -> Float[np.ndarray, "256"]:
    """Returns the area in mm2 of the surface inside a cell of eight voxel centres, for each of the 256 codes."""
    x, y, z = spacing_mm
    faces_mm2 = np.array([y * z, x * z, x * y])
    areas = np.array([sum(np.linalg.norm(facet * faces_mm2) for facet in facets) for facets in FACETS])
    areas.setflags(write=False)
    return areas


# ---------------------------------------------------------------- distances


@dataclass(frozen=True, eq=False)
class Distances:
    """The distance from every point of each surface to the nearest of the other, +inf where that has none."""

    prediction_to_reference_mm: Float[np.ndarray, " P"]
    reference_to_prediction_mm: Float[np.ndarray, " R"]
    prediction_areas_mm2: Float[np.ndarray, " P"]
    reference_areas_mm2: Float[np.ndarray, " R"]


@dataclass(frozen=True, eq=False)
class PointDistances:
    """Two surfaces and, for every point of each, the nearest of the other: worked out once for all lesions of a case.

    A point's nearest point on the whole other surface belongs to some lesion. Where that lesion is among the chosen
    ones, the distance to the whole surface is the distance to them; only the other points are looked up again. So a
    region costs one search in each direction, however many lesions it has.
    """

    prediction: Points
    reference: Points
    spacing_mm: Spacing
    to_reference: Nearest
    to_prediction: Nearest

    def between(self, predicted: Chosen, expected: Chosen) -> Distances:
        """Returns the distances between chosen points of the prediction and of the reference."""
        prediction, reference = self.prediction, self.reference
        return Distances(
            _to_chosen(self.to_reference, prediction.where, predicted, reference.where, expected, self.spacing_mm),
            _to_chosen(self.to_prediction, reference.where, expected, prediction.where, predicted, self.spacing_mm),
            prediction.areas_mm2[predicted],
            reference.areas_mm2[expected],
        )


def point_distances(prediction: Points, reference: Points, spacing_mm: Spacing) -> PointDistances:
    """Looks up the nearest point for every point of both surfaces."""
    return PointDistances(
        prediction,
        reference,
        spacing_mm,
        nearest_points(prediction.where, reference.where, spacing_mm),
        nearest_points(reference.where, prediction.where, spacing_mm),
    )


def _to_chosen(
    whole: Nearest, start: Voxels, wanted: Chosen, goal: Voxels, chosen: Chosen, spacing_mm: Spacing
) -> Float[np.ndarray, " _"]:
    """Returns the distances from the wanted points to the chosen goals, given those to all goals."""
    distance = np.array(whole.distance_mm[wanted])
    if len(chosen) == len(goal):
        return distance
    is_chosen = np.zeros(len(goal) + 1, bool)  # the last one for points that have no goal at all
    is_chosen[chosen] = True
    again = np.flatnonzero(~is_chosen[whole.index[wanted]])
    distance[again] = nearest_points(start[wanted[again]], goal[chosen], spacing_mm).distance_mm
    return distance


# ---------------------------------------------------------------- scores


def hausdorff(distances: Distances, percent: float = 95.0) -> float:
    """Returns the Hausdorff distance in mm that `percent` of each surface's area keeps.

    Per direction the smallest distance within which at least `percent` of the area lies; the larger of the two
    directions. Both surfaces empty: 0; one empty: +inf.
    """
    return max(
        _quantile(distances.prediction_to_reference_mm, distances.prediction_areas_mm2, percent / 100),
        _quantile(distances.reference_to_prediction_mm, distances.reference_areas_mm2, percent / 100),
    )


def _quantile(distances_mm: Float[np.ndarray, " N"], areas_mm2: Float[np.ndarray, " N"], share: float) -> float:
    """Returns the smallest of the distances within which at least `share` of the area lies."""
    if not len(distances_mm):
        return 0.0
    order = np.argsort(distances_mm, kind="stable")
    distances_mm, areas_mm2 = distances_mm[order], areas_mm2[order]
    reached = int(np.searchsorted(np.cumsum(areas_mm2) / areas_mm2.sum(), share))
    return float(distances_mm[min(reached, len(order) - 1)])


def pooled_hausdorff(distances: Distances, percent: float = 95.0) -> float:
    """Returns a percentile in mm of the distances of both directions thrown together, interpolated linearly.

    The HD95 of medpy and of the challenge of 2026. Both surfaces empty: NaN; one empty: +inf.
    """
    pooled = np.concatenate([distances.prediction_to_reference_mm, distances.reference_to_prediction_mm])
    if not len(pooled):
        return float("nan")
    return float(np.percentile(pooled, percent)) if np.isfinite(pooled).all() else float("inf")


def normalised_surface_dice(distances: Distances, tolerance_mm: float) -> float:
    """Returns NSD: the mean over both directions of the share of border voxels within the tolerance of the other.

    The form of nnU-Net and of the challenges of 2024 and 2026, which counts voxels; that of Nikolov et al. weighs
    surface elements by area and differs. Both masks empty: NaN; one empty: 0.
    """
    sets = (distances.prediction_to_reference_mm, distances.reference_to_prediction_mm)
    if not any(len(found) for found in sets):
        return float("nan")
    if not all(len(found) for found in sets):
        return 0.0
    return sum(float(np.count_nonzero(found <= tolerance_mm)) / len(found) for found in sets) / 2


# ---------------------------------------------------------------- nearest points


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest point of another set for every point of one: its distance in mm, +inf without any, and its index."""

    distance_mm: Float[np.ndarray, " N"]
    index: Int[np.ndarray, " N"]


def nearest_points(start: Voxels, goal: Voxels, spacing_mm: Spacing) -> Nearest:
    """Finds the nearest point of `goal` to every point of `start`, exactly; points are grid indices.

    Without a goal: +inf and index -1.

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


def _near(start: Voxels, goal: Voxels, spacing_mm: Spacing, found: Nearest) -> Int[np.ndarray, " M"]:
    """Fills in the points with a goal among their closest neighbours; returns the points without one."""
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
    """Returns steps on the grid by their length in mm, and the lengths: all that are shorter than any step left out."""
    side = 2 * REACH + 1
    steps = np.stack(np.unravel_index(np.arange(side**3), (side,) * 3), axis=1) - REACH
    lengths = _length_mm(steps, spacing_mm)
    order = np.argsort(lengths, kind="stable")
    complete = order[lengths[order] < (REACH + 1) * min(spacing_mm)][:STEPS]
    return steps[complete], lengths[complete]


def _far(start: Voxels, goal: Voxels, spacing_mm: Spacing) -> Int[np.ndarray, " N"]:
    """Returns the index of the nearest goal."""
    first, shape = _box(start, goal, 0)
    if shape.prod() < min(VOXELS_PER_POINT * len(start), MOST_VOXELS):
        from scipy import ndimage

        number = np.full(shape, -1, np.int32)
        number[tuple((goal - first).T)] = np.arange(len(goal))
        # The indices alone, without the distances, take half the time.
        where = ndimage.distance_transform_edt(number < 0, spacing_mm, return_distances=False, return_indices=True)
        return np.asarray(number[tuple(where[:, *(start - first).T])], np.int64)
    from scipy.spatial import cKDTree

    # Neither balanced nor tight: the points lie on a grid and are looked up once, so building counts as much.
    tree = cKDTree(goal * spacing_mm, balanced_tree=False, compact_nodes=False)
    return np.asarray(tree.query(start * spacing_mm)[1], np.int64)


def _box(start: Voxels, goal: Voxels, margin: int) -> tuple[Int[np.ndarray, "3"], Int[np.ndarray, "3"]]:
    """Returns the first index and the shape of the box that holds all points and a margin."""
    (a, b), (c, d) = extent(start), extent(goal)
    first = np.minimum(a, c) - margin
    return first, np.maximum(b, d) + margin + 1 - first


def _length_mm(steps: Voxels, spacing_mm: Spacing) -> Float[np.ndarray, " _"]:
    return np.asarray(np.sqrt(((steps * spacing_mm) ** 2).sum(1)))
