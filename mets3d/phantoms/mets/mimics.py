"""Paints what enhances without being a tumour: vessels of all calibres, sinuses, dura, choroid plexus, small glands."""

from __future__ import annotations

import math

import numpy as np

from mets3d.phantoms.anatomy import CHOROID, DURA, Frame, Volume, ball, blend, random_field, soft, varied
from mets3d.phantoms.mets.head import Anatomy, Images
from mets3d.phantoms.mets.shapes import blob, centre_of, fine_field, patch_around, tube

VESSEL = (0.78, 2.55, 0.42, 0.52)  # on t1c brighter than that of easy phantoms, as on real scans
GLAND = (0.82, 1.70, 0.70, 0.78)  # pineal body and stalk of the pituitary
SLOW_VESSEL = (0.78, 1.75, 0.75, 0.72)  # small veins in which blood flows slowly: no signal is lost on t2w

Course = tuple[list[tuple[float, float, float]], tuple[float, ...]]  # points and radii in mm of the unscaled head

SINUSES: list[Course] = [
    ([(0, -40, 10), (0, -60, 2), (0, -80, -12)], (1.4, 1.8, 2.6)),  # great vein, straight sinus
    ([(0, 72, 22), (0, 42, 55), (0, 0, 64), (0, -45, 56), (0, -76, 24), (0, -83, -8)], (1.2, 1.6, 2.2, 2.6, 3.0, 3.2)),
]
SINUSES_OF_BOTH_SIDES: list[Course] = [
    ([(3, -80, -12), (28, -73, -17), (48, -50, -21), (50, -34, -30)], (2.8, 2.6, 2.4, 2.2)),
]
ARTERIES: list[Course] = [
    ([(0, -9, -60), (0, -8, -44), (0, -7, -28)], (1.5, 1.6, 1.4)),
    ([(0, 14, -22), (0, 34, -4), (0, 36, 14), (0, 10, 28)], (1.1, 0.9, 0.8, 0.6)),
]
ARTERIES_OF_BOTH_SIDES: list[Course] = [
    (
        [(6, 2, -34), (7, 8, -25), (20, 9, -20), (36, 7, -14), (44, -2, -6), (50, -16, 4)],
        (1.9, 1.7, 1.3, 1.1, 0.9, 0.6),
    ),
    ([(2, -8, -28), (14, -16, -25), (22, -34, -16), (18, -56, -8)], (1.2, 1.1, 0.9, 0.6)),
    ([(1.5, -8, 9), (2, -24, 11), (1.5, -39, 10)], (0.7, 0.9, 1.1)),  # internal cerebral veins
]
PLEXUS: list[Course] = [
    ([(13, -18, 14), (20, -33, 9), (23, -36, 4), (27, -28, -4)], (1.0, 2.6, 3.0, 1.2)),
]


def paint_mimics(rng: np.random.Generator, head: Anatomy, frame: Frame, images: Images) -> Volume:
    """Paints them into `images` and returns the share of each voxel that enhances."""
    parts = [
        _plexus(rng, head, frame, images),
        _dura(rng, head, frame, images),
        _glands(rng, frame, images),
        _sinuses(rng, head, frame, images),
        _branches(rng, head, frame, images),
        _cut_across(rng, head, frame, images),
    ]
    enhancing: Volume = np.maximum.reduce(parts) * head.brain
    return enhancing


def thin(share: Volume, radius_mm: float, frame: Frame) -> Volume:
    """Returns the share of a voxel that a tube thinner than the voxel fills."""
    side = math.prod(frame.spacing_mm) ** (1 / 3) / frame.scale
    return share * np.float32(min(1.0, math.pi * radius_mm**2 / side**2))


def _plexus(rng: np.random.Generator, head: Anatomy, frame: Frame, images: Images) -> Volume:
    """Paints choroid plexus, lobed and uneven, in the atria of the ventricles and in the fourth one."""
    lobes = fine_field(rng, frame, 4, 9)
    body = tube(frame, *_wandering(rng, PLEXUS[0], 1.0), both=True)
    body = np.maximum(body, ball(frame.mesh(), (0, -40, -38), (5, 1.5, 3)))
    share = soft(body + 1.1 * lobes, frame.edge_mm) * soft(head.ventricle + 0.5, frame.edge_mm)
    share = share * np.clip(0.75 + 0.25 * lobes, 0.2, 1.0)
    blend(images, share.astype(np.float32), varied(rng, CHOROID, 0.08))
    return np.asarray(share, dtype=np.float32)


def _dura(rng: np.random.Generator, head: Anatomy, frame: Frame, images: Images) -> Volume:
    """Paints remains of dura on the surface, and faintly the falx and the tentorium."""
    x, y, z = frame.mesh()
    patchy = random_field(rng, frame, 12, 50)
    outer = soft(1.1 + 0.4 * patchy - head.depth, frame.edge_mm) * soft(2 * patchy - 1.6, 1.0)
    falx = thin(soft(0.6 - np.abs(x), frame.edge_mm), 0.6, frame) * (y < 60) * (head.cerebrum > 0) * (z > 24)
    between = np.abs(head.cerebrum) + 2 * np.maximum(-2 - head.cerebellum, 0)
    tent = thin(soft(0.7 - between, frame.edge_mm), 0.6, frame)
    share = np.maximum(np.maximum(outer, 0.8 * falx), 0.8 * tent) * np.clip(0.75 + 0.3 * patchy, 0.1, 1)
    blend(images, share.astype(np.float32), varied(rng, DURA, 0.08))
    return np.asarray(share, dtype=np.float32)


def _glands(rng: np.random.Generator, frame: Frame, images: Images) -> Volume:
    mesh = frame.mesh()
    size = rng.uniform(0.7, 1.2)
    pineal = ball(mesh, (0, -33, 4), (2.2 * size, 3.2 * size, 2.4 * size))
    stalk = tube(frame, [(0, 6, -34), (0, 5, -24)], (1.4 * size, 0.9 * size))
    share = soft(np.maximum(pineal, stalk), frame.edge_mm)
    blend(images, share, varied(rng, GLAND, 0.08))
    return share


def _sinuses(rng: np.random.Generator, head: Anatomy, frame: Frame, images: Images) -> Volume:
    """Paints the sinuses and the arteries of the base, each along its course with a wandering of its own."""
    share = np.zeros(head.depth.shape, dtype=np.float32)
    for courses, wandering, both in (
        (SINUSES, 1.0, False),
        (SINUSES_OF_BOTH_SIDES, 1.5, True),
        (ARTERIES, 1.5, False),
        (ARTERIES_OF_BOTH_SIDES, 2.0, True),
    ):
        for course in courses:
            points, radii = _wandering(rng, course, wandering)
            drawn = soft(tube(frame, points, radii, both=both), frame.edge_mm)
            np.maximum(share, thin(drawn, min(radii), frame), out=share)
    ribbon = 2.4 - np.hypot(frame.mesh()[0], head.depth - 2.5) - 10 * (frame.mesh()[2] < 8)
    np.maximum(share, soft(ribbon, frame.edge_mm), out=share)
    blend(images, share, varied(rng, VESSEL, 0.10))
    return share


def _wandering(rng: np.random.Generator, course: Course, size_mm: float) -> tuple[list[list[float]], list[float]]:
    points, radii = course
    moved = [[u + size_mm * float(rng.uniform(-1, 1)) * (u != 0) for u in point] for point in points]
    return moved, [radius * float(rng.uniform(0.8, 1.2)) for radius in radii]


def _branches(rng: np.random.Generator, head: Anatomy, frame: Frame, images: Images) -> Volume:
    """Paints branching vessels as thin as small metastases: in the sulci, and fainter ones through white matter."""
    strength = random_field(rng, frame, 25, 60)
    sulcal = 1.1 + 0.35 * strength - 4.6 * np.hypot(random_field(rng, frame, 22, 45), random_field(rng, frame, 22, 45))
    sulcal = np.minimum(sulcal, 2.4 - head.from_fluid)
    share = thin(soft(sulcal, frame.edge_mm), 0.8, frame) * np.clip(0.75 + 0.35 * strength, 0.15, 1)
    blend(images, share.astype(np.float32), varied(rng, VESSEL, 0.10))
    deep = 0.6 - 4.0 * np.hypot(random_field(rng, frame, 18, 40), random_field(rng, frame, 18, 40))
    veins = thin(soft(np.minimum(deep, head.from_fluid - 2), frame.edge_mm), 0.45, frame)
    veins = veins * np.clip(0.5 - 0.5 * strength, 0, 1) * head.brain
    blend(images, veins.astype(np.float32), varied(rng, SLOW_VESSEL, 0.08))
    return np.asarray(np.maximum(share, veins), dtype=np.float32)


def _cut_across(rng: np.random.Generator, head: Anatomy, frame: Frame, images: Images) -> Volume:
    """Paints short vessels at the surface and in sulci: dots in most planes, 2 to 60 mm3 each."""
    share = np.zeros(head.depth.shape, dtype=np.float32)
    places = np.argwhere(head.brain & (head.from_fluid < 2.2) & (head.depth > 0.5))
    if not len(places):
        return share
    values = varied(rng, VESSEL, 0.10)
    for _ in range(int(rng.integers(40, 140))):
        voxel = places[int(rng.random() * len(places))]
        body = blob(
            rng, centre_of(voxel, frame), float(np.exp(rng.uniform(math.log(2), math.log(60)))), bumps=0.1, longest=3.0
        )
        strength = float(rng.uniform(0.4, 1.0))
        patch = patch_around(frame, body.centre, body.reach)
        own = patch.mean(body.gap(patch.away) < 0) * head.brain[patch.box] * np.float32(strength)
        blend(images[(slice(None), *patch.box)], own, values)
        np.maximum(share[patch.box], own, out=share[patch.box])
    return share
