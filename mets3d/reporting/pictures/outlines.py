"""Traces the outlines of masks: closed loops along voxel edges, and these loops as SVG path data.

An outline is crisp at any size and the page stays small; a bitmap of the same sharpness would need some MB a case.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mets3d.reporting.pictures.frames import Frame, ShownMask

Point = tuple[int, int]  # row, column of a voxel's corner


def outline_path(mask: ShownMask, frame: Frame, side: float) -> str:
    """Returns the outlines of a mask inside a frame drawn over `side`, as path data.

    Empty where the frame holds none of the mask.
    """
    across, down = side / frame.columns, side / frame.rows
    return "".join(_rounded(loop, across, down) for loop in outlines(frame.cut(mask)))


def outlines(mask: ShownMask) -> list[list[Point]]:
    """Returns closed loops of (row, column) corners along the voxel edges that separate True from False.

    Straight runs are one segment. Outer loops run clockwise on the screen, holes the other way. Without a True voxel
    there is no loop.
    """
    edges = _edges(np.pad(mask, 1))
    loops = []
    while edges:
        start = next(iter(edges))
        loop, corner = [start], edges[start].pop()
        while corner != start:
            loop.append(corner)
            corner = edges[corner].pop()
        edges = {corner: ends for corner, ends in edges.items() if ends}
        loops.append(_corners(loop))
    return loops


def _edges(padded: ShownMask) -> dict[Point, list[Point]]:
    """Returns directed voxel edges with the mask on their right, corner -> corners, without the padding's offset."""
    edges: dict[Point, list[Point]] = {}
    inside = padded[1:-1, 1:-1]
    sides = (
        (padded[:-2, 1:-1], (0, 0), (0, 1)),  # top edge, left to right
        (padded[1:-1, 2:], (0, 1), (1, 1)),
        (padded[2:, 1:-1], (1, 1), (1, 0)),
        (padded[1:-1, :-2], (1, 0), (0, 0)),
    )
    for neighbour, start, end in sides:
        for row, column in np.argwhere(inside & ~neighbour).tolist():
            edges.setdefault((row + start[0], column + start[1]), []).append((row + end[0], column + end[1]))
    return edges


def _corners(loop: Sequence[Point]) -> list[Point]:
    """Returns the loop without points in the middle of a straight run."""
    return [here for before, here, after in _neighbours(loop) if (after[0] - before[0]) * (after[1] - before[1]) != 0]


def _neighbours(loop: Sequence[Point]) -> Iterator[tuple[Point, Point, Point]]:
    """Yields each point of a closed loop between the one before and the one after it."""
    return zip([loop[-1], *loop[:-1]], loop, [*loop[1:], loop[0]], strict=True)


def _rounded(loop: Sequence[Point], across: float, down: float) -> str:
    """Returns the loop as path data, each corner a curve from half a voxel before it to half a voxel after it.

    That takes the jitter out of slanted outlines and moves none of them by more than 0.18 voxels.
    """
    text: list[str] = []
    for before, here, after in _neighbours(loop):
        points = [_half_way(here, before), here, _half_way(here, after)]
        start, corner, end = (f"{column * across:.1f} {row * down:.1f}" for row, column in points)
        text.append(f"{'L' if text else 'M'}{start}Q{corner} {end}")
    return "".join(text) + "Z"


def _half_way(here: Point, there: Point) -> tuple[float, float]:
    """Returns the point half a voxel from `here` towards `there`, along an axis."""
    row, column = (0.5 * float(np.sign(far - near)) for near, far in zip(here, there, strict=True))
    return here[0] + row, here[1] + column
