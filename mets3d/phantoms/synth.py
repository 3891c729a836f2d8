"""Makes phantom patients: a stripped head with folded cortex and brain metastases whose truth is known exactly.

They exist to try the whole line without patient data. No threshold solves them: white-matter lesions of age are as
bright on t2f as oedema, vessels and choroid plexus as bright on t1c as a metastasis; which is which shows in the four
sequences together. Everything is drawn from (seed, case index) alone and laid out in mm: another grid shows the same
head, with lesions at the same places as far as they fit there, under other noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Int16, UInt8

from mets3d.data import Progress, quiet
from mets3d.data.cases import LABELS, SEQUENCES
from mets3d.data.nifti import write_image
from mets3d.ops.voxels import Shape3, Spacing
from mets3d.phantoms.anatomy import Frame, frame_of, make_head, paint_head, random_field
from mets3d.phantoms.lesions import grow_lesions

FIRST_NUMBER = 90_001
SMALLEST_MM = 0.001  # far below any scanner's; a header's affine cannot hold the tiniest numbers


@dataclass(frozen=True, eq=False)
class Phantom:
    """One patient in RAS+: int16 images by sequence, 0 outside the brain, and the true labels."""

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
    """Writes phantom patients OUT/BraTS-MET-90001-000/BraTS-MET-90001-000-{t1n,t1c,t2w,t2f,seg}.nii.gz.

    Returns their names. Case k depends on (seed, k, shape, spacing) alone. Axes point to RAS with the origin at
    (0, last y, 0) mm, as in the challenge's atlas files. Raises ValueError if `cases` is not in 1..9999 or a head has
    no room in `shape`.
    """
    if not 1 <= cases <= 9999:
        raise ValueError(f"expected 1 to 9999 cases, found {cases}")
    if seed < 0:
        raise ValueError(f"seed: expected 0 or more, found {seed}")
    if min(shape) < 1 or not all(math.isfinite(size) and size > 0 for size in spacing_mm):
        raise ValueError(f"expected positive voxel counts and sizes, found shape {shape} and spacing {spacing_mm} mm")
    if min(spacing_mm) < SMALLEST_MM:
        raise ValueError(f"spacing: expected voxel sizes of at least {SMALLEST_MM} mm, found {spacing_mm}")
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
    """Makes patient `index` of `seed` on a grid whose middle is the head's; a head too large for it is scaled down.

    1 to 12 metastases of 2 to 15 mm radius (that of a ball of equal volume): an enhancing rim (ET), around a necrotic
    core (NETC) in most above 4.5 mm, in most surrounded by oedema (SNFH) that spreads in white matter. Each is at least
    one voxel. Lesions are kept apart; one that finds no room is made smaller. Raises as `synthesise`.
    """
    frame = frame_of(shape, spacing_mm)
    anatomy_rng, lesion_rng, scanner_rng = (np.random.default_rng([seed, index, part]) for part in range(3))
    head = make_head(anatomy_rng, frame)
    images = paint_head(anatomy_rng, head, frame)
    labels = grow_lesions(lesion_rng, head, frame, images)
    scanned = _scan(scanner_rng, images, head.brain, frame)
    whole = np.zeros((len(SEQUENCES), *shape), dtype=np.int16)
    whole[(slice(None), *frame.box)] = scanned
    truth = np.zeros(shape, dtype=np.uint8)
    truth[frame.box] = labels
    return Phantom(dict(zip(SEQUENCES, whole, strict=True)), truth)


# ---------------------------------------------------------------- the scanner


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
