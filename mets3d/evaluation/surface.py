"""Distances between the surfaces of two masks, on the grid of voxel corners and weighted by area.

A corner of the voxel grid lies on a mask's surface when some but not all of the eight voxels around it are in the mask.
It stands for the piece of surface that marching cubes (Lorensen and Cline, SIGGRAPH 1987) puts between the centres of
those eight voxels, each vertex midway between two centres. Definition after Nikolov et al. (arXiv 1809.04430), whose
program the BraTS challenge of 2023 scores with.

`surface_distances` does the work, once for a pair of masks; what is read off it (`hausdorff`) costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from mets3d.evaluation.nearest_points import nearest_mm
from mets3d.ops.voxels import Spacing, Voxels, bounding_box, voxels_of

CODES = 256  # eight voxels meet at a corner, each in the mask or not; bit 4x + 2y + z is the voxel at (x, y, z) in 0, 1


@dataclass(frozen=True)
class Surface:
    """The surface elements of one mask."""

    corners: Voxels  # corner (i, j, k) lies between voxels (i-1, j-1, k-1) and (i, j, k)
    areas_mm2: Float[np.ndarray, " N"]

    @property
    def empty(self) -> bool:
        return len(self.areas_mm2) == 0


@dataclass(frozen=True)
class SurfaceDistances:
    """Every surface element's distance to the nearest element of the other surface; +inf where there is none."""

    prediction_to_reference_mm: Float[np.ndarray, " P"]
    reference_to_prediction_mm: Float[np.ndarray, " R"]
    prediction_areas_mm2: Float[np.ndarray, " P"]
    reference_areas_mm2: Float[np.ndarray, " R"]


def surface_distances(prediction: Surface, reference: Surface, spacing_mm: Spacing) -> SurfaceDistances:
    """Both directed sets of distances in mm between two surfaces on one grid of corners.

    An empty surface has no elements, and all distances to it are +inf.
    """
    return SurfaceDistances(
        nearest_mm(prediction.corners, reference.corners, spacing_mm),
        nearest_mm(reference.corners, prediction.corners, spacing_mm),
        prediction.areas_mm2,
        reference.areas_mm2,
    )


def hausdorff(distances: SurfaceDistances, percent: float = 95.0) -> float:
    """The Hausdorff distance in mm that `percent` of each surface's area keeps.

    Per direction the smallest distance within which at least `percent` of the area lies; the larger of the two
    directions. Both surfaces empty: 0; one empty: +inf.
    """
    return max(
        _quantile(distances.prediction_to_reference_mm, distances.prediction_areas_mm2, percent / 100),
        _quantile(distances.reference_to_prediction_mm, distances.reference_areas_mm2, percent / 100),
    )


def hd95(prediction: Bool[np.ndarray, "X Y Z"], reference: Bool[np.ndarray, "X Y Z"], spacing_mm: Spacing) -> float:
    """95 % Hausdorff distance in mm of two masks. Both empty: 0; one empty: +inf."""
    ours, theirs = surface(prediction, spacing_mm), surface(reference, spacing_mm)
    return hausdorff(surface_distances(ours, theirs, spacing_mm))


def surface(mask: Bool[np.ndarray, "X Y Z"], spacing_mm: Spacing) -> Surface:
    """Surface elements of a mask [X, Y, Z], their areas in mm2. An empty mask has none.

    A mask that fills the image has its surface on the image's border: outside is background.
    """
    box = bounding_box(mask)
    if box is None:
        return Surface(np.zeros((0, 3), np.int64), np.zeros(0))
    codes = _corner_codes(mask[box])
    corners = voxels_of((codes != 0) & (codes != CODES - 1))
    return Surface(corners + [side.start for side in box], area_table(spacing_mm)[codes[tuple(corners.T)]])


def _corner_codes(mask: Bool[np.ndarray, "X Y Z"]) -> UInt8[np.ndarray, "X+1 Y+1 Z+1"]:
    """The code of every corner of the grid, the image's border included, beyond which there is background."""
    voxels = np.pad(mask, 1).view(np.uint8)
    codes = np.zeros([side - 1 for side in voxels.shape], np.uint8)
    for bit, (x, y, z) in enumerate(np.ndindex(2, 2, 2)):
        codes |= voxels[x : x + codes.shape[0], y : y + codes.shape[1], z : z + codes.shape[2]] << bit
    return codes


def _quantile(distances_mm: Float[np.ndarray, " N"], areas_mm2: Float[np.ndarray, " N"], share: float) -> float:
    """The smallest of the distances within which at least `share` of the area lies."""
    if not len(distances_mm):
        return 0.0
    order = np.argsort(distances_mm, kind="stable")
    distances_mm, areas_mm2 = distances_mm[order], areas_mm2[order]
    reached = int(np.searchsorted(np.cumsum(areas_mm2) / areas_mm2.sum(), share))
    return float(distances_mm[min(reached, len(order) - 1)])


# ---------------------------------------------------------------- areas


@lru_cache(maxsize=64)
def area_table(spacing_mm: Spacing) -> Float[np.ndarray, "256"]:
    """Area in mm2 of the surface inside a cell of eight voxel centres, for each of the 256 codes.

    Where more than four voxels are in the mask, the surface is the one around those that are out.
    """
    x, y, z = spacing_mm
    faces_mm2 = np.array([y * z, x * z, x * y])
    areas = np.array([sum(np.linalg.norm(facet * faces_mm2) for facet in _facets(code)) for code in range(CODES)])
    areas.setflags(write=False)
    return areas


def _facets(code: int) -> list[Float[np.ndarray, "3"]]:
    """Area vectors (absolute, unit spacing) of the flat pieces that make up a code's surface."""
    from scipy import ndimage

    cell = (code >> np.arange(8) & 1).reshape(2, 2, 2)
    cell = 1 - cell if cell.sum() > 4 else cell
    parts, count = ndimage.label(cell)
    return [facet for part in range(1, count + 1) for facet in _facets_around(np.argwhere(parts == part))]


def _facets_around(part: Int[np.ndarray, "N 3"]) -> list[Float[np.ndarray, "3"]]:
    """Area vectors of the polygon that cuts one to four joined corners off a cell, vertices midway along the cut edges.

    There are six shapes. Two polygons are not flat and are folded as marching cubes does: over three corners into a
    triangle and a trapezoid; over four corners in a screw into a triangle on every other vertex with three triangles on
    its sides (either choice of vertices has the same area, at any spacing).
    """
    steps = np.abs([a - b for i, a in enumerate(part) for b in part[:i]]).reshape(-1, 3)
    used = steps[steps.sum(1) == 1].sum(0)  # edges inside the part, counted along each axis
    across, every = (used == 0) / 1.0, np.ones(3)
    if len(part) == 1:  # a corner: triangle
        return [every / 8]
    if len(part) == 2:  # an edge: rectangle
        return [across / 2]
    if len(part) == 3:
        return [across / 2, every * 3 / 8]
    if used.max() == 2:  # a face: square
        return [across]
    if steps.sum(1).max() == 2:  # a corner and its three neighbours: hexagon
        return [every * 3 / 4]
    inner = [corner for corner in part if not (part == 1 - corner).all(1).any()]  # a screw's ends are opposite corners
    middle = np.abs(inner[0] - inner[1])
    return [every * 3 / 8, every / 8, *((middle + end) / 4 for end in np.eye(3) if not (end == middle).all())]
