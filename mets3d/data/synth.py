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
from jaxtyping import Bool, Float, Float32, Int16, UInt8

from mets3d.data import Progress, quiet
from mets3d.data.cases import LABELS, SEQUENCES
from mets3d.data.nifti import write_image
from mets3d.regions import ET_LABEL, NETC, SNFH

Shape3 = tuple[int, int, int]
Spacing = tuple[float, float, float]
Volume = Float32[np.ndarray, "X Y Z"]
Number = int | float

FIRST_NUMBER = 90_001
HALF_HEAD_MM = (69.0, 87.0, 67.0)  # x y z, of an adult brain with its cerebellum
FEWEST_VOXELS = 24  # across the head, per axis: below that no cortex is left
SMALLEST_MM, LARGEST_MM = 2.0, 15.0  # radius of a metastasis
MOST_LESIONS = 12

# Relative intensity on t1n, t1c, t2w, t2f; white matter on T1 is 1.
WHITE = (1.00, 1.00, 0.55, 0.62)
GREY = (0.74, 0.79, 0.78, 0.86)
DEEP_GREY = (0.85, 0.89, 0.66, 0.73)
FLUID = (0.28, 0.30, 1.70, 0.22)
VESSEL = (0.80, 2.00, 0.45, 0.55)
CHOROID = (0.55, 1.65, 1.25, 0.85)
DURA = (0.60, 1.55, 0.90, 0.75)
AGED_WHITE = (0.94, 0.94, 0.82, 1.27)
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
    frame = _frame(shape, spacing_mm)
    anatomy_rng, lesion_rng, scanner_rng = (np.random.default_rng([seed, index, part]) for part in range(3))
    head = _head(anatomy_rng, frame)
    images = _paint_head(anatomy_rng, head, frame)
    labels = _grow_lesions(lesion_rng, head, frame, images)
    scanned = _scan(scanner_rng, images, head.brain, frame)
    whole = np.zeros((len(SEQUENCES), *shape), dtype=np.int16)
    whole[(slice(None), *frame.box)] = scanned
    truth = np.zeros(shape, dtype=np.uint8)
    truth[frame.box] = labels
    return Phantom(dict(zip(SEQUENCES, whole, strict=True)), truth)


# ---------------------------------------------------------------- coordinates and random fields


@dataclass(frozen=True, eq=False)
class _Frame:
    """The part of the grid that holds the head, and its voxel centres from the middle of the head.

    Anatomy is laid out in mm of an unscaled head: `axes`. Lesions are measured in true mm: `axes` times `scale`.
    """

    box: tuple[slice, slice, slice]
    axes: tuple[Float[np.ndarray, " X"], Float[np.ndarray, " Y"], Float[np.ndarray, " Z"]]
    spacing_mm: Spacing
    scale: float
    edge_mm: float  # width over which one tissue turns into the next, in mm of the unscaled head

    def mesh(self) -> tuple[Any, Any, Any]:
        x, y, z = (axis.astype(np.float32) for axis in self.axes)
        return x[:, None, None], y[None, :, None], z[None, None, :]


def _frame(shape: Shape3, spacing_mm: Spacing) -> _Frame:
    fields = [n * size for n, size in zip(shape, spacing_mm, strict=True)]
    scale = min(1.0, *(field / (2 * half) for field, half in zip(fields, HALF_HEAD_MM, strict=True)))
    across = [2 * half * scale / size for half, size in zip(HALF_HEAD_MM, spacing_mm, strict=True)]
    if min(across) < FEWEST_VOXELS:
        raise ValueError(
            f"shape {shape} at {spacing_mm} mm leaves {min(across):.0f} voxels across the head; expected at least "
            f"{FEWEST_VOXELS} per axis: choose a larger shape or a smaller spacing"
        )
    centres = [(np.arange(n) - (n - 1) / 2) * size / scale for n, size in zip(shape, spacing_mm, strict=True)]
    inside = [np.flatnonzero(np.abs(c) <= half) for c, half in zip(centres, HALF_HEAD_MM, strict=True)]
    x, y, z = (slice(int(found[0]), int(found[-1]) + 1) for found in inside)
    axes = (centres[0][x], centres[1][y], centres[2][z])
    return _Frame((x, y, z), axes, spacing_mm, scale, max(1.2, max(spacing_mm) / scale))


def _field(rng: np.random.Generator, frame: _Frame, shortest_mm: float, longest_mm: float) -> Volume:
    """A smooth random field, mean 0 and variance 1, of wavelengths between the two: a sum of waves of 256 mm / k."""
    period = 256.0
    highest = int(period / shortest_mm)
    wave = np.arange(-highest, highest + 1)  # negative: sine, others: cosine
    length = np.sqrt(wave[:, None, None] ** 2 + wave[None, :, None] ** 2 + wave[None, None, :] ** 2)
    band = (length >= period / longest_mm) & (length <= period / shortest_mm)
    weights = rng.standard_normal(band.shape) * band
    power = np.where(wave == 0, 1.0, 0.5)
    variance = np.einsum("ijk,i,j,k->", weights**2, power, power, power)
    result = (weights / np.sqrt(variance)).astype(np.float32)
    for axis in frame.axes:
        angle = 2 * np.pi / period * axis[:, None] * np.abs(wave)
        waves = np.where(wave < 0, np.sin(angle), np.cos(angle)).astype(np.float32)
        result = np.tensordot(result, waves, axes=(0, 1))  # the next axis moves to the front
    field: Volume = result
    return field


def _soft(signed_mm: Any, width_mm: float) -> Volume:
    """Share of a voxel inside a surface: 0 to 1 over `width_mm` of the signed distance, positive inside."""
    return np.asarray(np.clip(signed_mm / width_mm + 0.5, 0, 1), dtype=np.float32)


def _ball(mesh: tuple[Any, Any, Any], centre: Sequence[Number], radii: Sequence[Number]) -> Volume:
    """About the signed distance in mm to an ellipsoid, positive inside."""
    squares = sum(((u - c) / r) ** 2 for u, c, r in zip(mesh, centre, radii, strict=True))
    return np.asarray((1 - np.sqrt(squares)) * min(radii), dtype=np.float32)


# ---------------------------------------------------------------- anatomy


@dataclass(frozen=True, eq=False)
class _Head:
    """Signed distances (mm, positive inside) and tissue shares of one patient."""

    brain: Bool[np.ndarray, "X Y Z"]
    depth: Volume  # below the brain's surface
    from_fluid: Volume  # to the nearest sulcus, fissure or outer surface
    ventricle: Volume
    grey: Volume  # share
    fluid: Volume  # share


def _head(rng: np.random.Generator, frame: _Frame) -> _Head:
    mesh = x, y, z = frame.mesh()
    bend = _field(rng, frame, 70, 150)
    below = np.where(z > -4, z / 64, (z + 4) / 42 - 4 / 64).astype(np.float32)  # the base of the cerebrum is flat
    cerebrum = (1 - np.sqrt((x / 67) ** 2 + (y / 85) ** 2 + below**2)) * 66 + 1.5 * bend
    cerebellum = _ball(mesh, (0, -44, -40), (47, 31, 24)) + bend
    stem = _ball(mesh, (0, -24, -38), (14, 12, 28))
    folds = np.abs(_field(rng, frame, 15, 27)) * 3.6
    sulci = folds + 0.7 * np.maximum(cerebrum - 11, 0)  # they fade 11 mm below the surface
    fissure = np.abs(x + 0.8 * bend) + 30 * np.maximum(1 - np.sqrt((y / 48) ** 2 + ((z - 2) / 30) ** 2), 0)
    in_cerebrum = np.minimum(np.minimum(sulci, fissure), cerebrum)
    folia = np.abs(_field(rng, frame, 6, 10)) * 1.4 + 0.12 * np.maximum(cerebellum, 0)
    in_cerebellum = np.minimum(np.minimum(np.minimum(folia, cerebellum), -cerebrum), np.float32(1e3)) + 0.6
    from_fluid = np.where(cerebrum > 0, in_cerebrum, np.where(stem > cerebellum, stem + 4, in_cerebellum))
    depth = np.maximum(np.maximum(cerebrum, cerebellum), stem).astype(np.float32)
    ventricle = _ventricles(mesh, float(rng.uniform(0.8, 1.4))) + 0.7 * bend
    fluid = np.maximum(_soft(0.7 - from_fluid, frame.edge_mm), _soft(ventricle, frame.edge_mm))
    grey = _soft(3.7 - from_fluid, frame.edge_mm)
    return _Head(depth > 0, depth, from_fluid.astype(np.float32), ventricle, grey, fluid)


def _ventricles(mesh: tuple[Any, Any, Any], size: float) -> Volume:
    x, y, z = mesh
    mirrored = (np.abs(x), y, z)
    body, atrium, front, temple = (9, 0, 15), (18, -37, 6), (10, 25, 10), (27, -14, -12)
    lateral = [(body, (4.5, 30, 6)), (atrium, (6, 15, 8)), (front, (6, 9, 8)), (temple, (4, 16, 4))]
    middle = [((0, -8, 2), (2.2, 11, 9)), ((0, -34, -35), (5, 5, 8))]
    parts = [_ball(mirrored, centre, [size * r for r in radii]) for centre, radii in lateral]
    parts += [_ball(mesh, centre, [size * r for r in radii]) for centre, radii in middle]
    return np.asarray(np.maximum.reduce(parts), dtype=np.float32)


def _paint_head(rng: np.random.Generator, head: _Head, frame: _Frame) -> Float32[np.ndarray, "4 X Y Z"]:
    """Relative intensities without disease of the metastases' kind, the look-alikes among them."""
    x, y, z = frame.mesh()
    edge = frame.edge_mm
    images = np.empty((len(SEQUENCES), *head.depth.shape), dtype=np.float32)
    for image, value in zip(images, WHITE, strict=True):
        image[:] = value
    texture = 1 + 0.035 * _field(rng, frame, 7, 30)
    load = float(rng.uniform(0.2, 1.0))  # of white-matter disease
    patchy = _field(rng, frame, 20, 60)
    spots = (_field(rng, frame, 9, 14) - (3.1 - 0.6 * load)) * 3
    rim = head.ventricle + load * (3.0 + 2.0 * patchy)
    aged = np.maximum(_soft(spots, edge), _soft(rim, edge)) * _soft(head.from_fluid - 5, edge)
    _blend(images, aged, _varied(rng, AGED_WHITE, 0.05))
    nuclei = [((11, -12, 4), (9, 14, 9)), ((26, 4, 2), (7, 16, 10)), ((14, 19, 6), (6, 9, 8))]
    deep = np.maximum.reduce([_ball((np.abs(x), y, z), centre, radii) for centre, radii in nuclei])
    _blend(images, _soft(deep, edge), _varied(rng, DEEP_GREY, 0.03))
    _blend(images, head.grey, _varied(rng, GREY, 0.04))
    images *= texture
    _blend(images, head.fluid, _varied(rng, FLUID, 0.05))
    plexus = _ball((np.abs(x), y, z), (18, -38, 4), (2.8, 6.5, 3.2)) + 0.8 * patchy
    _blend(images, _soft(plexus, edge), _varied(rng, CHOROID, 0.08))
    tubes = 1.2 - 6.5 * np.hypot(_field(rng, frame, 28, 60), _field(rng, frame, 28, 60))
    sinus = 2.6 - np.hypot(x, head.depth - 3.0) - 10 * (z < 8)
    vessels = np.maximum(np.minimum(tubes, 3.5 - head.from_fluid), sinus)
    _blend(images, _soft(vessels, edge), _varied(rng, VESSEL, 0.10))
    _blend(images, _soft(1.3 - head.depth, edge) * _soft(2 * patchy - 1.0, 1.0), _varied(rng, DURA, 0.08))
    return images


def _varied(rng: np.random.Generator, values: Sequence[float], share: float) -> list[float]:
    return [float(value * (1 + share * rng.uniform(-1.7, 1.7))) for value in values]


def _blend(images: Float32[np.ndarray, "4 X Y Z"], share: Volume, values: Sequence[float]) -> None:
    for channel, value in enumerate(values):
        images[channel] += share * (np.float32(value) - images[channel])


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
    rng: np.random.Generator, head: _Head, frame: _Frame, images: Float32[np.ndarray, "4 X Y Z"]
) -> UInt8[np.ndarray, "X Y Z"]:
    """Paints the lesions into `images`, oedema first, and returns their labels."""
    labels = np.zeros(head.brain.shape, dtype=np.uint8)
    fingers = _field(rng, frame, 16, 40)
    lesions = _place(rng, head, frame)
    for lesion in lesions:
        _paint_oedema(rng, lesion, head, frame, fingers, images, labels)
    for lesion in lesions:
        _paint_tumour(rng, lesion, head, frame, images, labels)
    return labels


def _place(rng: np.random.Generator, head: _Head, frame: _Frame) -> list[_Lesion]:
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
    rng: np.random.Generator, radius: float, lesions: Sequence[_Lesion], head: _Head, frame: _Frame
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


def _around(lesion: _Lesion, reach_mm: float, frame: _Frame) -> tuple[tuple[slice, slice, slice], Any, Any]:
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
    head: _Head,
    frame: _Frame,
    fingers: Volume,
    images: Float32[np.ndarray, "4 X Y Z"],
    labels: UInt8[np.ndarray, "X Y Z"],
) -> None:
    """Oedema follows white matter in fingers, stops at grey matter and fluid, and is one piece with its lesion."""
    from scipy.ndimage import label as connected

    values = _varied(rng, OEDEMA, 0.09)
    if not lesion.oedema:
        return
    patch, away, distance = _around(lesion, 1.4 * lesion.radius + 1.8 * lesion.oedema, frame)
    gap = distance - lesion.radius * _bumps(away, distance, lesion.lobes)
    easy = 1 - 0.85 * head.grey[patch]
    reach = lesion.oedema * easy * (1 + 0.35 * np.clip(fingers[patch], -2, 2))
    share = _soft(reach - gap, 1.5 * frame.edge_mm * frame.scale) * (1 - head.fluid[patch]) * head.brain[patch]
    pieces, _ = connected((share > 0.5) | (gap < 0), np.ones((3, 3, 3)))
    joined = pieces == pieces[np.unravel_index(distance.argmin(), distance.shape)]
    _blend(images[(slice(None), *patch)], np.where(joined, share, 0).astype(np.float32), values)
    labels[patch][joined & (share > 0.5)] = SNFH


def _paint_tumour(
    rng: np.random.Generator,
    lesion: _Lesion,
    head: _Head,
    frame: _Frame,
    images: Float32[np.ndarray, "4 X Y Z"],
    labels: UInt8[np.ndarray, "X Y Z"],
) -> None:
    """The rim around the core; the core keeps one voxel from the outside, so that no grid opens the rim."""
    from scipy.ndimage import binary_erosion

    rim_values, core_values = _varied(rng, ENHANCING, 0.10), _varied(rng, NECROSIS, 0.10)
    reach = 1.5 * lesion.radius + 2 * max(frame.spacing_mm)
    patch, away, distance = _around(lesion, reach, frame)
    edge = frame.edge_mm * frame.scale
    gap = distance - lesion.radius * _bumps(away, distance, lesion.lobes)
    tumour = (gap < 0) & head.brain[patch]
    _blend(images[(slice(None), *patch)], _soft(-gap, edge) * head.brain[patch], rim_values)
    labels[patch][tumour] = ET_LABEL
    if lesion.core:
        inner = lesion.core * lesion.radius * _bumps(away, distance, lesion.core_lobes) - distance
        core = (inner > 0) & binary_erosion(tumour, np.ones((3, 3, 3), dtype=bool))
        _blend(images[(slice(None), *patch)], _soft(inner, edge) * binary_erosion(tumour), core_values)
        labels[patch][core] = NETC


# ---------------------------------------------------------------- the scanner


def _scan(
    rng: np.random.Generator, images: Float32[np.ndarray, "4 X Y Z"], brain: Bool[np.ndarray, "X Y Z"], frame: _Frame
) -> Int16[np.ndarray, "4 X Y Z"]:
    """Gain, contrast curve, coil bias and Rician noise; at least 1 inside the brain and 0 outside."""
    coil = _field(rng, frame, 100, 256)
    scanned = np.zeros(images.shape, dtype=np.int16)
    for image, result in zip(images, scanned, strict=True):
        gain, gamma = rng.uniform(250, 1000), rng.uniform(0.85, 1.2)
        bias = np.exp(0.15 * coil + 0.06 * _field(rng, frame, 100, 256))
        signal = np.maximum(image, 0.02)[brain] ** gamma * bias[brain]
        noise = rng.normal(0, 0.025, (2, signal.size))
        measured = gain * np.hypot(signal + noise[0], noise[1])
        result[brain] = np.clip(np.rint(measured), 1, np.iinfo(np.int16).max)
    return scanned
