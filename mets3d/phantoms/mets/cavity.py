"""Paints resection cavities: fluid where a tumour was taken out, a thin wall that may enhance, scar around it."""

from __future__ import annotations

import math

import numpy as np

from mets3d.phantoms.anatomy import Frame, Volume, blend, soft, varied
from mets3d.phantoms.lesions import OEDEMA
from mets3d.phantoms.mets.head import FLUID, Anatomy, Images
from mets3d.phantoms.mets.places import Places
from mets3d.phantoms.mets.shapes import Blob, blob, patch_around, waves
from mets3d.phantoms.mets.tumour import Labels
from mets3d.regions import RC_LABEL, SNFH

CAVITIES = 0.13  # share of patients with one, as in BraTS-METS 2025
SMALLEST_MM3, LARGEST_MM3 = 600.0, 15_000.0
WALL = (0.80, 1.40, 0.80, 0.95)


def make_cavity(rng: np.random.Generator, places: Places, frame: Frame) -> Blob | None:
    """Draws a cavity near the surface; None where there is no room."""
    largest = max(SMALLEST_MM3 * frame.scale**3, LARGEST_MM3 * frame.scale**3)
    volume = math.exp(rng.uniform(math.log(SMALLEST_MM3 * frame.scale**3), math.log(largest)))
    body = blob(rng, (0.0, 0.0, 0.0), volume, bumps=0.22, longest=1.5)
    centre = places.find(rng, body.radius, body.reach)
    return None if centre is None else Blob(centre, body.radius, body.stretch, body.waves)


def paint_cavity(
    rng: np.random.Generator, body: Blob, head: Anatomy, frame: Frame, texture: Volume, images: Images, labels: Labels
) -> None:
    """Paints the scar, the wall and the fluid, and labels the scar SNFH and the fluid RC."""
    scar_values, wall_values, fluid_values = (
        varied(rng, OEDEMA, 0.10),
        varied(rng, WALL, 0.10),
        varied(rng, FLUID, 0.08),
    )
    fluid_values[3] = float(rng.uniform(0.22, 0.75))  # protein keeps some signal on t2f
    scar = float(rng.uniform(1.5, 7.0)) * min(1.0, frame.scale)
    wall = float(rng.uniform(0.0, 1.0))
    strength = waves(rng, 0.5, limit=1.0)
    patch = patch_around(frame, body.centre, body.reach + 2 * scar + 2)
    box = patch.box
    gap = body.gap(patch.away)
    own, brain = patch.mean(gap), head.brain[patch.box]
    unit = patch.away / np.maximum(np.sqrt((patch.away**2).sum(0)), 1e-6)
    target = images[(slice(None), *box)]
    reach = scar * (1 + 0.3 * np.clip(texture[box], -2, 2)) * (1 - 0.6 * head.grey[box])
    around = soft(reach - own, 2.0 * frame.edge_mm * frame.scale) * brain * (1 - head.fluid[box])
    blend(target, (0.75 * around).astype(np.float32), scar_values)
    lining = patch.mean((gap >= -0.3) & (gap < 1.1 * strength.factor(unit))) * brain
    blend(target, (wall * lining).astype(np.float32), wall_values)
    hole = patch.mean(gap < 0) * brain
    blend(target, hole, fluid_values)
    labels[box][(around > 0.5) & brain] = SNFH
    labels[box][(hole > 0.5) & brain] = RC_LABEL
