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
from typing import Literal

import numpy as np
from jaxtyping import Int16, UInt8

from mets3d.data import Progress, quiet
from mets3d.data.cases import LABELS, SEQUENCES
from mets3d.data.nifti import write_image
from mets3d.ops.voxels import Shape3, Spacing
from mets3d.phantoms import easy
from mets3d.phantoms.annotation import annotated, check_noise
from mets3d.phantoms.mets import patient as mets
from mets3d.phantoms.names import MOST, phantom_name
from mets3d.phantoms.site_files import check_site_files, write_site_files

Difficulty = Literal["easy", "mets"]

SMALLEST_MM = 0.001  # far below any scanner's; a header's affine cannot hold the tiniest numbers
TRUTH = "truth"  # folder of true labels beside cases with annotation noise
HAND = 30  # random stream of annotation noise


@dataclass(frozen=True, eq=False)
class Phantom:
    """One patient in RAS+: int16 images by sequence, 0 outside the brain, and labels, true and as they were drawn."""

    images: dict[str, Int16[np.ndarray, "X Y Z"]]
    labels: UInt8[np.ndarray, "X Y Z"]  # as drawn: the truth unless there is annotation noise
    truth: UInt8[np.ndarray, "X Y Z"]


def synthesise(
    out: Path,
    cases: int,
    seed: int,
    *,
    shape: Shape3 = (240, 240, 155),
    spacing_mm: Spacing = (1.0, 1.0, 1.0),
    difficulty: Difficulty = "easy",
    annotation_noise: float = 0.0,
    progress: Progress = quiet,
) -> list[str]:
    """Writes phantom patients OUT/BraTS-MET-90001-000/BraTS-MET-90001-000-{t1n,t1c,t2w,t2f,seg}.nii.gz.

    Returns their names. Case k depends on (seed, k, shape, spacing, difficulty, noise) alone. Axes point to RAS with
    the origin at (0, last y, 0) mm, as in the challenge's atlas files. With annotation noise OUT/truth holds the true
    labels. With difficulty `mets` OUT/sites.csv and OUT/splits_by_site.json, for `data.split`, tell the sites. What an
    earlier call has left of both is removed. Raises ValueError if `cases` is not in 1..9999 or a head has no room in
    `shape`, and FileExistsError if a file of one of these names is somebody else's.
    """
    _check(cases, seed, shape, spacing_mm)
    check_noise(annotation_noise)
    check_site_files(out, written=difficulty == "mets")
    affine = np.diag([*spacing_mm, 1.0]).astype(np.float64)
    affine[1, 3] = (shape[1] - 1) * spacing_mm[1]
    names = [phantom_name(index) for index in range(cases)]
    for index, name in enumerate(names):
        patient = phantom(seed, index, shape, spacing_mm, difficulty=difficulty, annotation_noise=annotation_noise)
        for kind, volume in {**patient.images, LABELS: patient.labels}.items():
            write_image(out / name / f"{name}-{kind}.nii.gz", volume, affine)
        truth = out / TRUTH / f"{name}-{LABELS}.nii.gz"
        truth.unlink(missing_ok=True)
        if annotation_noise:
            write_image(truth, patient.truth, affine)
        progress(index + 1, cases, name)
    sites = {name: mets.site_of(seed, index) for index, name in enumerate(names)} if difficulty == "mets" else {}
    write_site_files(out, sites)
    return names


def _check(cases: int, seed: int, shape: Shape3, spacing_mm: Spacing) -> None:
    if not 1 <= cases <= MOST:
        raise ValueError(f"expected 1 to {MOST} cases, found {cases}")
    if seed < 0:
        raise ValueError(f"seed: expected 0 or more, found {seed}")
    if min(shape) < 1 or not all(math.isfinite(size) and size > 0 for size in spacing_mm):
        raise ValueError(f"expected positive voxel counts and sizes, found shape {shape} and spacing {spacing_mm} mm")
    if min(spacing_mm) < SMALLEST_MM:
        raise ValueError(f"spacing: expected voxel sizes of at least {SMALLEST_MM} mm, found {spacing_mm}")


def phantom(
    seed: int,
    index: int,
    shape: Shape3,
    spacing_mm: Spacing,
    *,
    difficulty: Difficulty = "easy",
    annotation_noise: float = 0.0,
) -> Phantom:
    """Makes patient `index` of `seed` on a grid whose middle is the head's; a head too large for it is scaled down.

    `difficulty`: `easy` (mets3d.phantoms.easy) or `mets` (mets3d.phantoms.mets). Raises as `synthesise`.
    """
    check_noise(annotation_noise)
    makers = {"easy": easy.make_patient, "mets": mets.make_patient}
    if difficulty not in makers:
        raise ValueError(f"difficulty: expected one of {', '.join(makers)}, found {difficulty!r}")
    scanned, labels, frame = makers[difficulty](seed, index, shape, spacing_mm)
    whole = np.zeros((len(SEQUENCES), *shape), dtype=np.int16)
    whole[(slice(None), *frame.box)] = scanned
    truth = np.zeros(shape, dtype=np.uint8)
    truth[frame.box] = labels
    drawn = annotated(np.random.default_rng([seed, index, HAND]), truth, whole[0] > 0, spacing_mm, annotation_noise)
    return Phantom(dict(zip(SEQUENCES, whole, strict=True)), drawn, truth)
