"""Prepares one case for the network: crops to the brain, resamples, normalises inside the brain; and goes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float16, Float32, UInt8

from mets3d.data import DataError
from mets3d.data.brain import brain_of
from mets3d.data.channels import compose
from mets3d.data.nifti import ImageVolume, LabelVolume
from mets3d.data.normalise import Normalisation, normalised
from mets3d.data.spacing import Wanted, stored_shape
from mets3d.data.stored_case import Box3, Entry
from mets3d.data.survival import Row, compared
from mets3d.ops.lesion_resample import resize_lesions
from mets3d.ops.resample import resize, resize_labels, resize_probabilities
from mets3d.ops.voxels import Box, bounding_box
from mets3d.regions import BACKGROUND, RC_LABEL
from mets3d.settings.channels import sequences_of
from mets3d.wording import counted

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
    images: Mapping[str, ImageVolume],
    labels: LabelVolume | None,
    spacing_mm: Wanted,
    margin_voxels: int,
    cavity: bool,
    *,
    intensities: Normalisation = Z_SCORE,
    brain: Bool[np.ndarray, "X Y Z"] | None = None,
    channels: Sequence[str] | None = None,
) -> Prepared:
    """Prepares one case: RAS images of one grid by sequence, and the reference if known.

    `channels`: sequences, and differences of two (`mets3d.data.channels`); None: the images in their order. What is not
    among the images is missing: 0 everywhere.

    1. Brain, unless given: where any sequence is not its background (`mets3d.data.brain`), so that negative values
       belong to it.
    2. Crop to the brain's bounding box and `margin_voxels` around it, within the volume.
    3. Resample to `spacing_mm`, or what that rule makes of the case's own (`mets3d.data.spacing`), where the size
       differs: images linearly or by averaging, since a cubic kernel overshoots at the zeros around a stripped brain;
       the brain to what fills most of a voxel; labels lesion by lesion (`mets3d.ops.lesion_resample`).
    4. Normalise the brain's intensities, per sequence (`mets3d.data.normalise`); exactly 0 outside.

    Raises DataError if there is no image or no brain, if a sequence has values that are not finite, is constant in the
    brain, or varies there no more than by rounding.
    """
    wanted = tuple(images) if channels is None else tuple(channels)
    sources = sequences_of(wanted)
    images = {name: images[name] for name in sources if name in images}
    if not images:
        raise DataError(f"expected one of the sequences {', '.join(sources)}, found none")
    _check_shapes([*images.values()], labels)
    first = next(iter(images.values()))
    brain = brain_of(images.values()) if brain is None else brain
    crop = bounding_box(brain, margin_voxels)
    if crop is None:
        raise DataError("expected a brain, found zeros in all sequences")
    box = _ends(crop)
    own_mm = first.spacing_mm
    size = stored_shape([stop - start for start, stop in box], own_mm, spacing_mm)
    inside = resize_labels(brain[crop].view(np.uint8), size) == 1
    stored = np.zeros((len(sources), *size), dtype=np.float16)
    normal = dict(zip(sources, stored, strict=True))
    moments = {
        name: _normalise(image.data[crop], name, inside, intensities, out=normal[name])
        for name, image in images.items()
    }
    missing = tuple(name for name in sources if name not in images)
    if wanted != sources:
        stored = compose(normal, wanted, missing)
    mean, std = zip(*(moments.get(channel, (None, None)) for channel in wanted), strict=True)
    x, y, z = first.data.shape
    entry = Entry((x, y, z), own_mm, box, size, mean, std, missing)
    if labels is None:
        return Prepared(stored, None, entry)
    own = labels.labels[crop]
    kept = own if cavity else np.where(own == RC_LABEL, np.uint8(BACKGROUND), own)
    new = resize_lesions(kept, size)
    return Prepared(stored, new, entry, None if new is kept else compared(kept, new, own_mm, cavity=cavity))


def _check_shapes(images: Sequence[ImageVolume], labels: LabelVolume | None) -> None:
    shapes = [image.data.shape for image in images] + ([] if labels is None else [labels.labels.shape])
    if len(set(shapes)) > 1:
        raise DataError(f"expected volumes of one shape, found {', '.join(map(str, shapes))}")


def _normalise(
    values: Float32[np.ndarray, "X Y Z"],
    sequence: str,
    brain: Bool[np.ndarray, "x y z"],
    intensities: Normalisation,
    out: Float16[np.ndarray, "x y z"],
) -> tuple[float, float]:
    """Puts a sequence's crop, resampled and normalised, into `out`. Returns mean and std of the brain before."""
    bad = values.size - int(np.count_nonzero(np.isfinite(values)))
    if bad:
        raise DataError(f"{sequence} is NaN or infinite in {counted(bad, 'voxel')}")
    inside = (values if values.shape == brain.shape else resize(values, brain.shape))[brain]
    out[brain], mean, std = normalised(inside, sequence, intensities)
    return mean, std


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
