"""Makes the head of a patient: folded cortex, ventricles with their horns, deep grey matter, white-matter disease."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from mets3d.data.case import SEQUENCES
from mets3d.phantoms.anatomy import (
    AGED_WHITE,
    DEEP_GREY,
    GREY,
    WHITE,
    Frame,
    Volume,
    ball,
    blend,
    random_field,
    soft,
    varied,
)
from mets3d.phantoms.mets.shapes import fine_field, tube

Images = Float32[np.ndarray, "4 X Y Z"]

LATERAL = [(7, 33, 6), (9, 20, 13), (9, 0, 17), (12, -20, 17), (21, -36, 9), (28, -28, -5), (31, -8, -15)]
LATERAL_RADII = (3.0, 4.5, 4.0, 4.2, 6.0, 3.2, 2.2)
HINDMOST = [(20, -36, 9), (16, -56, 6)]
FLUID = (0.26, 0.28, 2.05, 0.20)  # darker and brighter than that of easy phantoms, as on real scans
LACUNA = (0.40, 0.42, 1.45, 0.45)


@dataclass(frozen=True, eq=False)
class Anatomy:
    """Signed distances (mm of the unscaled head, positive inside) and tissue shares of one patient."""

    brain: Bool[np.ndarray, "X Y Z"]
    cerebrum: Volume
    cerebellum: Volume
    depth: Volume  # below the brain's surface
    from_fluid: Volume  # to the nearest sulcus, fissure or outer surface
    ventricle: Volume
    grey: Volume  # share
    fluid: Volume  # share


def make_anatomy(rng: np.random.Generator, frame: Frame) -> Anatomy:
    """Draws one patient's brain."""
    mesh = x, y, z = frame.mesh()
    bend = random_field(rng, frame, 70, 150)
    cerebrum = _cerebrum(mesh, bend)
    cerebellum = ball(mesh, (0, -46, -41), (47, 30, 23)) + bend
    stem = ball(mesh, (0, -24, -40), (13, 12, 30))
    folds = np.abs(random_field(rng, frame, 13, 24)) * 3.3
    sulci = folds + 0.3 * np.maximum(cerebrum - 14 - 4 * bend, 0)  # they end some 20 mm below the surface
    fissure = np.abs(x + 0.8 * bend) + 30 * np.maximum(1 - np.sqrt((y / 48) ** 2 + ((z - 2) / 30) ** 2), 0)
    sylvian = _sylvian(mesh, 4 * bend + 3 * random_field(rng, frame, 20, 50))
    in_cerebrum = np.minimum(np.minimum(np.minimum(sulci, fissure), sylvian), cerebrum)
    folia = _folia(mesh, fine_field(rng, frame, 9, 20), frame) + 0.14 * np.maximum(cerebellum, 0)
    in_cerebellum = np.minimum(np.minimum(np.minimum(folia, cerebellum), -cerebrum), np.float32(1e3)) + 0.6
    from_fluid = np.where(cerebrum > 0, in_cerebrum, np.where(stem > cerebellum, stem + 4, in_cerebellum))
    depth = np.maximum(np.maximum(cerebrum, cerebellum), stem).astype(np.float32)
    ventricle = _ventricles(frame, float(rng.uniform(0.7, 1.35))) + 0.6 * bend
    fluid = np.maximum(soft(0.6 - from_fluid, frame.edge_mm), soft(ventricle, frame.edge_mm))
    grey = soft(3.4 - from_fluid, 1.4 * frame.edge_mm)
    return Anatomy(
        depth > 0, cerebrum, cerebellum, depth, from_fluid.astype(np.float32), ventricle, grey, fluid.astype(np.float32)
    )


def _cerebrum(mesh: tuple[Any, Any, Any], bend: Volume) -> Volume:
    """Returns the distance below the surface of hemispheres with a flat base, narrower in front, and temporal lobes."""
    x, y, z = mesh
    below = np.where(z > -4, z / 64, (z + 4) / 28 - 4 / 64)
    width = 67 - 6 * np.clip((y - 10) / 70, 0, 1)
    upper = (1 - np.sqrt((x / width) ** 2 + (y / 85) ** 2 + below**2)) * 66
    temporal = ball((np.abs(x), y, z), (41, 0, -24), (21, 37, 20))
    return np.asarray(np.maximum(upper, temporal) + 1.5 * bend, dtype=np.float32)


def _sylvian(mesh: tuple[Any, Any, Any], winding: Volume) -> Volume:
    """Returns the distance to the fissure between the temporal lobe and the rest of the hemisphere.

    `winding` moves its sheet, in mm.
    """
    x, y, z = mesh
    sheet = np.abs(0.8 * (y - 4 + winding) + 0.6 * (z + 8))
    ends = np.maximum(36 - np.abs(x), np.maximum(-30 - z, z - 14))
    return np.asarray(sheet + np.maximum(ends, 0), dtype=np.float32)


def _folia(mesh: tuple[Any, Any, Any], winding: Volume, frame: Frame) -> Volume:
    """Returns the distance to the clefts between the leaves of the cerebellum, which fan out from its front."""
    x, y, z = mesh
    apart = max(4.0, 3 * max(frame.spacing_mm) / frame.scale)
    leaf = np.arctan2(z + 34, -(y + 30)) * 26 + 0.12 * np.abs(x) + 1.1 * winding
    return np.asarray(np.abs(np.sin(np.pi * leaf / apart)) * apart / np.pi, dtype=np.float32)


def _ventricles(frame: Frame, size: float) -> Volume:
    mesh = x, _, _ = frame.mesh()
    lateral = tube(frame, LATERAL, [size * radius for radius in LATERAL_RADII], both=True)
    hindmost = tube(frame, HINDMOST, [4.5 * size, 2.0 * size], both=True)
    sides = np.minimum(np.maximum(lateral, hindmost), np.abs(x) - 0.8)
    third = ball(mesh, (0, -6, 1), (1.7 * size, 12, 9))
    fourth = ball(mesh, (0, -37, -36), (5 * size, 3.5 * size, 8))
    return np.asarray(np.maximum(np.maximum(sides, third), fourth), dtype=np.float32)


def paint_tissue(rng: np.random.Generator, head: Anatomy, frame: Frame) -> Images:
    """Returns relative intensities of a head without metastases and vessels, with its white-matter disease."""
    x, y, z = frame.mesh()
    edge = frame.edge_mm
    images = np.empty((len(SEQUENCES), *head.depth.shape), dtype=np.float32)
    for image, value in zip(images, varied(rng, WHITE, 0.02), strict=True):
        image[:] = value
    _paint_disease(rng, head, frame, images)
    nuclei = [  # thalamus, lentiform nucleus, head of the caudate, brain stem
        ((11, -12, 4), (9, 14, 9)),
        ((25, 4, 2), (6, 16, 10)),
        ((14, 19, 6), (5, 9, 8)),
        ((0, -24, -40), (13, 12, 30)),
    ]
    deep = np.maximum.reduce([ball((np.abs(x), y, z), centre, radii) for centre, radii in nuclei])
    blend(images, 0.85 * soft(deep, 2.5 * edge) * soft(-head.ventricle, edge), varied(rng, DEEP_GREY, 0.03))
    blend(images, head.grey, varied(rng, GREY, 0.04))
    images *= 1 + 0.03 * random_field(rng, frame, 7, 30)
    images *= 1 + 0.025 * fine_field(rng, frame, 3.5, 7)
    fluid = varied(rng, FLUID, 0.06)
    blend(images, head.fluid, fluid)
    return images


def _paint_disease(rng: np.random.Generator, head: Anatomy, frame: Frame, images: Images) -> None:
    """Paints the white-matter lesions of age: caps at the ventricles, spots, and lacunae with a bright border."""
    edge = frame.edge_mm
    load = float(rng.beta(1.2, 1.8))
    patchy = random_field(rng, frame, 18, 60)
    scattered = random_field(rng, frame, 8, 14)
    white = soft(head.from_fluid - 4.5, edge) * (head.cerebrum > 0)
    spots = soft((scattered - (3.3 - 0.9 * load)) * 3, 1.5 * edge)
    caps = soft(head.ventricle + load * (4.0 + 2.5 * patchy), 3 * edge)
    grade = np.clip(0.8 + 0.25 * patchy, 0.4, 1.1).astype(np.float32)
    blend(images, np.maximum(spots, caps) * white * grade, varied(rng, AGED_WHITE, 0.06))
    holes = soft((-scattered - (4.3 - 0.8 * load)) * 3, edge) * white
    blend(images, holes, varied(rng, LACUNA, 0.08))
