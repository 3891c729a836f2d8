"""Phantom patients: a stripped head with folded cortex and brain metastases whose truth is known exactly.

They exist to try the whole line without patient data. No threshold solves them: white-matter lesions of age are as
bright on t2f as oedema, vessels and choroid plexus as bright on t1c as a metastasis; which is which shows in the four
sequences together. Everything is drawn from (seed, case index) alone and laid out in mm: another grid shows the same
head, with lesions at the same places as far as they fit there, under other noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int16, UInt8

from mets3d.data import Progress, quiet
from mets3d.data.cases import LABELS, SEQUENCES
from mets3d.data.nifti import write_image
from mets3d.ops.voxels import Shape3, Spacing
from mets3d.phantoms.anatomy import (
    HALF_HEAD_MM,
    Frame,
    Head,
    Volume,
    blend,
    frame_of,
    make_head,
    paint_head,
    random_field,
    soft,
    varied,
)
from mets3d.regions import ET_LABEL, NETC, SNFH

FIRST_NUMBER = 90_001
SMALLEST_MM, LARGEST_MM = 2.0, 15.0  # radius of a metastasis
MOST_LESIONS = 12

# Relative intensity on t1n, t1c, t2w, t2f; white matter on T1 is 1.
OEDEMA = (0.70, 0.72, 1.24, 1.09)
ENHANCING = (0.70, 1.85, 0.86, 0.90)
NECROSIS = (0.48, 0.58, 1.30, 0.80)


@dataclass(frozen=True, eq=False)
class Phantom:
    """One patient on disk order X Y Z, RAS: int16 images by sequence, 0 outside the brain, and the true labels."""

    images: dict[str, Int16[np.ndarray, "X Y Z"]]
    labels: UInt8[np.ndarray, "X Y Z"]


def synthesise(
    out: Path,
    cases: int,
    seed: int,
    *,
    shape: Shape3 = (240, 240, 155),
    spacing_mm: Spacing = (1.0, 1.0, 1.0),
    progress: Progress = quiet,
) -> list[str]:
    """Writes phantom patients OUT/BraTS-MET-90001-000/BraTS-MET-90001-000-{t1n,t1c,t2w,t2f,seg}.nii.gz; their names.

    Case k depends on (seed, k, shape, spacing) alone. Axes point to RAS with the origin at (0, last y, 0) mm, as in the
    challenge's atlas files. Raises ValueError if `cases` is not in 1..9999 or a head has no room in `shape`.
    """
    if not 1 <= cases <= 9999:
        raise ValueError(f"expected 1 to 9999 cases, found {cases}")
    if seed < 0:
        raise ValueError(f"seed: expected 0 or more, found {seed}")
    if min(shape) < 1 or not all(math.isfinite(size) and size > 0 for size in spacing_mm):
        raise ValueError(f"expected positive voxel counts and sizes, found shape {shape} and spacing {spacing_mm} mm")
    affine = np.diag([*spacing_mm, 1.0]).astype(np.float64)
    affine[1, 3] = (shape[1] - 1) * spacing_mm[1]
    names = [f"BraTS-MET-{FIRST_NUMBER + index:05d}-000" for index in range(cases)]
    for index, name in enumerate(names):
        patient = phantom(seed, index, shape, spacing_mm)
        for kind, volume in {**patient.images, LABELS: patient.labels}.items():
            write_image(out / name / f"{name}-{kind}.nii.gz", volume, affine)
        progress(index + 1, cases, name)
    return names


def phantom(seed: int, index: int, shape: Shape3, spacing_mm: Spacing) -> Phantom:
    """Patient `index` of `seed` on a grid whose middle is the head's; a head too large for it is scaled down.

    1 to 12 metastases of 2 to 15 mm radius (that of a ball of equal volume): an enhancing rim (ET), around a necrotic
    core (NETC) in most above 4.5 mm, in most surrounded by oedema (SNFH) that spreads in white matter. Each is at least
    one voxel. Lesions are kept apart; one that finds no room is made smaller. Raises as `synthesise`.
    """
    frame = frame_of(shape, spacing_mm)
    anatomy_rng, lesion_rng, scanner_rng = (np.random.default_rng([seed, index, part]) for part in range(3))
    head = make_head(anatomy_rng, frame)
    images = paint_head(anatomy_rng, head, frame)
    labels = _grow_lesions(lesion_rng, head, frame, images)
    scanned = _scan(scanner_rng, images, head.brain, frame)
    whole = np.zeros((len(SEQUENCES), *shape), dtype=np.int16)
    whole[(slice(None), *frame.box)] = scanned
    truth = np.zeros(shape, dtype=np.uint8)
    truth[frame.box] = labels
    return Phantom(dict(zip(SEQUENCES, whole, strict=True)), truth)


# ---------------------------------------------------------------- metastases


@dataclass(frozen=True)
class _Lesion:
    """A metastasis in true mm from the head's middle. `lobes` and `core_lobes` make it irregular, see `_bumps`."""

    centre: tuple[float, float, float]
    radius: float
    lobes: Any
    core: float  # radius of the necrosis as a share, 0: none
    core_lobes: Any
    oedema: float  # how far it reaches, 0: none


def _grow_lesions(
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


def _place(rng: np.random.Generator, head: Head, frame: Frame) -> list[_Lesion]:
    largest = min(LARGEST_MM, 16.0 * frame.scale)
    count = 1 + min(MOST_LESIONS - 1, int(rng.exponential(3.0)))
    radii = [SMALLEST_MM * (largest / SMALLEST_MM) ** (rng.random() ** 1.3) for _ in range(count)]
    radii[0] = rng.uniform(0.5, 1.0) * largest  # every patient has one that is seen at a glance
    lesions: list[_Lesion] = []
    for radius in sorted(radii, reverse=True):
        placed = _find_room(rng, radius, lesions, head, frame)
        if placed is not None:
            lesions.append(_lesion(rng, *placed))
    return lesions


def _find_room(
    rng: np.random.Generator, radius: float, lesions: Sequence[_Lesion], head: Head, frame: Frame
) -> tuple[tuple[float, float, float], float] | None:
    """A place under the surface and apart from all others; smaller by steps where there is none, None at the end."""
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


def _lesion(rng: np.random.Generator, centre: tuple[float, float, float], radius: float) -> _Lesion:
    necrotic = radius >= 4.5 and rng.random() < 0.85
    swollen = rng.random() < (0.9 if radius >= 4 else 0.5)
    return _Lesion(
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
    """Radius in each direction as a share of the nominal one; of direction alone, so that a lesion is one piece.

    Scaled by the mean cube over the directions of a fixed spiral, so that the volume is that of the nominal ball.
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


def _around(lesion: _Lesion, reach_mm: float, frame: Frame) -> tuple[tuple[slice, slice, slice], Any, Any]:
    """The patch within `reach_mm` of a lesion's middle: its slices, vectors from the middle (mm) and their lengths."""
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
    lesion: _Lesion,
    head: Head,
    frame: Frame,
    fingers: Volume,
    images: Float32[np.ndarray, "4 X Y Z"],
    labels: UInt8[np.ndarray, "X Y Z"],
) -> None:
    """Oedema follows white matter in fingers, stops at grey matter and fluid, and is one piece with its lesion."""
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
    lesion: _Lesion,
    head: Head,
    frame: Frame,
    images: Float32[np.ndarray, "4 X Y Z"],
    labels: UInt8[np.ndarray, "X Y Z"],
) -> None:
    """The rim around the core; the core keeps one voxel from the outside, so that no grid opens the rim."""
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


# ---------------------------------------------------------------- the scanner


def _scan(
    rng: np.random.Generator, images: Float32[np.ndarray, "4 X Y Z"], brain: Bool[np.ndarray, "X Y Z"], frame: Frame
) -> Int16[np.ndarray, "4 X Y Z"]:
    """Gain, contrast curve, coil bias and Rician noise; at least 1 inside the brain and 0 outside."""
    coil = random_field(rng, frame, 100, 256)
    scanned = np.zeros(images.shape, dtype=np.int16)
    for image, result in zip(images, scanned, strict=True):
        gain, gamma = rng.uniform(250, 1000), rng.uniform(0.85, 1.2)
        bias = np.exp(0.15 * coil + 0.06 * random_field(rng, frame, 100, 256))
        signal = np.maximum(image, 0.02)[brain] ** gamma * bias[brain]
        noise = rng.normal(0, 0.025, (2, signal.size))
        measured = gain * np.hypot(signal + noise[0], noise[1])
        result[brain] = np.clip(np.rint(measured), 1, np.iinfo(np.int16).max)
    return scanned
