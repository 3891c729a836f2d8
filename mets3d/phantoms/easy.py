"""Makes the easy patients of the quickstart: few, large and bright metastases, one scanner."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, Int16, UInt8

from mets3d.ops.voxels import Shape3, Spacing
from mets3d.phantoms.anatomy import Frame, frame_of, make_head, paint_head, random_field
from mets3d.phantoms.lesions import grow_lesions


def make_patient(
    seed: int, index: int, shape: Shape3, spacing_mm: Spacing
) -> tuple[Int16[np.ndarray, "4 X Y Z"], UInt8[np.ndarray, "X Y Z"], Frame]:
    """Returns scans and labels of the box that holds the head, and where on the grid that is.

    1 to 12 metastases of 2 to 15 mm radius (that of a ball of equal volume): an enhancing rim (ET), around a necrotic
    core (NETC) in most above 4.5 mm, in most surrounded by oedema (SNFH) that spreads in white matter. Each is at least
    one voxel. Lesions are kept apart; one that finds no room is made smaller.
    """
    frame = frame_of(shape, spacing_mm)
    anatomy_rng, lesion_rng, scanner_rng = (np.random.default_rng([seed, index, part]) for part in range(3))
    head = make_head(anatomy_rng, frame)
    images = paint_head(anatomy_rng, head, frame)
    labels = grow_lesions(lesion_rng, head, frame, images)
    return _scan(scanner_rng, images, head.brain, frame), labels, frame


def _scan(
    rng: np.random.Generator, images: Float32[np.ndarray, "4 X Y Z"], brain: Bool[np.ndarray, "X Y Z"], frame: Frame
) -> Int16[np.ndarray, "4 X Y Z"]:
    """Applies gain, contrast curve, coil bias and Rician noise; values are at least 1 in the brain and 0 outside."""
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
