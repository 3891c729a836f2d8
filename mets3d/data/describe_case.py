"""Describes one case in numbers: grid, brain, intensities of each sequence, labels, lesions and their places.

Nothing but numbers is kept, so that a data set of any size is described with one case in memory at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from mets3d.data.brain import brain_of
from mets3d.data.case_summary import CaseSummary
from mets3d.data.cases import Finding
from mets3d.data.describe_lesions import DescribedLesion, describe_lesions
from mets3d.data.describe_places import CasePlaces, describe_places
from mets3d.data.nifti import ImageVolume, LabelVolume
from mets3d.ops.voxels import Box, Spacing, bounding_box
from mets3d.regions import BACKGROUND, LABEL_NAMES

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
MM3_IN_ML = 1000.0

Image = Float32[np.ndarray, "X Y Z"]
Labels = UInt8[np.ndarray, "X Y Z"]
Brain = Bool[np.ndarray, "X Y Z"]


@dataclass(frozen=True)
class Intensities:
    """One sequence's values inside the brain, and how far its labels stand out from them."""

    lowest: float
    highest: float
    mean: float
    deviation: float
    percentiles: dict[int, float]  # those of PERCENTILES
    contrast: dict[str, float]  # label's name -> median of its voxels, in standard deviations above the brain's mean

    @property
    def peak(self) -> float:
        """Returns the highest value in standard deviations above the mean; 0 for an image that is constant."""
        return (self.highest - self.mean) / self.deviation if self.deviation else 0.0


@dataclass(frozen=True)
class CaseNumbers:
    """Numbers of one case. What could not be read is absent: see its findings."""

    name: str
    patient: str
    shape: tuple[int, ...]  # along X Y Z of RAS+
    spacing_mm: Spacing | None
    orientation: str  # of the file's own axes, for example LPS
    sequences: tuple[str, ...]  # that could be read
    brain_ml: float
    intensities: dict[str, Intensities] = field(default_factory=dict)
    label_mm3: dict[int, float] | None = None  # without the background; None without a reference that can be read
    lesions: dict[str, list[DescribedLesion]] = field(default_factory=dict)  # by region

    @property
    def voxels(self) -> int:
        """Returns the number of voxels of one scan; 0 where none could be read."""
        return int(np.prod(self.shape)) if self.shape else 0

    @property
    def labels(self) -> tuple[int, ...]:
        """Returns the labels in the reference, without the background, ascending."""
        return tuple(sorted(self.label_mm3 or {}))

    def volume_mm3(self, labels: tuple[int, ...]) -> float:
        """Returns the volume of a union of labels."""
        return sum((self.label_mm3 or {}).get(label, 0.0) for label in labels)


@dataclass(frozen=True)
class Described:
    """One case's numbers, the places of its tumour, and its findings."""

    numbers: CaseNumbers
    places: CasePlaces | None
    findings: list[Finding]
    summary: CaseSummary  # for the findings of the whole set


def describe_volumes(
    name: str, patient: str, images: Mapping[str, ImageVolume], labels: LabelVolume | None
) -> tuple[CaseNumbers, CasePlaces | None]:
    """Returns the numbers of one case from its volumes, and where its tumour lies in the box around its brain.

    The brain is that of the scans with the first one's shape (`mets3d.data.brain`). Volumes are in mm3 by
    the reference's own voxel size. Without a scan of the reference's shape lesions have no place.
    """
    first = next(iter(images.values()), labels)
    if first is None:
        return CaseNumbers(name, patient, (), None, "", (), 0.0), None
    brain = _brain(images, first.shape)
    box = None if brain is None else bounding_box(brain)
    numbers = CaseNumbers(
        name,
        patient,
        first.shape,
        first.spacing_mm,
        first.source.orientation,
        tuple(images),
        _brain_ml(brain, first.spacing_mm),
        _intensities(images, brain, labels),
        None if labels is None else _label_mm3(labels),
        {} if labels is None else describe_lesions(labels, _same_grid(box, first.shape, labels)),
    )
    if labels is None or brain is None or box is None or labels.shape != first.shape:
        return numbers, None
    return numbers, describe_places(brain, labels.labels, box)


# ---------------------------------------------------------------- parts


def _brain(images: Mapping[str, ImageVolume], shape: tuple[int, ...]) -> Brain | None:
    """Returns the brain of the scans of a shape; None without any."""
    own = [image for image in images.values() if image.shape == shape]
    return brain_of(own) if own else None


def _brain_ml(brain: Brain | None, spacing_mm: Spacing) -> float:
    return 0.0 if brain is None else float(np.count_nonzero(brain) * np.prod(spacing_mm)) / MM3_IN_ML


def _same_grid(box: Box | None, shape: tuple[int, ...], labels: LabelVolume) -> Box | None:
    return box if labels.shape == shape else None


def _intensities(
    images: Mapping[str, ImageVolume], brain: Brain | None, labels: LabelVolume | None
) -> dict[str, Intensities]:
    found = {}
    for sequence, image in images.items():
        inside = brain_of([image]) if brain is None or brain.shape != image.shape else brain
        own = labels.labels if labels is not None and labels.shape == image.shape else None
        described = _of_sequence(image.data, inside, own)
        if described is not None:
            found[sequence] = described
    return found


def _of_sequence(image: Image, inside: Brain, labels: Labels | None) -> Intensities | None:
    """Describes one sequence's finite values; None without any."""
    values = image[inside]
    finite = np.isfinite(values)
    if not finite.all():
        values = values[finite]
    if not values.size:
        return None
    mean, deviation = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64))
    contrast = {} if labels is None else _contrast(image, labels, mean, deviation)
    quantiles = np.percentile(values, [0, *PERCENTILES, 100], overwrite_input=True)
    lowest, *between, highest = (float(value) for value in quantiles)
    return Intensities(lowest, highest, mean, deviation, dict(zip(PERCENTILES, between, strict=True)), contrast)


def _contrast(image: Image, labels: Labels, mean: float, deviation: float) -> dict[str, float]:
    """Returns the median of each known label's voxels in standard deviations above the brain's mean."""
    box = bounding_box(labels != BACKGROUND)
    if box is None or not deviation:
        return {}
    image, labels = image[box], labels[box]
    found = {}
    for label, name in LABEL_NAMES.items():
        values = image[labels == label] if label != BACKGROUND else image[:0]
        values = values[np.isfinite(values)]
        if values.size:
            found[name] = (float(np.median(values)) - mean) / deviation
    return found


def _label_mm3(labels: LabelVolume) -> dict[int, float]:
    counts = np.bincount(labels.labels.ravel(), minlength=BACKGROUND + 1)
    voxel_mm3 = float(np.prod(labels.spacing_mm))
    return {label: int(counts[label]) * voxel_mm3 for label in np.flatnonzero(counts).tolist() if label != BACKGROUND}
