"""Makes a phantom's stripped head: coordinates in mm, smooth random fields, tissues and their intensities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32

from mets3d.data.cases import SEQUENCES
from mets3d.ops.voxels import Shape3, Spacing

Volume = Float32[np.ndarray, "X Y Z"]
Number = int | float

HALF_HEAD_MM = (69.0, 87.0, 67.0)  # x y z, of an adult brain with its cerebellum
FEWEST_VOXELS = 24  # across the head, per axis: below that no cortex is left

# Relative intensity on t1n, t1c, t2w, t2f; white matter on T1 is 1.
WHITE = (1.00, 1.00, 0.55, 0.62)
GREY = (0.74, 0.79, 0.78, 0.86)
DEEP_GREY = (0.85, 0.89, 0.66, 0.73)
FLUID = (0.28, 0.30, 1.70, 0.22)
VESSEL = (0.80, 2.00, 0.45, 0.55)
CHOROID = (0.55, 1.65, 1.25, 0.85)
DURA = (0.60, 1.55, 0.90, 0.75)
AGED_WHITE = (0.94, 0.94, 0.82, 1.27)


# ---------------------------------------------------------------- coordinates and random fields


@dataclass(frozen=True, eq=False)
class Frame:
    """The part of the grid that holds the head, and its voxel centres from the middle of the head.

    Anatomy is laid out in mm of an unscaled head: `axes`. Lesions are measured in true mm: `axes` times `scale`.
    """

    box: tuple[slice, slice, slice]
    axes: tuple[Float[np.ndarray, " X"], Float[np.ndarray, " Y"], Float[np.ndarray, " Z"]]
    spacing_mm: Spacing
    scale: float
    edge_mm: float  # width over which one tissue turns into the next, in mm of the unscaled head

    def mesh(self) -> tuple[Any, Any, Any]:
        """Returns the three axes, each along its own dimension."""
        x, y, z = (axis.astype(np.float32) for axis in self.axes)
        return x[:, None, None], y[None, :, None], z[None, None, :]


def frame_of(shape: Shape3, spacing_mm: Spacing) -> Frame:
    """Puts a head in the middle of a grid, scaled down where it does not fit. Raises ValueError for too few voxels."""
    fields = [n * size for n, size in zip(shape, spacing_mm, strict=True)]
    scale = min(1.0, *(field / (2 * half) for field, half in zip(fields, HALF_HEAD_MM, strict=True)))
    across = [2 * half * scale / size for half, size in zip(HALF_HEAD_MM, spacing_mm, strict=True)]
    if min(across) < FEWEST_VOXELS:
        coarse = min(across) < FEWEST_VOXELS * scale  # so few also where the whole head has room
        remedy = ["a smaller spacing"] * coarse + ["a larger shape"] * (scale < 1)
        raise ValueError(
            f"shape {shape} at {spacing_mm} mm leaves {min(across):.0f} voxels across the head; expected at least "
            f"{FEWEST_VOXELS} per axis: choose {' and '.join(remedy)}"
        )
    centres = [(np.arange(n) - (n - 1) / 2) * size / scale for n, size in zip(shape, spacing_mm, strict=True)]
    inside = [np.flatnonzero(np.abs(c) <= half) for c, half in zip(centres, HALF_HEAD_MM, strict=True)]
    x, y, z = (slice(int(found[0]), int(found[-1]) + 1) for found in inside)
    axes = (centres[0][x], centres[1][y], centres[2][z])
    return Frame((x, y, z), axes, spacing_mm, scale, max(1.2, max(spacing_mm) / scale))


def random_field(rng: np.random.Generator, frame: Frame, shortest_mm: float, longest_mm: float) -> Volume:
    """Draws a smooth random field, mean 0 and variance 1, of wavelengths between the two: waves of 256 mm / k."""
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


def soft(signed_mm: Any, width_mm: float) -> Volume:
    """Returns the share of a voxel inside a surface: 0 to 1 over `width_mm` of the signed distance, positive inside."""
    return np.asarray(np.clip(signed_mm / width_mm + 0.5, 0, 1), dtype=np.float32)


def ball(mesh: tuple[Any, Any, Any], centre: Sequence[Number], radii: Sequence[Number]) -> Volume:
    """Returns an approximate signed distance in mm to an ellipsoid, positive inside."""
    squares = sum(((u - c) / r) ** 2 for u, c, r in zip(mesh, centre, radii, strict=True))
    return np.asarray((1 - np.sqrt(squares)) * min(radii), dtype=np.float32)


# ---------------------------------------------------------------- anatomy


@dataclass(frozen=True, eq=False)
class Head:
    """Signed distances (mm, positive inside) and tissue shares of one patient."""

    brain: Bool[np.ndarray, "X Y Z"]
    depth: Volume  # below the brain's surface
    from_fluid: Volume  # to the nearest sulcus, fissure or outer surface
    ventricle: Volume
    grey: Volume  # share
    fluid: Volume  # share


def make_head(rng: np.random.Generator, frame: Frame) -> Head:
    """Draws one patient's brain: cerebrum with sulci, cerebellum, brain stem, ventricles."""
    mesh = x, y, z = frame.mesh()
    bend = random_field(rng, frame, 70, 150)
    below = np.where(z > -4, z / 64, (z + 4) / 42 - 4 / 64).astype(np.float32)  # the base of the cerebrum is flat
    cerebrum = (1 - np.sqrt((x / 67) ** 2 + (y / 85) ** 2 + below**2)) * 66 + 1.5 * bend
    cerebellum = ball(mesh, (0, -44, -40), (47, 31, 24)) + bend
    stem = ball(mesh, (0, -24, -38), (14, 12, 28))
    folds = np.abs(random_field(rng, frame, 15, 27)) * 3.6
    sulci = folds + 0.7 * np.maximum(cerebrum - 11, 0)  # they fade 11 mm below the surface
    fissure = np.abs(x + 0.8 * bend) + 30 * np.maximum(1 - np.sqrt((y / 48) ** 2 + ((z - 2) / 30) ** 2), 0)
    in_cerebrum = np.minimum(np.minimum(sulci, fissure), cerebrum)
    folia = np.abs(random_field(rng, frame, 6, 10)) * 1.4 + 0.12 * np.maximum(cerebellum, 0)
    in_cerebellum = np.minimum(np.minimum(np.minimum(folia, cerebellum), -cerebrum), np.float32(1e3)) + 0.6
    from_fluid = np.where(cerebrum > 0, in_cerebrum, np.where(stem > cerebellum, stem + 4, in_cerebellum))
    depth = np.maximum(np.maximum(cerebrum, cerebellum), stem).astype(np.float32)
    ventricle = _ventricles(mesh, float(rng.uniform(0.8, 1.4))) + 0.7 * bend
    fluid = np.maximum(soft(0.7 - from_fluid, frame.edge_mm), soft(ventricle, frame.edge_mm))
    grey = soft(3.7 - from_fluid, frame.edge_mm)
    return Head(depth > 0, depth, from_fluid.astype(np.float32), ventricle, grey, fluid)


def _ventricles(mesh: tuple[Any, Any, Any], size: float) -> Volume:
    x, y, z = mesh
    mirrored = (np.abs(x), y, z)
    body, atrium, front, temple = (9, 0, 15), (18, -37, 6), (10, 25, 10), (27, -14, -12)
    lateral = [(body, (4.5, 30, 6)), (atrium, (6, 15, 8)), (front, (6, 9, 8)), (temple, (4, 16, 4))]
    middle = [((0, -8, 2), (2.2, 11, 9)), ((0, -34, -35), (5, 5, 8))]
    parts = [ball(mirrored, centre, [size * r for r in radii]) for centre, radii in lateral]
    parts += [ball(mesh, centre, [size * r for r in radii]) for centre, radii in middle]
    return np.asarray(np.maximum.reduce(parts), dtype=np.float32)


def paint_head(rng: np.random.Generator, head: Head, frame: Frame) -> Float32[np.ndarray, "4 X Y Z"]:
    """Returns relative intensities of a head without metastases, but with everything that looks like one."""
    x, y, z = frame.mesh()
    edge = frame.edge_mm
    images = np.empty((len(SEQUENCES), *head.depth.shape), dtype=np.float32)
    for image, value in zip(images, WHITE, strict=True):
        image[:] = value
    texture = 1 + 0.035 * random_field(rng, frame, 7, 30)
    load = float(rng.uniform(0.2, 1.0))  # of white-matter disease
    patchy = random_field(rng, frame, 20, 60)
    spots = (random_field(rng, frame, 9, 14) - (3.1 - 0.6 * load)) * 3
    rim = head.ventricle + load * (3.0 + 2.0 * patchy)
    aged = np.maximum(soft(spots, edge), soft(rim, edge)) * soft(head.from_fluid - 5, edge)
    blend(images, aged, varied(rng, AGED_WHITE, 0.05))
    nuclei = [((11, -12, 4), (9, 14, 9)), ((26, 4, 2), (7, 16, 10)), ((14, 19, 6), (6, 9, 8))]
    deep = np.maximum.reduce([ball((np.abs(x), y, z), centre, radii) for centre, radii in nuclei])
    blend(images, soft(deep, edge), varied(rng, DEEP_GREY, 0.03))
    blend(images, head.grey, varied(rng, GREY, 0.04))
    images *= texture
    blend(images, head.fluid, varied(rng, FLUID, 0.05))
    plexus = ball((np.abs(x), y, z), (18, -38, 4), (2.8, 6.5, 3.2)) + 0.8 * patchy
    blend(images, soft(plexus, edge), varied(rng, CHOROID, 0.08))
    tubes = 1.2 - 6.5 * np.hypot(random_field(rng, frame, 28, 60), random_field(rng, frame, 28, 60))
    sinus = 2.6 - np.hypot(x, head.depth - 3.0) - 10 * (z < 8)
    vessels = np.maximum(np.minimum(tubes, 3.5 - head.from_fluid), sinus)
    blend(images, soft(vessels, edge), varied(rng, VESSEL, 0.10))
    blend(images, soft(1.3 - head.depth, edge) * soft(2 * patchy - 1.0, 1.0), varied(rng, DURA, 0.08))
    return images


def varied(rng: np.random.Generator, values: Sequence[float], share: float) -> list[float]:
    """Returns a tissue's intensities, each off by up to 1.7 times a share of itself."""
    return [float(value * (1 + share * rng.uniform(-1.7, 1.7))) for value in values]


def blend(images: Float32[np.ndarray, "4 X Y Z"], share: Volume, values: Sequence[float]) -> None:
    """Mixes a tissue into the images, in place, by its share of each voxel."""
    for channel, value in enumerate(values):
        images[channel] += share * (np.float32(value) - images[channel])
