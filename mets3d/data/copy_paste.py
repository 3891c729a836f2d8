"""Pastes a lesion of another case into a sample, with its labels and a soft edge.

A lesion is pasted whole: the part of the whole tumour that is connected to it, with its oedema and its other cores. It
lies where the sample's brain has neither lesion nor cavity. Its edge of EDGE_MM is a blend,

    w (donor + shift) + (1 - w) own,    w from 1 on the lesion to 0 at EDGE_MM,

in which both are z-scored already, and the shift makes their means in the edge agree, sequence by sequence: a lesion
keeps its contrast to the tissue around it, and the edge is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int16, Integer, Num, UInt8
from torch import Tensor

from mets3d.data.places import Places, lesion_voxels
from mets3d.data.stored_case import StoredCase
from mets3d.ops.resample import resize, shape_at
from mets3d.ops.voxels import Box, Shape3, Spacing
from mets3d.regions import WT

EDGE_MM = 4.0
EDGE_VOXELS = 2.5  # at least, so that two voxels of tissue lie between a pasted lesion and another
DONORS, TRIES = 4, 20  # lesions that are looked at for a sample, and places for each
SAME_SIZE = 0.02  # relative difference of voxel sizes up to which a lesion is pasted as it is


class Voxels(NamedTuple):
    """What a sample has read of its case; `lesions` numbers those of some regions, or is None."""

    image: Num[Tensor, "C X Y Z"]
    labels: UInt8[Tensor, "X Y Z"]
    lesions: Integer[Tensor, "R X Y Z"] | None


@dataclass(frozen=True)
class CopyPaste:
    """Pastes with this probability a lesion of one of these places.

    patch: the middle of what is read, in which a lesion is pasted; one that takes more than half of a side is not.
    lesions_of: the regions whose lesions a sample numbers.
    """

    probability: float
    places: Places
    patch: Shape3
    lesions_of: tuple[str, ...] = ()

    def apply(self, own: Voxels, case: StoredCase, read: Callable[[str], StoredCase], rng: np.random.Generator) -> None:
        """Writes a lesion into the voxels of a sample of `case`, or leaves them as they are.

        They stay where no lesion of another case fits within DONORS x TRIES draws: one that lacks a sequence which the
        sample has does not, nor one that is not finite.
        """
        if rng.random() >= self.probability:
            return
        for _ in range(DONORS):
            lesion = self.places.lesion(rng.random(), not_of=case.name)
            if lesion is None:
                return
            piece = self._piece(read(lesion.case), lesion.number, case.entry.stored_spacing_mm)
            box = None if piece is None else _free_place(piece, own, self.patch, rng)
            if piece is not None and box is not None and _shows(piece, own.image[(slice(None), *box)]):
                _paste(piece, own, box)
                return

    def _piece(self, donor: StoredCase, lesion: int, spacing_mm: Spacing) -> Piece | None:
        voxels = _connected(donor, lesion_voxels(donor, lesion)[0])
        own_mm = donor.entry.stored_spacing_mm
        sides = (np.ptp(voxels, axis=0) + 1) * own_mm
        if (sides > np.multiply(self.patch, spacing_mm) / 2).any():
            return None
        return cut_out(donor, voxels, spacing_mm, self.lesions_of)


@dataclass(frozen=True)
class Piece:
    """A lesion cut out of its case with what lies around it.

    weight: its share where it is pasted, 1 on the lesion, falling to 0 around it, 0 on what else is not healthy tissue.
    numbers: those of its lesions in each region, from 1 without a gap.
    """

    image: Float32[np.ndarray, "C x y z"]
    labels: UInt8[np.ndarray, "x y z"]
    numbers: Int16[np.ndarray, "R x y z"]
    weight: Float32[np.ndarray, "x y z"]

    @property
    def lesion(self) -> Bool[np.ndarray, "x y z"]:
        """Where the lesion is."""
        inside: Bool[np.ndarray, "x y z"] = self.labels > 0
        return inside


def cut_out(
    donor: StoredCase, voxels: Integer[np.ndarray, "n 3"], spacing_mm: Spacing, regions: Sequence[str] = ()
) -> Piece | None:
    """Cuts a lesion of these voxels out of its case, at a voxel size; None if nothing is left of it or of its image.

    Where the case has another voxel size the image is resized, and labels are those of the nearest voxel.
    """
    own_mm = donor.entry.stored_spacing_mm
    edge = np.ceil(np.divide(_edge_mm(np.maximum(own_mm, spacing_mm)), own_mm)).astype(int)
    low = np.maximum(voxels.min(axis=0) - edge, 0)
    high = np.minimum(voxels.max(axis=0) + 1 + edge, donor.shape)
    x, y, z = (slice(int(start), int(stop)) for start, stop in zip(low, high, strict=True))
    image = donor.image((x, y, z)).float().numpy()
    labels = donor.labels((x, y, z)).numpy()
    lesion = np.zeros(labels.shape, dtype=bool)
    lesion[tuple((voxels - low).T)] = True
    numbers = [donor.instances(region, (x, y, z)) * lesion for region in regions]
    healthy = (image != 0).any(axis=0) & (labels == 0)
    masks = [labels * lesion, healthy | lesion, *numbers]
    if (np.abs(np.divide(own_mm, spacing_mm) - 1) > SAME_SIZE).any():
        shape = shape_at(labels.shape, own_mm, spacing_mm)
        image, masks = resize(image, shape), [_nearest(mask, shape) for mask in masks]
    labels, usable, *numbered = masks
    if not labels.any() or not np.isfinite(image).all():
        return None
    # With a 0 before, which keeps its place as the smallest, the numbers that are left are counted from 1.
    counted = [np.unique(np.append(0, one), return_inverse=True)[1][1:] for one in numbered]
    shares = _weight(labels > 0, usable, spacing_mm)
    return Piece(image, labels, np.array(counted, dtype=np.int16).reshape(-1, *labels.shape), shares)


def _connected(case: StoredCase, voxel: Integer[np.ndarray, "3"]) -> Integer[np.ndarray, "n 3"]:
    """Returns the voxels of the whole tumour that are connected to one of them."""
    voxels, offsets = case.foreground(WT.name), case.lesions(WT.name)
    found = int(np.flatnonzero((voxels == voxel).all(axis=1))[0])
    number = int(np.searchsorted(offsets, found, side="right"))
    return voxels[int(offsets[number - 1]) : int(offsets[number])]


def _nearest(mask: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    places = [((np.arange(new) + 0.5) * (old / new)).astype(int) for old, new in zip(mask.shape, shape, strict=True)]
    return mask[np.ix_(*places)]


def _weight(
    lesion: Bool[np.ndarray, "x y z"], usable: Bool[np.ndarray, "x y z"], spacing_mm: Spacing
) -> Float32[np.ndarray, "x y z"]:
    """Returns the share of the donor: by the distance to the lesion, and 0 where the donor is not usable."""
    from scipy.ndimage import distance_transform_edt

    # A layer around the box is not usable, so that nothing ends at its faces.
    beyond = distance_transform_edt(np.pad(usable, 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    away = distance_transform_edt(~lesion, sampling=spacing_mm)
    share = np.minimum(1 - away / _edge_mm(spacing_mm), beyond / np.maximum(beyond + away, 1e-6)).clip(0, 1)
    share[lesion] = 1
    return np.asarray(share * share * (3 - 2 * share), dtype=np.float32)


def _edge_mm(spacing_mm: Sequence[float] | np.ndarray) -> float:
    return max(EDGE_MM, EDGE_VOXELS * float(max(spacing_mm)))


# ---------------------------------------------------------------- in the sample


def _free_place(piece: Piece, own: Voxels, patch: Shape3, rng: np.random.Generator) -> Box | None:
    """Draws a box for the piece: its lesion inside the brain, and no lesion or cavity where it has a weight."""
    image, labels = own.image.numpy(), own.labels.numpy()
    shape, touched, lesion = np.array(labels.shape), piece.weight > 0, piece.lesion
    around = np.array([(places.min(), places.max() + 1) for places in lesion.nonzero()])
    middle = (shape - patch) // 2
    low = np.maximum(middle - around[:, 0], 0)
    high = np.minimum(middle + np.array(patch) - around[:, 1], shape - lesion.shape)
    if (high < low).any():
        return None
    for draws in rng.random((TRIES, 3)):
        start = low + (draws * (high - low + 1)).astype(int)
        x, y, z = (slice(int(at), int(at) + n) for at, n in zip(start, lesion.shape, strict=True))
        if not labels[x, y, z][touched].any() and image[:, x, y, z][:, lesion].any(axis=0).all():
            return x, y, z
    return None


def _shows(piece: Piece, around: Num[Tensor, "C x y z"]) -> bool:
    """Returns whether the piece has every sequence that the sample has where it would lie."""
    return bool((piece.image.any(axis=(1, 2, 3)) | ~around.numpy().any(axis=(1, 2, 3))).all())


def _paste(piece: Piece, own: Voxels, box: Box) -> None:
    inside = (slice(None), *box)
    there = own.image[inside].float().numpy()
    brain = there.any(axis=0)
    edge = (piece.weight > 0) & ~piece.lesion & brain
    shift = there[:, edge].mean(axis=1) - piece.image[:, edge].mean(axis=1) if edge.any() else np.zeros(len(there))
    # A sequence that the sample lacks stays 0.
    weight = piece.weight * brain * there.any(axis=(1, 2, 3), keepdims=True)
    blended = there + weight * (piece.image + shift[:, None, None, None] - there)
    own.image[inside] = torch.from_numpy(np.asarray(blended, dtype=np.float32)).to(own.image.dtype)
    lesion = torch.from_numpy(piece.lesion)
    own.labels[box] = torch.where(lesion, torch.from_numpy(piece.labels), own.labels[box])
    if own.lesions is not None:
        last = own.lesions.flatten(1).amax(dim=1)[:, None, None, None]
        numbers = torch.from_numpy(piece.numbers).to(own.lesions.dtype)
        own.lesions[inside] = torch.where(numbers > 0, numbers + last, own.lesions[inside])
