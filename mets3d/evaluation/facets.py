"""Lists the pieces of surface that marching cubes puts into a cell of eight voxel centres; made once, on import."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

CODES = 256  # each of the eight voxels is in the mask or not; bit 4x + 2y + z is the voxel at (x, y, z) in 0, 1


def _facets(code: int) -> list[Float[np.ndarray, "3"]]:
    """Returns the area vectors (absolute, unit spacing) of the flat pieces that make up a code's surface.

    Where more than four voxels are in the mask, the surface is the one around those that are out.
    """
    cell = (code >> np.arange(8) & 1).reshape(2, 2, 2)
    cell = 1 - cell if cell.sum() > 4 else cell
    return [facet for part in _parts(np.argwhere(cell)) for facet in _facets_around(part)]


def _parts(corners: Int[np.ndarray, "N 3"]) -> list[Int[np.ndarray, "_ 3"]]:
    """Returns the corners in groups that are joined along the edges of the cell."""
    left, parts = corners.tolist(), []
    while left:
        part = [left.pop(0)]
        for corner in part:  # grows while it is gone through
            near = [other for other in left if sum(abs(a - b) for a, b in zip(corner, other, strict=True)) == 1]
            part += near
            left = [other for other in left if other not in near]
        parts.append(np.array(sorted(part)))
    return parts


def _facets_around(part: Int[np.ndarray, "N 3"]) -> list[Float[np.ndarray, "3"]]:
    """Returns the area vectors of the polygon that cuts one to four joined corners off a cell.

    Vertices lie midway along the cut edges, and there are six shapes. Two polygons are not flat and are folded as
    marching cubes does: over three corners into a triangle and a trapezoid; over four corners in a screw into a
    triangle on every other vertex with three triangles on its sides (either choice of vertices has the same area, at
    any spacing).
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


FACETS = [_facets(code) for code in range(CODES)]
