"""Cuts planes of a case with its lesions: slices, projections and tiles, their outlines and places of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, UInt8

from mets3d.evaluation.region_scores import KINDS
from mets3d.ops.components import Mask
from mets3d.regions import Region
from mets3d.reporting.pictures.frames import Frame, ShownMask, radiological, square_frame, whole_frame
from mets3d.reporting.pictures.slices import grey_window, shades

if TYPE_CHECKING:
    from mets3d.evaluation.lesion_maps import LesionMap

DRAWN_KINDS = (*KINDS, "ignored")
TILE_SIDES_MM = (32.0, 48.0, 64.0)

Point = tuple[float, float]  # row, column of a shown plane, in voxels from its upper left corner


@dataclass(frozen=True)
class Lesion:
    """A reference lesion or false component. `volume_mm3` is the reference's, of a false one the prediction's."""

    number: int
    kind: str
    volume_mm3: float
    dice: float | None  # None where the rules give no value
    centre: tuple[float, float, float]  # voxel indices along X, Y, Z


@dataclass(frozen=True)
class Layer:
    """A mask of one kind to outline: the reference solid, the prediction dashed, neighbours of a tile's lesion thin."""

    mask: ShownMask
    kind: str
    predicted: bool
    subject: bool = True


@dataclass(frozen=True)
class Mark:
    """The middle of a lesion in a plane, to which its number points."""

    lesion: Lesion
    at: Point


@dataclass(frozen=True)
class Plane:
    """A slice or projection: grey levels, masks to outline, lesions to number, and the part shown."""

    title: str
    grey: UInt8[np.ndarray, "rows columns"]
    voxel_mm: tuple[float, float]  # along rows, along columns
    frame: Frame
    layers: tuple[Layer, ...]
    marks: tuple[Mark, ...] = ()


class Scene:
    """One image with its numbered lesions, from which planes are cut; all planes are in radiological orientation."""

    def __init__(
        self,
        image: Float32[np.ndarray, "X Y Z"],
        spacing_mm: tuple[float, float, float],
        numbered: LesionMap,
        lesions: Sequence[Lesion],
    ):
        from scipy import ndimage

        self.image, self.brain, self.spacing_mm = image, image != 0, spacing_mm
        self.window = grey_window(image[self.brain])
        self.numbered, self.lesions = numbered, lesions
        self.boxes = {
            False: ndimage.find_objects(numbered.reference),
            True: ndimage.find_objects(numbered.false),
        }
        codes = np.zeros(1 + max(numbered.kinds, default=0), np.uint8)
        for number, kind in numbered.kinds.items():
            codes[number] = 1 + DRAWN_KINDS.index(kind)
        self.kinds = codes[numbered.reference]  # of each reference voxel, 1 + its place in DRAWN_KINDS

    def fullest_slice(self, region: Region, sequence: str) -> Plane:
        """Returns the axial slice with most of the reference; of the prediction where there is no reference."""
        held = self.kinds > 0
        index = int((held if held.any() else self.numbered.prediction).sum(axis=(0, 1)).argmax())
        voxel_mm = (self.spacing_mm[1], self.spacing_mm[0])
        return Plane(
            f"{sequence}, axial slice {index + 1} of {self.image.shape[2]}, most {region.name}",
            self._grey(index),
            voxel_mm,
            whole_frame(radiological(self.brain.any(axis=2)), voxel_mm),
            self._layers(2, index),
            self._marks(2, index),
        )

    def projections(self, sequence: str) -> list[Plane]:
        """Returns the brain's maximum along Z (axial) and along Y (coronal)."""
        x_mm, y_mm, z_mm = self.spacing_mm
        brightness = np.where(self.brain, self.image, -np.inf)
        planes = []
        for axis, name, voxel_mm in ((2, "axial", (y_mm, x_mm)), (1, "coronal", (z_mm, x_mm))):
            inside = radiological(self.brain.any(axis=axis))
            highest = np.where(inside, radiological(brightness.max(axis=axis)), 0)
            layers = [layer for layer in self._layers(axis, None) if not layer.predicted or layer.kind == "false"]
            planes.append(
                Plane(
                    f"lesion map: {sequence}, {name} maximum projection",
                    shades(highest, inside, grey_window(highest[inside])),
                    voxel_mm,
                    whole_frame(inside, voxel_mm),
                    tuple(layers),
                    self._marks(axis, None),
                )
            )
        return planes

    def tile(self, lesion: Lesion) -> Plane:
        """Returns the axial slice through the centroid, centred on it, as close as the lesion's extent allows.

        A lesion that bends around its centroid may have no voxel in that slice: then the nearest slice that has.
        """
        mask, corner = self._mask(lesion)
        slices = np.flatnonzero(mask.any(axis=(0, 1)))
        index = int(slices[np.abs(slices + corner[2] - lesion.centre[2]).argmin()]) + corner[2]
        reach_mm = max(
            max(lesion.centre[axis] - corner[axis], corner[axis] + mask.shape[axis] - 1 - lesion.centre[axis])
            * self.spacing_mm[axis]
            for axis in (0, 1)
        )
        side_mm = next((side for side in TILE_SIDES_MM if 2 * reach_mm <= 0.75 * side), TILE_SIDES_MM[-1])
        voxel_mm = (self.spacing_mm[1], self.spacing_mm[0])
        centre = self._shown(lesion.centre[0], lesion.centre[1], axis=2)
        return Plane(
            f"slice {index + 1}",
            self._grey(index),
            voxel_mm,
            square_frame(centre, side_mm, voxel_mm),
            self._layers(2, index, lesion),
        )

    def _grey(self, index: int) -> UInt8[np.ndarray, "rows columns"]:
        inside = radiological(self.brain[:, :, index])
        return shades(radiological(self.image[:, :, index]), inside, self.window)

    def _layers(self, axis: int, index: int | None, subject: Lesion | None = None) -> tuple[Layer, ...]:
        """Returns the masks to outline in slice `index`, or in the projection (None) along `axis`.

        Neighbours of the subject, a tile's lesion, come first. The matched components of a found lesion cannot be
        distinguished from those of its neighbours.
        """
        part: list[slice] = [slice(None)] * 3
        if index is not None:
            part[axis] = slice(index, index + 1)
        here = part[0], part[1], part[2]
        reference, false, kinds = self.numbered.reference[here], self.numbered.false[here], self.kinds[here]
        alone = subject is None
        matched = self.numbered.prediction[here] & (false == 0)
        layers = [_layer(matched, axis, "found", subject is None or subject.kind == "found", predicted=True)]
        for code, kind in enumerate(DRAWN_KINDS, 1):
            numbers = false if kind == "false" else reference
            mask = false > 0 if kind == "false" else kinds == code
            own = np.zeros_like(mask)
            if subject is not None and subject.kind == kind:
                own = numbers == subject.number
                layers.append(_layer(own, axis, kind, True, predicted=kind == "false"))
            layers.append(_layer(mask & ~own, axis, kind, alone, predicted=kind == "false"))
        return tuple(sorted((layer for layer in layers if layer.mask.any()), key=lambda layer: layer.subject))

    def _marks(self, axis: int, index: int | None) -> tuple[Mark, ...]:
        """Returns every lesion that has voxels in a plane, at the middle of these."""
        marks = []
        for lesion in self.lesions:
            mask, corner = self._mask(lesion)
            inside = None if index is None else index - corner[axis]
            if inside is not None and not 0 <= inside < mask.shape[axis]:
                continue
            plane = mask.any(axis=axis) if inside is None else np.take(mask, inside, axis=axis)
            if not plane.any():
                continue
            middle = np.argwhere(plane).mean(axis=0)
            first, second = middle + [start for along, start in enumerate(corner) if along != axis]
            marks.append(Mark(lesion, self._shown(float(first), float(second), axis)))
        return tuple(marks)

    def _mask(self, lesion: Lesion) -> tuple[Mask, tuple[int, int, int]]:
        """Returns the lesion inside its box, and the box's first voxel."""
        false = lesion.kind == "false"
        x, y, z = self.boxes[false][lesion.number - 1]
        numbers = self.numbered.false if false else self.numbered.reference
        return numbers[x, y, z] == lesion.number, (x.start, y.start, z.start)

    def _shown(self, first: float, second: float, axis: int) -> Point:
        """Returns the place in a shown plane of the middle of a voxel, given its indices along the other two axes."""
        columns, rows = (size for along, size in enumerate(self.image.shape) if along != axis)
        return rows - second - 0.5, columns - first - 0.5


def _layer(mask: Mask, axis: int, kind: str, subject: bool, *, predicted: bool) -> Layer:
    """Projects a mask along `axis`, where a slice is one voxel thick."""
    return Layer(radiological(np.asarray(mask.any(axis=axis))), kind, predicted, subject)
