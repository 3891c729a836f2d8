"""Chooses the part of a slice that is shown: a square around the brain, and a closer one over its lesions.

A slice is shown in radiological orientation: the patient's right on the reader's left, anterior up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Shaped

ZOOM_SIDES_MM = (32.0, 48.0, 64.0, 96.0)

Shown = Shaped[np.ndarray, "rows columns"]
ShownMask = Bool[np.ndarray, "rows columns"]


@dataclass(frozen=True)
class Frame:
    """A rectangle of a shown slice in voxels; it may reach beyond the image, where everything is 0."""

    row: int
    column: int
    rows: int
    columns: int

    def cut(self, shown: Shown) -> Shaped[np.ndarray, "cut_rows cut_columns"]:
        """Returns the part of `shown` inside the frame, zeros where the frame reaches beyond it."""
        out = np.zeros((self.rows, self.columns), shown.dtype)
        top, left = max(self.row, 0), max(self.column, 0)
        bottom, right = min(self.row + self.rows, shown.shape[0]), min(self.column + self.columns, shown.shape[1])
        if bottom > top and right > left:
            inside = shown[top:bottom, left:right]
            out[top - self.row : bottom - self.row, left - self.column : right - self.column] = inside
        return out


def radiological(plane: Shaped[np.ndarray, "X Y"]) -> Shown:
    """Turns an axial plane [X, Y] of a RAS volume into rows (anterior first) and columns (patient's right first)."""
    return plane[::-1, ::-1].T


def whole_frame(brain: ShownMask, voxel_mm: tuple[float, float]) -> Frame:
    """Returns the smallest square in mm around the brain with a margin of a twentieth.

    Where there is no brain it is the square around the whole slice.
    """
    mask = brain if brain.any() else np.ones_like(brain)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    centre = (rows[0] + rows[-1] + 1) / 2, (columns[0] + columns[-1] + 1) / 2
    side = 1.05 * max((rows[-1] + 1 - rows[0]) * voxel_mm[0], (columns[-1] + 1 - columns[0]) * voxel_mm[1])
    return square_frame(centre, side, voxel_mm)


def zoom_frame(mask: ShownMask, voxel_mm: tuple[float, float]) -> Frame:
    """Returns a square over the densest part of a mask that is not empty.

    It is the smallest of ZOOM_SIDES_MM whose inner three quarters hold nine tenths of the voxels that those of the
    largest can hold.
    """
    held = {side: _fullest_window(mask, 0.75 * side, voxel_mm) for side in ZOOM_SIDES_MM}
    most = held[ZOOM_SIDES_MM[-1]][0]
    side = next(side for side in ZOOM_SIDES_MM if held[side][0] >= 0.9 * most)
    return square_frame(held[side][1], side, voxel_mm)


def square_frame(centre: tuple[float, float], side: float, voxel_mm: tuple[float, float]) -> Frame:
    """Returns the square of `side` mm around a point, to the nearest voxel.

    `centre` is (row, column) in voxels from the slice's corner.
    """
    rows, columns = (max(1, round(side / size)) for size in voxel_mm)
    return Frame(round(centre[0] - rows / 2), round(centre[1] - columns / 2), rows, columns)


def _fullest_window(mask: ShownMask, side: float, voxel_mm: tuple[float, float]) -> tuple[int, tuple[float, float]]:
    """Finds the square window of `side` mm with most mask voxels; returns their number and their middle."""
    rows, columns = (max(1, round(side / size)) for size in voxel_mm)
    padded = np.pad(mask, ((rows, rows), (columns, columns)))
    sums = np.pad(padded.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = sums[rows:, columns:] - sums[:-rows, columns:] - sums[rows:, :-columns] + sums[:-rows, :-columns]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    held = np.argwhere(padded[top : top + rows, left : left + columns])
    low, high = held.min(axis=0), held.max(axis=0) + 1
    middle = (low + high) / 2 + (top - rows, left - columns)
    return int(inside.max()), (float(middle[0]), float(middle[1]))
