"""Makes scans of painted heads, each as its site's scanner would: five sites, one of them unlike the others."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int16

from mets3d.phantoms.anatomy import Frame, random_field


@dataclass(frozen=True)
class Site:
    """A site's scanner and protocol. Sequences in the order t1n, t1c, t2w, t2f."""

    name: str
    field_tesla: float
    slice_mm: tuple[float, float, float, float]  # thickness, along z
    blur_mm: float  # width (standard deviation) of a point in the plane
    noise: float  # of a voxel of 1 mm3, relative to white matter on T1
    bias: float  # spread of the coil's sensitivity over the head
    scale: tuple[float, float]  # range of the intensity of white matter on T1
    contrast: tuple[float, float, float, float]  # exponent of the intensities


SITES = (
    Site("A", 3.0, (1.0, 1.0, 1.0, 1.0), 0.40, 0.015, 0.10, (400, 700), (1.00, 1.00, 1.00, 1.00)),
    Site("B", 3.0, (1.0, 1.0, 2.0, 2.0), 0.55, 0.018, 0.18, (90, 160), (1.10, 1.05, 0.90, 1.05)),
    Site("C", 1.5, (2.0, 1.5, 2.5, 3.0), 0.65, 0.028, 0.08, (200, 350), (0.85, 0.90, 1.00, 0.90)),
    Site("D", 1.5, (3.0, 1.0, 3.0, 3.0), 0.50, 0.024, 0.12, (1200, 2400), (0.95, 1.00, 0.85, 1.10)),
    Site("E", 1.5, (3.0, 3.0, 3.0, 3.0), 0.80, 0.032, 0.22, (600, 900), (0.80, 0.85, 1.10, 0.85)),
)
HELD_OUT = SITES[-1]  # thick slices, strong bias, flat contrast: what a network meets in a new hospital


def scan(
    rng: np.random.Generator,
    site: Site,
    images: Float32[np.ndarray, "4 X Y Z"],
    brain: Bool[np.ndarray, "X Y Z"],
    frame: Frame,
) -> Int16[np.ndarray, "4 X Y Z"]:
    """Returns the scans on the grid of the images, at least 1 in the brain and 0 outside.

    Intensities bend to the site's contrast, the coil's bias is laid over them, the plane is blurred, slices are
    averaged over their thickness and get Rician noise, and are interpolated along z.
    """
    coil = random_field(rng, frame, 100, 256)
    scanned = np.zeros(images.shape, dtype=np.int16)
    for image, result, thickness, exponent in zip(images, scanned, site.slice_mm, site.contrast, strict=True):
        gain = float(rng.uniform(*site.scale))
        shading = np.exp(site.bias * (0.9 * coil + 0.4 * random_field(rng, frame, 100, 256)))
        signal = np.maximum(image, 0.02) ** np.float32(exponent * rng.uniform(0.95, 1.05)) * shading
        acquire, restore = slices(frame, thickness)
        signal = np.matmul(_blurred(signal, site.blur_mm, frame), acquire.T)
        noise = site.noise * _noise_of_voxel(frame, thickness)
        real = signal + noise * rng.standard_normal(signal.shape, dtype=np.float32)
        measured = np.hypot(real, noise * rng.standard_normal(signal.shape, dtype=np.float32))
        values = gain * np.matmul(measured, restore.T)
        result[brain] = np.clip(np.rint(values[brain]), 1, np.iinfo(np.int16).max)
    return scanned


def slices(
    frame: Frame, thickness_mm: float
) -> tuple[Float32[np.ndarray, "slices Z"], Float32[np.ndarray, "Z slices"]]:
    """Returns the matrices that average planes of the grid to slices and interpolate those back to planes.

    Both are the identity where slices are not thicker than the grid's planes. Rows sum to 1.
    """
    planes, size = len(frame.axes[2]), frame.spacing_mm[2]
    if thickness_mm <= size * 1.001:
        same = np.eye(planes, dtype=np.float32)
        return same, same
    count = max(2, math.ceil(planes * size / thickness_mm))
    middles = (np.arange(planes) + 0.5) * size
    centres = (np.arange(count) + 0.5) * thickness_mm + (planes * size - count * thickness_mm) / 2
    low = np.maximum(middles[None] - size / 2, centres[:, None] - thickness_mm / 2)
    high = np.minimum(middles[None] + size / 2, centres[:, None] + thickness_mm / 2)
    overlap = np.maximum(high - low, 0)
    acquire = overlap / overlap.sum(1, keepdims=True)
    restore = np.maximum(1 - np.abs(middles[:, None] - centres[None]) / thickness_mm, 0)
    restore /= restore.sum(1, keepdims=True)
    return acquire.astype(np.float32), restore.astype(np.float32)


def _noise_of_voxel(frame: Frame, thickness_mm: float) -> np.float32:
    """Returns the noise of a voxel relative to one of 1 mm3: larger voxels hold more signal."""
    x_mm, y_mm, z_mm = frame.spacing_mm
    return np.float32(1 / math.sqrt(x_mm * y_mm * max(z_mm, thickness_mm)))


def _blurred(image: Float32[np.ndarray, "X Y Z"], blur_mm: float, frame: Frame) -> Float32[np.ndarray, "X Y Z"]:
    from scipy.ndimage import gaussian_filter1d

    for axis in (0, 1):
        sigma = blur_mm / frame.spacing_mm[axis]
        if sigma > 0.15:  # below that the next voxel gets nothing
            image = gaussian_filter1d(image, sigma, axis=axis, truncate=3.0, output=np.float32)
    return image
