"""Decides which voxels of a case are brain: the one rule of check, preprocess and predict.

Outside a stripped brain a scan has one value. It is nearly always 0; scans that were z-scored or converted before can
have -1, their smallest value or NaN there instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32

from mets3d.data import DataError
from mets3d.data.nifti import ImageVolume, Oddity
from mets3d.ops.components import components

Mask = Bool[np.ndarray, "X Y Z"]
How = Literal["nonzero", "file", "none"]

BORDER_SHARE = 0.5  # of the volume's six faces: a brain's own box meets it with less than half of each
VOLUME_SHARE = 0.1  # of all voxels, which a box holds outside any brain
TOGETHER = 0.9  # of the voxels with the value: next to another one, as noise of few integers is not
ROUNDING = 1e-5  # of the value, which interpolation of a constant leaves


def brain_of(images: Iterable[ImageVolume], how: How = "nonzero", mask: Mask | None = None) -> Mask:
    """Returns the brain of a case whose images lie on one grid.

    `nonzero`: where any image is not its background. `file`: `mask`, which was read from a file. `none`: everywhere,
    for scans that were not stripped. Raises DataError for a mask that is missing, empty or of another shape.
    """
    first, *others = images
    if how == "none":
        return np.ones(first.shape, dtype=bool)
    if how == "file":
        if mask is None or mask.shape != first.shape or not mask.any():
            found = "none" if mask is None else f"{'an empty one of ' * (not mask.any())}{mask.shape} voxels"
            raise DataError(f"expected a brain mask for scans of {first.shape} voxels, found {found}")
        return mask
    brain: Mask = first.data != first.background
    for image in others:
        brain |= image.data != image.background
    return brain


def with_background(image: ImageVolume) -> ImageVolume:
    """Recognises the value outside the brain, which an oddity names where it is not 0.

    A value v other than 0 is the background if at least half of the voxels on the volume's six faces have it, next to
    one another, and a tenth of all voxels; voxels within rounding of it become v. NaN is the background if at least
    half of the faces' voxels are NaN; those that hang together with the border become 0. NaN inside stays, for it is a
    fault. The image's array is changed in place.
    """
    faces = [image.data.take(end, axis) for axis in range(3) for end in (0, -1)]
    count = sum(face.size for face in faces)
    if sum(np.count_nonzero(face == 0) for face in faces) >= BORDER_SHARE * count:
        return image
    if sum(np.count_nonzero(np.isnan(face)) for face in faces) >= BORDER_SHARE * count:
        return _without_nan(image)
    value = float(np.median(np.concatenate([face.ravel() for face in faces])))
    if value == 0 or not np.isfinite(value) or not _is_constant(faces, value):
        return image
    near = _near(image.data, value)
    share = np.count_nonzero(near) / near.size
    if not VOLUME_SHARE <= share < 1:
        return image
    image.data[near] = value
    smallest = " (the smallest value)" if value == image.data.min() else ""
    detail = f"{value:g}{smallest} in {share:.1%} of the voxels and around the brain; taken as outside it"
    return replace(image, background=float(image.data[near][0]), oddities=(*image.oddities, _odd(detail)))


def _is_constant(faces: list[Float32[np.ndarray, "_ _"]], value: float) -> bool:
    """Returns whether half of the border has the value, in areas and not scattered."""
    masks = [_near(face, value) for face in faces]
    if sum(np.count_nonzero(mask) for mask in masks) < BORDER_SHARE * sum(mask.size for mask in masks):
        return False
    followed = sum(np.count_nonzero(mask[:-1] & mask[1:]) for mask in masks)
    return bool(followed >= TOGETHER * sum(np.count_nonzero(mask[:-1]) for mask in masks))


def _near(values: Float32[np.ndarray, "*axes"], value: float) -> Bool[np.ndarray, "*axes"]:
    return np.abs(values - np.float32(value)) <= ROUNDING * abs(value)


def _without_nan(image: ImageVolume) -> ImageVolume:
    numbers = components(np.isnan(image.data), connectivity=6)
    touching = {int(number) for axis in range(3) for end in (0, -1) for number in np.unique(numbers.take(end, axis))}
    outside = np.isin(numbers, sorted(touching - {0}))
    image.data[outside] = 0
    detail = f"NaN in {outside.mean():.1%} of the voxels, around the brain; taken as 0 and outside it"
    return replace(image, oddities=(*image.oddities, _odd(detail)))


def _odd(detail: str) -> Oddity:
    return Oddity("note", "background is not 0", detail)
