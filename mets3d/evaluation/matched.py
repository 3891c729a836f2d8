"""The lesions and predicted components of one region in all islands, numbered through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from mets3d.evaluation.border import border
from mets3d.evaluation.clusters import Corner, Island
from mets3d.evaluation.point_distances import Points
from mets3d.evaluation.rules import Detection, meetings
from mets3d.evaluation.surface import surface
from mets3d.ops.voxels import Spacing, voxels_of
from mets3d.regions import Region

Mask = Bool[np.ndarray, "_ _ _"]  # islands differ in size
Numbers = Integer[np.ndarray, "_ _ _"]


@dataclass(frozen=True, eq=False)
class Side:
    """One mask of a region: in each island the mask, its parts' numbers, and what to add to them."""

    masks: Sequence[Mask]
    numbers: Sequence[Numbers]
    corners: Sequence[Corner]
    before: Sequence[int]

    @cached_property
    def voxels(self) -> Int[np.ndarray, " N"]:
        """Size of each part, in voxels; the first entry is of no part."""
        return np.concatenate([[0], *(sizes for sizes, _ in self._measured)]).astype(np.int64)

    @cached_property
    def centres(self) -> Float[np.ndarray, "N 3"]:
        """Centre of each part in voxels of the image."""
        own = [centres + corner for (_, centres), corner in zip(self._measured, self.corners, strict=True)]
        return np.concatenate([np.zeros((1, 3)), *own])

    @cached_property
    def _measured(self) -> list[tuple[Int[np.ndarray, " _"], Float[np.ndarray, "_ 3"]]]:
        return [_sizes_and_centres(numbers) for numbers in self.numbers]

    def borders(self) -> Points:
        """Border voxels of the mask."""
        found = []
        for mask, numbers, corner, before in self._islands():
            where = border(mask)
            own = numbers[tuple(where.T)]
            found.append((where + corner, np.where(own > 0, own + before, 0), np.zeros(len(own))))
        return _joined(found)

    def surfaces(self, spacing_mm: Spacing) -> Points:
        """Surface elements of the mask on the grid of voxel corners."""
        found = []
        for mask, numbers, corner, before in self._islands():
            elements = surface(mask, spacing_mm)
            own = _around(numbers, elements.corners)
            found.append((elements.corners + corner, np.where(own > 0, own + before, 0), elements.areas_mm2))
        return _joined(found)

    def _islands(self) -> zip[tuple[Mask, Numbers, Corner, int]]:
        return zip(self.masks, self.numbers, self.corners, self.before, strict=True)


@dataclass(frozen=True, eq=False)
class Parts:
    """matches: for lesion i + 1 the numbers of its components. false: numbers of the false components.

    common: for lesion i + 1 the voxels it has in common with its components.
    """

    prediction: Side
    reference: Side
    matches: Sequence[Int[np.ndarray, " _"]]
    common: Sequence[int]
    false: Int[np.ndarray, " F"]


def parts(found: Sequence[Island], detections: Sequence[Detection], region: Region) -> Parts:
    """What the detections of all islands come to."""
    lesions_before = _before(len(detection.matches) for detection in detections)
    components_before = _before(int(detection.components.max()) for detection in detections)
    corners = [island.corner for island in found]
    reference = Side(
        [region.mask(island.reference) for island in found],
        [detection.lesions for detection in detections],
        corners,
        lesions_before,
    )
    prediction = Side(
        [region.mask(island.prediction) for island in found],
        [detection.components for detection in detections],
        corners,
        components_before,
    )
    matches: list[Int[np.ndarray, " _"]] = []
    common: list[int] = []
    false = [np.zeros(0, np.int64)]
    for detection, before in zip(detections, components_before, strict=True):
        shared = [0] * len(detection.matches)
        for lesion, component, voxels in zip(*meetings(detection.lesions, detection.components), strict=True):
            if component in detection.matches[lesion - 1]:
                shared[lesion - 1] += int(voxels)
        matches += [matched + before for matched in detection.matches]
        common += shared
        false.append(detection.false + before)
    return Parts(prediction, reference, matches, common, np.concatenate(false))


def _before(amounts: Iterable[int]) -> list[int]:
    """What comes before each: the sums of all earlier ones."""
    return list(accumulate(amounts, initial=0))[:-1]


def _sizes_and_centres(numbers: Numbers) -> tuple[Int[np.ndarray, " N"], Float[np.ndarray, "N 3"]]:
    """Of the parts 1, 2, ... of one island."""
    voxels = voxels_of(numbers > 0)
    own = numbers[tuple(voxels.T)]
    sizes = np.bincount(own, minlength=1)
    sums = np.stack([np.bincount(own, axis, minlength=len(sizes)) for axis in voxels.T], axis=1)
    return sizes[1:], np.asarray(sums[1:] / sizes[1:, None])


def _around(numbers: Numbers, corners: Int[np.ndarray, "N 3"]) -> Int[np.ndarray, " N"]:
    """The part that each corner touches. Two parts share no corner, or they would be one."""
    own = np.zeros(len(corners), np.int64)
    for x, y, z in np.ndindex(2, 2, 2):  # the margin of an island keeps them inside
        np.maximum(own, numbers[corners[:, 0] - x, corners[:, 1] - y, corners[:, 2] - z], out=own)
    return own


def _joined(found: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Points:
    where, part, areas = zip((np.zeros((0, 3), np.int64), np.zeros(0, np.int64), np.zeros(0)), *found, strict=True)
    return Points(np.concatenate(where), np.concatenate(part), np.concatenate(areas))
