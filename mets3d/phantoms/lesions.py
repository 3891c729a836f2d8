"""Places, shapes and paints the metastases of phantoms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from mets3d.phantoms.anatomy import HALF_HEAD_MM, Frame, Head, Volume, blend, random_field, soft, varied
from mets3d.regions import ET_LABEL, NETC, SNFH

SMALLEST_MM, LARGEST_MM = 2.0, 15.0  # radius of a metastasis
MOST_LESIONS = 12

# Relative intensity on t1n, t1c, t2w, t2f; white matter on T1 is 1.
OEDEMA = (0.70, 0.72, 1.24, 1.09)
ENHANCING = (0.70, 1.85, 0.86, 0.90)
NECROSIS = (0.48, 0.58, 1.30, 0.80)


@dataclass(frozen=True)
class Lesion:
    """A metastasis in true mm from the head's middle. `lobes` and `core_lobes` make it irregular, see `_bumps`."""

    centre: tuple[float, float, float]
    radius: float
    lobes: Any
    core: float  # radius of the necrosis as a share, 0: none
    core_lobes: Any
    oedema: float  # how far it reaches, 0: none


def grow_lesions(
    rng: np.random.Generator, head: Head, frame: Frame, images: Float32[np.ndarray, "4 X Y Z"]
) -> UInt8[np.ndarray, "X Y Z"]:
    """Paints the lesions into `images`, oedema first, and returns their labels."""
    labels = np.zeros(head.brain.shape, dtype=np.uint8)
    fingers = random_field(rng, frame, 16, 40)
    lesions = _place(rng, head, frame)
    for lesion in lesions:
        _paint_oedema(rng, lesion, head, frame, fingers, images, labels)
    for lesion in lesions:
        _paint_tumour(rng, lesion, head, frame, images, labels)
    return labels


def _place(rng: np.random.Generator, head: Head, frame: Frame) -> list[Lesion]:
    largest = min(LARGEST_MM, 16.0 * frame.scale)
    count = 1 + min(MOST_LESIONS - 1, int(rng.exponential(3.0)))
    radii = [SMALLEST_MM * (largest / SMALLEST_MM) ** (rng.random() ** 1.3) for _ in range(count)]
    radii[0] = rng.uniform(0.5, 1.0) * largest  # every patient has one that is seen at a glance
    lesions: list[Lesion] = []
    for radius in sorted(radii, reverse=True):
        placed = _find_room(rng, radius, lesions, head, frame)
        if placed is not None:
            lesions.append(_made(rng, *placed))
    return lesions


def _find_room(
    rng: np.random.Generator, radius: float, lesions: Sequence[Lesion], head: Head, frame: Frame
) -> tuple[tuple[float, float, float], float] | None:
    """Returns a place under the surface and apart from all others, and the radius that fits there.

    The radius falls by steps where there is no place; None where there is none for the smallest.
    """
    while True:
        for wish in rng.uniform(-1, 1, (300, 3)) * HALF_HEAD_MM:
            voxel = tuple(int(np.abs(axis - u).argmin()) for axis, u in zip(frame.axes, wish, strict=True))
            x, y, z = (float(axis[i]) * frame.scale for axis, i in zip(frame.axes, voxel, strict=True))
            room = min(float(head.depth[voxel]), 2 - float(head.ventricle[voxel])) * frame.scale
            free = all(math.dist((x, y, z), other.centre) > 1.35 * (radius + other.radius) + 4 for other in lesions)
            if free and room > max(0.85 * radius, 4 * frame.scale):
                return (x, y, z), radius
        if radius == SMALLEST_MM:
            return None
        radius = max(SMALLEST_MM, 0.85 * radius)


def _made(rng: np.random.Generator, centre: tuple[float, float, float], radius: float) -> Lesion:
    necrotic = radius >= 4.5 and rng.random() < 0.85
    swollen = rng.random() < (0.9 if radius >= 4 else 0.5)
    return Lesion(
        centre,
        radius,
        lobes=_lobes(rng, 0.13),
        core=rng.uniform(0.55, 0.8) if necrotic else 0.0,
        core_lobes=_lobes(rng, 0.08),
        oedema=min(20.0, 2 + radius * rng.uniform(0.5, 1.5)) if swollen else 0.0,
    )


def _lobes(rng: np.random.Generator, size: float) -> tuple[Any, Any, Any]:
    directions = rng.standard_normal((6, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions, size * rng.standard_normal(6), rng.uniform(0, 2 * np.pi, 6)


def _bumps(away: Any, distance: Any, lobes: tuple[Any, Any, Any]) -> Any:
    """Returns the radius in each direction as a share of the nominal one.

    It depends on the direction alone, so that a lesion is one piece. It is scaled by the mean cube over the directions
    of a fixed spiral, so that the volume is that of the nominal ball.
    """
    directions, sizes, phases = lobes
    turns = np.arange(400) * np.pi * (3 - np.sqrt(5))
    height = np.linspace(-1, 1, 400)
    width = np.sqrt(1 - height**2)
    spiral = np.stack([width * np.cos(turns), width * np.sin(turns), height])

    def shape(unit: Any) -> Any:
        waves = (
            s * np.cos(3 * np.tensordot(d, unit, 1) + p) for d, s, p in zip(directions, sizes, phases, strict=True)
        )
        return np.exp(np.clip(sum(waves), -0.3, 0.3))

    return shape(away / np.maximum(distance, 1e-6)) / np.mean(shape(spiral) ** 3) ** (1 / 3)


def _around(lesion: Lesion, reach_mm: float, frame: Frame) -> tuple[tuple[slice, slice, slice], Any, Any]:
    """Returns the patch within `reach_mm` of a lesion's middle: slices, vectors from the middle (mm), their lengths."""
    found, rays = [], []
    for axis, middle in zip(frame.axes, lesion.centre, strict=True):
        offset = axis * frame.scale - middle
        near = np.flatnonzero(np.abs(offset) <= reach_mm)
        found.append(slice(int(near[0]), int(near[-1]) + 1))
        rays.append(offset[near])
    away = np.stack(np.meshgrid(*rays, indexing="ij"))
    return (found[0], found[1], found[2]), away, np.sqrt((away**2).sum(0))


def _paint_oedema(
    rng: np.random.Generator,
    lesion: Lesion,
    head: Head,
    frame: Frame,
    fingers: Volume,
    images: Float32[np.ndarray, "4 X Y Z"],
    labels: UInt8[np.ndarray, "X Y Z"],
) -> None:
    """Paints oedema, which follows white matter in fingers, stops at grey matter and fluid, and is one piece."""
    from scipy.ndimage import label as connected

    values = varied(rng, OEDEMA, 0.09)
    if not lesion.oedema:
        return
    patch, away, distance = _around(lesion, 1.4 * lesion.radius + 1.8 * lesion.oedema, frame)
    gap = distance - lesion.radius * _bumps(away, distance, lesion.lobes)
    easy = 1 - 0.85 * head.grey[patch]
    reach = lesion.oedema * easy * (1 + 0.35 * np.clip(fingers[patch], -2, 2))
    share = soft(reach - gap, 1.5 * frame.edge_mm * frame.scale) * (1 - head.fluid[patch]) * head.brain[patch]
    pieces, _ = connected((share > 0.5) | (gap < 0), np.ones((3, 3, 3)))
    joined = pieces == pieces[np.unravel_index(distance.argmin(), distance.shape)]
    blend(images[(slice(None), *patch)], np.where(joined, share, 0).astype(np.float32), values)
    labels[patch][joined & (share > 0.5)] = SNFH


def _paint_tumour(
    rng: np.random.Generator,
    lesion: Lesion,
    head: Head,
    frame: Frame,
    images: Float32[np.ndarray, "4 X Y Z"],
    labels: UInt8[np.ndarray, "X Y Z"],
) -> None:
    """Paints the rim around the core, which keeps one voxel from the outside, so that no grid opens the rim."""
    from scipy.ndimage import binary_erosion

    rim_values, core_values = varied(rng, ENHANCING, 0.10), varied(rng, NECROSIS, 0.10)
    reach = 1.5 * lesion.radius + 2 * max(frame.spacing_mm)
    patch, away, distance = _around(lesion, reach, frame)
    edge = frame.edge_mm * frame.scale
    gap = distance - lesion.radius * _bumps(away, distance, lesion.lobes)
    tumour = (gap < 0) & head.brain[patch]
    blend(images[(slice(None), *patch)], soft(-gap, edge) * head.brain[patch], rim_values)
    labels[patch][tumour] = ET_LABEL
    if lesion.core:
        inner = lesion.core * lesion.radius * _bumps(away, distance, lesion.core_lobes) - distance
        core = (inner > 0) & binary_erosion(tumour, np.ones((3, 3, 3), dtype=bool))
        blend(images[(slice(None), *patch)], soft(inner, edge) * binary_erosion(tumour), core_values)
        labels[patch][core] = NETC
