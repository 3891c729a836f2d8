"""Reads the arrays of one case that its pictures are made from: images, reference and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Integer

from mets3d.data.cases import Case
from mets3d.data.nifti import ImageVolume

Labels = Integer[np.ndarray, "X Y Z"]


@dataclass(frozen=True)
class CaseVolumes:
    """A case in RAS: images by sequence, 0 outside the brain; reference or None, predicted label maps by run."""

    name: str
    spacing_mm: tuple[float, float, float]
    images: Mapping[str, Float32[np.ndarray, "X Y Z"]]
    reference: Labels | None
    predictions: Mapping[str, Labels]


def read_volumes(case: Case, predictions: Mapping[str, Path], sequences: Sequence[str]) -> CaseVolumes:
    """Reads those of the sequences that exist, the reference, and the prediction of each run (label -> file).

    Raises FileNotFoundError or ValueError naming the file if one is missing, cannot be read or is on another grid.
    """
    from mets3d.data.native import image_onto, is_on_grid, labels_onto, reference_of
    from mets3d.data.nifti import read_labels
    from mets3d.data.reading import read_reference, read_scan, read_scan_header

    named = [name for name in sequences if name in case.sequences]
    if not named:
        raise FileNotFoundError(f"{case.name}: none of the sequences {', '.join(sequences)} is there")
    grid = read_scan_header(case, reference_of(case.sequences))  # on which predictions lie
    volumes = {name: image_onto(read_scan(case, name), grid) for name in named}
    first = volumes[named[0]]
    predicted = {label: read_labels(file).labels for label, file in predictions.items()}
    expected = read_reference(case) if case.labels is not None else None
    if expected is not None and not is_on_grid(expected, grid):
        expected = labels_onto(expected, grid)
    reference = None if expected is None else expected.labels
    for what, labels in {"reference": reference, **predicted}.items():
        if labels is not None and labels.shape != first.data.shape:
            raise ValueError(f"{case.name}: the scan has {first.data.shape} voxels, {what} has {labels.shape}")
    images = {name: shown(volume) for name, volume in volumes.items()}
    # The voxel size of the reference, by which the evaluation measures and numbers the lesions.
    return CaseVolumes(case.name, (expected or first).spacing_mm, images, reference, predicted)


def shown(image: ImageVolume) -> Float32[np.ndarray, "X Y Z"]:
    """Returns an image's values, shifted so that those outside the brain are 0."""
    return image.data - np.float32(image.background) if image.background else image.data
