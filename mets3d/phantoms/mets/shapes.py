"""Gives the shapes that anatomy and lesions are made of: tubes along a line, and blobs that are one piece."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from mets3d.ops.voxels import Box
from mets3d.phantoms.anatomy import Frame, Number, Volume, random_field

Point = tuple[float, float, float]


def fine_field(rng: np.random.Generator, frame: Frame, shortest_mm: float, longest_mm: float) -> Volume:
    """Draws a random field of short wavelengths, none below two voxels: a coarse grid cannot show them.

    It draws from a stream of its own, so that what `rng` draws later is the same on every grid.
    """
    shortest = max(shortest_mm, 2 * max(frame.spacing_mm) / frame.scale)
    return random_field(rng.spawn(1)[0], frame, shortest, max(longest_mm, 1.5 * shortest))


def tube(frame: Frame, points: Sequence[Sequence[Number]], radii: Sequence[Number], *, both: bool = False) -> Volume:
    """Returns the signed distance in mm to a line of tubes whose radius changes along it, positive inside.

    `both`: there is a second one on the other side of the head. Beyond 6 mm from it the distance is -6. Like all
    anatomy in mm of the unscaled head.
    """
    x, y, z = frame.axes
    signed = np.full((len(x), len(y), len(z)), -6.0, dtype=np.float32)
    for start, end, first, last in zip(points, points[1:], radii, radii[1:], strict=False):
        for side in (1, -1) if both else (1,):
            _segment(signed, frame, ((side * start[0], *start[1:]), (side * end[0], *end[1:])), (first, last))
    return signed


def _segment(
    signed: Volume, frame: Frame, ends: tuple[Sequence[Number], Sequence[Number]], radii: tuple[Number, Number]
) -> None:
    start, end = np.array(ends, dtype=np.float64)
    margin = max(radii) + 6
    box = tuple(
        _within(axis, min(a, b) - margin, max(a, b) + margin) for axis, a, b in zip(frame.axes, start, end, strict=True)
    )
    if any(side.stop <= side.start for side in box):
        return
    away = [
        (axis[side] - a).astype(np.float32).reshape([-1 if i == j else 1 for j in range(3)])
        for i, (axis, side, a) in enumerate(zip(frame.axes, box, start, strict=True))
    ]
    line = (end - start).astype(np.float32)
    along = np.clip(sum(a * d for a, d in zip(away, line, strict=True)) / max(float(line @ line), 1e-6), 0, 1)
    squares = sum((a - along * d) ** 2 for a, d in zip(away, line, strict=True))
    inside = radii[0] + along * (radii[1] - radii[0]) - np.sqrt(squares)
    np.maximum(signed[box], inside, out=signed[box])


def centre_of(voxel: Any, frame: Frame) -> Point:
    """Returns a voxel's centre in true mm from the head's middle."""
    x, y, z = (float(axis[int(i)]) * frame.scale for axis, i in zip(frame.axes, voxel, strict=True))
    return x, y, z


def _within(axis: Any, low: float, high: float) -> slice:
    return slice(int(np.searchsorted(axis, low)), int(np.searchsorted(axis, high, side="right")))


@dataclass(frozen=True, eq=False)
class Blob:
    """A body that is seen whole from its middle: a ball of `radius`, stretched, with bumps; volume that of the ball."""

    centre: Point  # true mm from the head's middle
    radius: float
    stretch: Any  # 3 x 3, determinant 1
    waves: Waves

    @property
    def reach(self) -> float:
        """Returns the largest distance of its surface from its middle, in mm."""
        directions = _spiral()
        return float((self.surface(directions)).max())

    def surface(self, unit: Any) -> Any:
        """Returns the distance of the surface from the middle in the directions `unit` [3, ...]."""
        length = np.sqrt(np.maximum((np.tensordot(self.stretch, unit, 1) ** 2).sum(0), 1e-6))
        return self.radius * self.waves.factor(unit) / length

    def gap(self, away: Any) -> Any:
        """Returns how far points, given from the middle in mm [3, ...], lie outside the surface; negative inside."""
        distance = np.sqrt((away**2).sum(0))
        return distance - self.surface(away / np.maximum(distance, 1e-6))


@dataclass(frozen=True, eq=False)
class Waves:
    """A smooth random function of direction: exp of a sum of waves, limited, times `scale`."""

    directions: Any  # N x 3
    sizes: Any
    phases: Any
    frequency: float
    limit: float
    scale: float = 1.0

    def factor(self, unit: Any) -> Any:
        """Returns its value in directions [3, ...]."""
        total = np.zeros(unit.shape[1:], dtype=np.float32)
        for direction, size, phase in zip(self.directions, self.sizes, self.phases, strict=True):
            total += size * np.cos(self.frequency * np.tensordot(direction, unit, 1) + phase)
        return self.scale * np.exp(np.clip(total, -self.limit, self.limit))


def waves(
    rng: np.random.Generator, size: float, *, frequency: float = 3.0, limit: float = 0.45, count: int = 6
) -> Waves:
    """Draws a function of direction that changes by about `size` of itself."""
    directions = rng.standard_normal((count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    sizes = (size * rng.standard_normal(count) * math.sqrt(2 / count)).astype(np.float32)
    phases = rng.uniform(0, 2 * np.pi, count).astype(np.float32)
    return Waves(directions.astype(np.float32), sizes, phases, frequency, limit)


def blob(rng: np.random.Generator, centre: Point, volume_mm3: float, *, bumps: float, longest: float = 1.35) -> Blob:
    """Draws a body of a volume: stretched up to `longest` times along two random axes, with bumps."""
    radius = (3 * volume_mm3 / (4 * math.pi)) ** (1 / 3)
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    sides = np.exp(rng.uniform(-1, 1, 3) * math.log(longest) / 2)
    sides /= sides.prod() ** (1 / 3)
    stretch = (turn / sides @ turn.T).astype(np.float32)
    drawn = waves(rng, bumps)
    raw = Blob(centre, 1.0, stretch, drawn)
    volume = float(np.mean(raw.surface(_spiral()) ** 3))
    return Blob(centre, radius / volume ** (1 / 3), stretch, drawn)


@cache
def _spiral() -> Any:
    """Returns 400 directions that are spread evenly [3, 400]."""
    turns = np.arange(400) * np.pi * (3 - np.sqrt(5))
    height = np.linspace(-1, 1, 400)
    width = np.sqrt(1 - height**2)
    return np.stack([width * np.cos(turns), width * np.sin(turns), height]).astype(np.float32)


# ---------------------------------------------------------------- points inside voxels

FINEST_MM = 0.4  # distance of the points at which a small body is looked at
MOST_PARTS = 5  # points along one side of a voxel
MOST_POINTS = 1_500_000  # of one body


@dataclass(frozen=True, eq=False)
class Patch:
    """The voxels around a point, and points inside them from it in true mm [3, x * a, y * b, z * c]."""

    box: Box
    away: Any
    parts: tuple[int, int, int]  # points along each side of a voxel

    def mean(self, values: Any) -> Any:
        """Returns the mean over the points of each voxel."""
        a, b, c = self.parts
        x, y, z = (n // part for n, part in zip(values.shape, self.parts, strict=True))
        return values.reshape(x, a, y, b, z, c).mean((1, 3, 5), dtype=np.float32)

    def spread(self, values: Any) -> Any:
        """Returns values of voxels at the points inside them."""
        for axis, part in enumerate(self.parts):
            values = np.repeat(values, part, axis)
        return values


def patch_around(frame: Frame, centre: Point, reach_mm: float, *, finest_mm: float = FINEST_MM) -> Patch:
    """Returns the voxels within `reach_mm` of a point, seen at points `finest_mm` apart, further if there are many."""
    box, offsets = [], []
    for axis, middle, size in zip(frame.axes, centre, frame.spacing_mm, strict=True):
        offset = axis * frame.scale - middle
        near = np.flatnonzero(np.abs(offset) <= reach_mm + size)
        box.append(slice(int(near[0]), int(near[-1]) + 1))
        offsets.append(offset[near])
    parts = [min(MOST_PARTS, max(1, math.ceil(size / finest_mm - 1e-6))) for size in frame.spacing_mm]
    while math.prod(len(o) * p for o, p in zip(offsets, parts, strict=True)) > MOST_POINTS and max(parts) > 1:
        parts = [max(1, part - 1) for part in parts]
    fine = [
        (offset[:, None] + ((np.arange(part) + 0.5) / part - 0.5) * size).ravel()
        for offset, part, size in zip(offsets, parts, frame.spacing_mm, strict=True)
    ]
    away = np.stack(np.meshgrid(*fine, indexing="ij")).astype(np.float32)
    return Patch((box[0], box[1], box[2]), away, (parts[0], parts[1], parts[2]))
