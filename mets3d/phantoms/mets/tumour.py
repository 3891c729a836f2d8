"""Makes and paints metastases: rim, necrosis, parts that do not enhance, blood, and the oedema around them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from mets3d.phantoms.anatomy import Frame, Volume, blend, soft, varied
from mets3d.phantoms.lesions import ENHANCING, NECROSIS, OEDEMA
from mets3d.phantoms.mets.head import Anatomy, Images
from mets3d.phantoms.mets.shapes import Blob, Patch, Waves, patch_around, waves
from mets3d.regions import ET_LABEL, NETC, SNFH

Labels = UInt8[np.ndarray, "X Y Z"]

LEAST_CONTRAST = 0.2  # of that of easy phantoms
NECROTIC_FROM_MM3, NECROTIC = 60.0, 0.5  # smaller ones have no core that a scan shows
PARTIAL_FROM_MM3, PARTIAL = 30.0, 0.2
BLEEDING_FROM_MM3, BLEEDING = 60.0, 0.15

SOLID = (0.74, 0.80, 0.95, 0.98)  # tumour that does not enhance
OLD_BLOOD, FRESH_BLOOD = (1.25, 1.28, 1.10, 1.10), (1.05, 1.10, 0.28, 0.40)


@dataclass(frozen=True, eq=False)
class Tumour:
    """One metastasis, all lengths in true mm."""

    body: Blob
    volume_mm3: float
    contrast: float  # of enhancement: 1 is that of easy phantoms
    rim: float  # thickness around the necrosis, 0: none
    rim_waves: Waves  # how it changes around the lesion
    silent: float  # share of the directions in which nothing enhances
    silent_waves: Waves
    blood: float  # share of the voxel that blood fills where it is, 0: none
    blood_waves: Waves
    blood_values: tuple[float, ...]
    oedema: float  # how far it reaches, 0: none
    oedema_grade: float  # 1: as bright as that of easy phantoms


def make_tumour(rng: np.random.Generator, body: Blob, volume_mm3: float) -> Tumour:
    """Draws what a metastasis of this body is made of."""
    radius = body.radius
    necrotic = volume_mm3 >= NECROTIC_FROM_MM3 and rng.random() < NECROTIC
    partial = volume_mm3 >= PARTIAL_FROM_MM3 and rng.random() < PARTIAL
    bleeding = volume_mm3 >= BLEEDING_FROM_MM3 and rng.random() < BLEEDING
    swollen = rng.random() < min(0.9, 0.2 + 0.12 * radius)
    thickness = min(0.5 * radius, float(rng.uniform(0.7, 1.4)) * (1 + 0.12 * radius))
    return Tumour(
        body,
        volume_mm3,
        contrast=float(rng.uniform(LEAST_CONTRAST, 1.0)),
        rim=thickness if necrotic else 0.0,
        rim_waves=waves(rng, 0.45, limit=1.1, count=8),
        silent=float(rng.uniform(0.1, 0.5)) if partial else 0.0,
        silent_waves=waves(rng, 1.0, frequency=2.2, limit=3.0),
        blood=float(rng.uniform(0.5, 1.0)) if bleeding else 0.0,
        blood_waves=waves(rng, 1.0, frequency=2.0, limit=3.0),
        blood_values=OLD_BLOOD if rng.random() < 0.6 else FRESH_BLOOD,
        oedema=min(28.0, float(rng.exponential(1.0)) * radius + 2 + 0.5 * radius) if swollen else 0.0,
        oedema_grade=float(rng.uniform(0.45, 1.0)),
    )


# ---------------------------------------------------------------- oedema


def paint_oedema(
    rng: np.random.Generator,
    tumour: Tumour,
    head: Anatomy,
    frame: Frame,
    fingers: Volume,
    images: Images,
    labels: Labels,
) -> None:
    """Paints oedema, which is one piece, follows white matter in fingers, stops at grey matter and fades out."""
    from mets3d.ops.components import components

    values = varied(rng, OEDEMA, 0.07)
    if not tumour.oedema:
        return
    patch = patch_around(frame, tumour.body.centre, tumour.body.reach + 1.9 * tumour.oedema, finest_mm=math.inf)
    box, gap = patch.box, tumour.body.gap(patch.away)
    easy = (1 - 0.9 * head.grey[box]) * (1 + 0.4 * np.clip(fingers[box], -2, 2))
    open_to = head.brain[box] * (1 - head.fluid[box])
    beyond = tumour.oedema * easy - gap
    share = soft(beyond, 1.2 * frame.edge_mm * frame.scale + 0.25 * tumour.oedema) * open_to
    pieces = components((share > 0.5) | (gap < 0))
    own = pieces[np.unravel_index(gap.argmin(), gap.shape)]
    joined = pieces == own if own else np.zeros_like(pieces, dtype=bool)
    grade = tumour.oedema_grade * (0.75 + 0.25 * np.clip(beyond / tumour.oedema, 0, 1))
    near = joined | (share <= 0.5)  # what is faint fades out around the piece
    blend(images[(slice(None), *box)], (share * grade * near).astype(np.float32), values)
    labels[box][joined & (share > 0.5) & head.brain[box]] = SNFH


# ---------------------------------------------------------------- tumour


def paint_tumour(
    rng: np.random.Generator,
    tumour: Tumour,
    head: Anatomy,
    frame: Frame,
    texture: Volume,
    images: Images,
    labels: Labels,
) -> None:
    """Paints a tumour by its share of each voxel; the label is given to as many voxels as its volume has."""
    enhancing, necrosis, solid = _values(rng, tumour)
    patch = patch_around(frame, tumour.body.centre, tumour.body.reach)
    box, brain = patch.box, head.brain[patch.box]
    gap = tumour.body.gap(patch.away)
    inside = gap < 0
    necrotic, silent = _not_enhancing(tumour, patch, gap, texture)
    total = patch.mean(inside) * brain
    dead = patch.mean(inside & necrotic) * brain
    mute = patch.mean(inside & silent & ~necrotic) * brain
    live = np.maximum(total - dead - mute, 0)  # rounding makes it negative
    target = images[(slice(None), *box)]
    before = target.copy()
    uneven = np.clip(1 + 0.13 * texture[box], 0.6, 1.3)
    for channel, old in enumerate(before):
        painted = live * enhancing[channel] * uneven + dead * necrosis[channel] + mute * solid[channel]
        target[channel] = old * (1 - total) + painted
    if tumour.blood:
        _bleed(rng, tumour, patch, total, target)
    _label(labels[box], patch.mean(gap), total, live, brain, tumour.volume_mm3 / math.prod(frame.spacing_mm))


def _values(rng: np.random.Generator, tumour: Tumour) -> tuple[list[float], list[float], list[float]]:
    """Returns the intensities of what enhances, of necrosis, and of what neither enhances nor is dead."""
    solid = varied(rng, SOLID, 0.06)
    enhancing = varied(rng, ENHANCING, 0.06)
    enhancing[1] = 1.0 + tumour.contrast * (ENHANCING[1] - 1.0)
    enhancing[0] = solid[0] + (enhancing[0] - solid[0]) * tumour.contrast
    necrosis = varied(rng, NECROSIS, 0.12)
    return enhancing, necrosis, solid


def _not_enhancing(tumour: Tumour, patch: Patch, gap: Any, texture: Volume) -> tuple[Any, Any]:
    """Returns, at the points of the patch, where the tumour is dead and where it does not enhance."""
    never = np.zeros(gap.shape, dtype=bool)
    if not tumour.rim and not tumour.silent:
        return never, never
    unit = patch.away / np.maximum(np.sqrt((patch.away**2).sum(0)), 1e-6)
    rough = np.clip(1 + 0.1 * patch.spread(texture[patch.box]), 0.5, 1.6)
    dead = gap < -tumour.rim * tumour.rim_waves.factor(unit) * rough if tumour.rim else never
    if not tumour.silent:
        return dead, never
    level = tumour.silent_waves.factor(unit) * rough
    return dead, level > np.quantile(level[gap < 0], 1 - tumour.silent) if (gap < 0).any() else never


def _bleed(rng: np.random.Generator, tumour: Tumour, patch: Patch, total: Any, target: Any) -> None:
    values = varied(rng, tumour.blood_values, 0.10)
    unit = patch.away / np.maximum(np.sqrt((patch.away**2).sum(0)), 1e-6)
    where = patch.mean(tumour.blood_waves.factor(unit) > 1.0)
    blend(target, (total * where * tumour.blood).astype(np.float32), values)


def _label(labels: Labels, gap: Any, total: Any, live: Any, brain: Any, voxels: float) -> None:
    """Labels the voxels that hold most of the tumour, as many as its volume says: ET where half of that enhances."""
    wanted = min(max(1, round(voxels)), int(np.count_nonzero(brain)))
    if not wanted:
        return
    order = np.argsort(np.where(brain, gap, np.inf), axis=None, kind="stable")[:wanted]
    own = np.unravel_index(order, gap.shape)
    alive = live[own] >= 0.5 * np.maximum(total[own], 1e-6)
    if not alive.any():
        alive[np.argmax(live[own])] = True
    labels[own] = np.where(alive, ET_LABEL, NETC)
