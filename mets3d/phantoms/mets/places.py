"""Finds room for metastases: under the cortex, elsewhere, or against something that looks like them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mets3d.phantoms.anatomy import Frame, Volume
from mets3d.phantoms.mets.head import Anatomy
from mets3d.phantoms.mets.shapes import Point, centre_of

TRIES = 400
TOUCHING = 0.25  # share of metastases that are put against a vessel, dura or plexus
UNDER_CORTEX = 0.7  # share of the others that lie where grey matter meets white


@dataclass(frozen=True)
class Taken:
    """A ball that holds a body already placed, in true mm."""

    centre: Point
    reach: float


class Places:
    """The places of one patient. Bodies are kept two voxels apart, so that each is a component of its own."""

    def __init__(self, head: Anatomy, frame: Frame, mimics: Volume) -> None:
        """Lists the voxels of each kind of place once."""
        self.head, self.frame = head, frame
        tissue = head.brain & (head.ventricle < -1.0 / frame.scale)
        self.anywhere = np.flatnonzero(tissue)
        self.junction = np.flatnonzero(tissue & (head.from_fluid > 1.5) & (head.from_fluid < 8))
        self.beside = np.flatnonzero((mimics > 0.5) & head.brain)
        self.taken: list[Taken] = []

    def find(self, rng: np.random.Generator, radius: float, reach: float) -> Point | None:
        """Returns the middle for a body whose ball of equal volume has `radius`, or None where there is no room."""
        kind = rng.random(2)
        touching = kind[0] < TOUCHING and len(self.beside) > 0
        wishes = self.beside if touching else self.junction if kind[1] < UNDER_CORTEX else self.anywhere
        for attempt in range(TRIES):
            voxels = wishes if attempt < TRIES // 2 and len(wishes) else self.anywhere
            voxel = np.unravel_index(int(voxels[int(rng.random() * len(voxels))]), self.head.brain.shape)
            middle = centre_of(voxel, self.frame)
            step = rng.standard_normal(3)
            if touching and attempt < TRIES // 2:
                away = radius * float(rng.uniform(0.9, 1.15)) / float(np.linalg.norm(step))
                middle = _moved(middle, away * step)
            if self._fits(middle, radius, reach):
                self.take(middle, reach)
                return middle
        return None

    def take(self, centre: Point, reach: float) -> None:
        """Keeps others away from a body."""
        self.taken.append(Taken(centre, reach))

    def _fits(self, middle: Point, radius: float, reach: float) -> bool:
        voxel = self._voxel(middle)
        if voxel is None or not self.head.brain[voxel]:
            return False
        depth = float(self.head.depth[voxel]) * self.frame.scale
        from_ventricle = -float(self.head.ventricle[voxel]) * self.frame.scale
        apart = reach + 2.0 * max(self.frame.spacing_mm)
        free = all(math.dist(middle, other.centre) > apart + other.reach for other in self.taken)
        return free and depth > min(0.8 * radius + 0.6, 14 * self.frame.scale) and from_ventricle > 0.6 * radius - 3

    def _voxel(self, middle: Point) -> tuple[int, int, int] | None:
        found = []
        for axis, u in zip(self.frame.axes, middle, strict=True):
            step = (axis[-1] - axis[0]) / (len(axis) - 1)
            index = round((u / self.frame.scale - axis[0]) / step)
            if not 0 <= index < len(axis):
                return None
            found.append(index)
        return found[0], found[1], found[2]


def _moved(middle: Point, step: Any) -> Point:
    x, y, z = (u + float(s) for u, s in zip(middle, step, strict=True))
    return x, y, z
