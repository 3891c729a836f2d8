"""Prepares one case for the network: crops to the brain, resamples, normalises inside the brain; and goes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float16, Float32, UInt8

from mets3d.data import DataError
from mets3d.data.brain import brain_of
from mets3d.data.cases import SEQUENCES
from mets3d.data.nifti import ImageVolume, LabelVolume
from mets3d.data.normalise import Normalisation, normalised
from mets3d.data.spacing import Wanted, stored_shape
from mets3d.data.stored_case import Box3, Entry
from mets3d.data.survival import Row, compared
from mets3d.ops.lesion_resample import resize_lesions
from mets3d.ops.resample import resize, resize_labels, resize_probabilities
from mets3d.ops.voxels import Box, bounding_box
from mets3d.regions import BACKGROUND, RC_LABEL

Z_SCORE = Normalisation()


@dataclass(frozen=True, eq=False)
class Prepared:
    """One case as the network sees it, and its entry.

    survival: the lesions before and after resampling, see `mets3d.data.survival`; None where nothing was resampled, or
    without a reference.
    """

    image: Float16[np.ndarray, "C X Y Z"]
    labels: UInt8[np.ndarray, "X Y Z"] | None
    entry: Entry
    survival: list[Row] | None = None


def prepare(
    images: Sequence[ImageVolume],
    labels: LabelVolume | None,
    spacing_mm: Wanted,
    margin_voxels: int,
    cavity: bool,
    *,
    intensities: Normalisation = Z_SCORE,
    brain: Bool[np.ndarray, "X Y Z"] | None = None,
    names: Sequence[str] = SEQUENCES,
) -> Prepared:
    """Prepares one case: RAS images of one grid, in the order of `names`, and the reference if known.

    1. Brain, unless given: where any sequence is not its background (`mets3d.data.brain`), so that negative values
       belong to it.
    2. Crop to the brain's bounding box and `margin_voxels` around it, within the volume.
    3. Resample to `spacing_mm`, or what that rule makes of the case's own (`mets3d.data.spacing`), where the size
       differs: images linearly or by averaging, since a cubic kernel overshoots at the zeros around a stripped brain;
       the brain to what fills most of a voxel; labels lesion by lesion (`mets3d.ops.lesion_resample`).
    4. Normalise the brain's intensities, per sequence (`mets3d.data.normalise`); exactly 0 outside.

    Raises DataError if there is no brain, if a sequence has values that are not finite, is constant in the brain, or
    varies there no more than by rounding.
    """
    shape = images[0].data.shape
    arrays = [image.data for image in images] + ([] if labels is None else [labels.labels])
    if any(array.shape != shape for array in arrays):
        raise DataError(f"expected volumes of one shape, found {', '.join(str(array.shape) for array in arrays)}")
    brain = brain_of(images) if brain is None else brain
    crop = bounding_box(brain, margin_voxels)
    if crop is None:
        raise DataError("expected a brain, found zeros in all sequences")
    box = _ends(crop)
    own_mm = images[0].spacing_mm
    size = stored_shape([stop - start for start, stop in box], own_mm, spacing_mm)
    inside = resize_labels(brain[crop].view(np.uint8), size) == 1
    stored = np.zeros((len(images), *size), dtype=np.float16)
    statistics = []
    for image, name, channel in zip(images, names, stored, strict=True):
        part = image.data[crop]
        bad = part.size - int(np.count_nonzero(np.isfinite(part)))
        if bad:
            raise DataError(f"{name} has {bad} voxels that are NaN or infinite")
        values = (part if part.shape == size else resize(part, size))[inside]
        channel[inside], *moments = normalised(values, name, intensities)
        statistics.append(moments)
    mean, std = zip(*statistics, strict=True)
    x, y, z = shape
    entry = Entry((x, y, z), own_mm, box, size, mean, std)
    if labels is None:
        return Prepared(stored, None, entry)
    own = labels.labels[crop]
    kept = own if cavity else np.where(own == RC_LABEL, np.uint8(BACKGROUND), own)
    new = resize_lesions(kept, size)
    return Prepared(stored, new, entry, None if new is kept else compared(kept, new, own_mm, cavity=cavity))


def put_back(
    probabilities: Float32[np.ndarray, "R x y z"], entry: Entry, outside: float | Sequence[float] = 0.0
) -> Float32[np.ndarray, "R X Y Z"]:
    """Puts probabilities on the stored grid back on the case's own RAS grid: resized to the crop and pasted.

    Around the crop each channel is `outside` (one value, or one a channel: 1 for a background channel). Exact where
    nothing was resampled; a stored label map, as probabilities 0 and 1, comes back exactly where voxels were divided
    into whole parts. Raises DataError if the shape is not the entry's.
    """
    if probabilities.shape[1:] != entry.stored_shape:
        raise DataError(
            f"expected probabilities on the stored grid {entry.stored_shape}, found {probabilities.shape[1:]}"
        )
    channels = len(probabilities)
    around = np.broadcast_to(np.asarray(outside, dtype=np.float32), (channels,))
    whole = np.empty((channels, *entry.shape), dtype=np.float32)
    size = tuple(stop - start for start, stop in entry.box)
    if size != entry.shape:
        whole[:] = around[:, None, None, None]
    x, y, z = (slice(start, stop) for start, stop in entry.box)
    for channel, probability in enumerate(probabilities):
        whole[channel, x, y, z] = resize_probabilities(probability, size)
    return whole


def _ends(box: Box) -> Box3:
    """Returns the first and one past the last voxel of a box, per axis."""
    x, y, z = ((side.start, side.stop) for side in box)
    return x, y, z
