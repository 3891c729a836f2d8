"""Reads image files as volumes in RAS+: NIfTI, and NRRD and MGH by their names. Every error names its file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Num, Shaped, UInt8

from mets3d.data.nifti.formats import Voxels, all_volumes, header_of, one_volume
from mets3d.data.nifti.orientation import in_ras_order, laid_out, ras_affine, ras_shape, ras_spacing
from mets3d.data.nifti.scaling import float32_in_ras, scaled
from mets3d.data.nifti.volumes import FileError, Header, ImageVolume, LabelVolume, Oddity, ProbabilityVolume
from mets3d.wording import counted

WHOLE_NUMBER_TOLERANCE = 1e-3
AS_THEY_ARE: Mapping[int, int] = MappingProxyType({})


class NotLabelsError(FileError):
    """A readable volume whose values cannot be labels."""

    def __init__(self, message: str, what: str = "not a label map"):
        super().__init__(message, what)


def read_header(path: Path, volume: int | None = None) -> Header:
    """Reads shape, affine and spacing of `path`, and what is odd about them, without its voxels. As `read_image`."""
    grid, oddities = header_of(path, volume)
    return Header(ras_shape(grid), ras_affine(grid), ras_spacing(grid), grid, oddities)


def read_image(path: Path, volume: int | None = None) -> ImageVolume:
    """Reads the image in `path` as float32 in RAS+; NaN and infinity are kept for the caller to judge.

    volume: which one of a 4-D file, from 0. Axes of one voxel beyond the third do not count: (X, Y, Z, 1) is 3-D.
    Spacing is the header's voxel size in mm, in RAS order. Raises FileNotFoundError if there is no such file and
    FileError (a DataError, a ValueError) naming the file if it is truncated, corrupt, of another format than its name
    says, not a 3-D volume of numbers, or if its header leaves open what its geometry is.
    """
    voxels = one_volume(path, volume)
    grid = voxels.grid
    data = float32_in_ras(voxels)
    return ImageVolume(data, ras_spacing(grid), ras_affine(grid), grid, oddities=voxels.oddities)


def read_labels(
    path: Path, volume: int | None = None, *, beyond: int | None = None, mapped: Mapping[int, int] = AS_THEY_ARE
) -> LabelVolume:
    """Reads the label map in `path` as uint8 in RAS+. Integers stored as floats are accepted within 1e-3.

    Integers are compared as they are stored, 64 bits of them too. mapped: labels by the file's whole numbers, which may
    be any; the others stay. beyond: the label that other numbers outside 0..255 become. Raises as `read_image`, and
    NotLabelsError (a FileError) for values that are not whole numbers or, without `beyond`, not in 0..255.
    """
    voxels = one_volume(path, volume)
    whole = _whole(voxels, path)
    stored = _labels(whole, path, beyond, mapped)
    grid = voxels.grid
    labels = laid_out(in_ras_order(stored, grid), "C")
    oddities = (*voxels.oddities, *_joined(whole, mapped))
    return LabelVolume(labels, ras_spacing(grid), ras_affine(grid), grid, oddities)


def read_probabilities(path: Path) -> ProbabilityVolume:
    """Reads probabilities as `write_probabilities` wrote them, in RAS+.

    Raises as `read_image`, and FileError if the file is not 4-D or its header does not name every channel.
    """
    voxels, description = all_volumes(path)
    names, stored, grid = tuple(description.split()), voxels.stored, voxels.grid
    if len(names) != stored.shape[3]:
        raise FileError(
            f"{path}: expected a header that names {stored.shape[3]} channels, such as 'WT TC ET', found "
            f"{' '.join(names)!r}; write the file with `mets3d predict --probabilities`",
            "unnamed channels",
        )
    values = scaled(stored, voxels.scaling).astype(np.float32, copy=False)
    data = np.ascontiguousarray(np.moveaxis(in_ras_order(values, grid), 3, 0))
    return ProbabilityVolume(names, data, ras_affine(grid), ras_spacing(grid), grid)


# ---------------------------------------------------------------- labels


def _whole(voxels: Voxels, path: Path) -> Num[np.ndarray, "x y z"]:
    """Returns whole numbers, in the file's own type where nothing scales them."""
    values = scaled(voxels.stored, voxels.scaling)
    if values.dtype.kind in "iu":
        return values
    with np.errstate(invalid="ignore"):
        whole = np.rint(values)
        wrong = ~(np.abs(values - whole) <= WHOLE_NUMBER_TOLERANCE)
    if wrong.any():
        raise NotLabelsError(
            f"{path}: expected whole numbers as labels, found others in {counted(int(wrong.sum()), 'voxel')}, for "
            f"example "
            f"{float(values[wrong][0]):g}; a label map must be resampled with nearest neighbours"
        )
    return np.asarray(whole)


def _labels(
    whole: Num[np.ndarray, "x y z"], path: Path, beyond: int | None, mapped: Mapping[int, int]
) -> Shaped[np.ndarray, "x y z"]:
    """Returns whole numbers as uint8: those of `mapped`, the others as they are or `beyond`."""
    if whole.dtype == np.uint8:
        return _renamed(whole, whole, mapped)
    outside: Bool[np.ndarray, "x y z"] = (whole < 0) | (whole > 255)
    low, high = whole.min(), whole.max()
    if not outside.any():
        return _renamed(whole.astype(np.uint8), whole, mapped)
    unknown = outside & ~np.isin(whole, list(mapped)) if mapped else outside
    if unknown.any() and beyond is None:
        raise NotLabelsError(f"{path}: expected labels from 0 to 255, found {low:g} to {high:g}")
    kept = np.where(outside, beyond or 0, whole).astype(np.uint8)
    return _renamed(kept, whole, mapped)


def _joined(whole: Num[np.ndarray, "x y z"], mapped: Mapping[int, int]) -> list[Oddity]:
    """Finds integers that the map does not name and turns others into: two tissues can become one."""
    found = []
    for label in sorted({*mapped.values()} - {0, *mapped}):
        others = [old for old, new in mapped.items() if new == label and (whole == old).any()]
        if others and (whole == label).any():
            named = " and ".join(map(str, others))
            detail = f"the map turns {named} into {label}, and the file holds {label} itself: both are {label} now"
            advice = f"say in data.labels what {label} is, as {{{label}: {label}, {others[0]}: {others[0]}}}"
            found.append(Oddity("warning", "labels joined by the map", detail, advice))
    return found


def _renamed(
    labels: UInt8[np.ndarray, "x y z"], whole: Num[np.ndarray, "x y z"], mapped: Mapping[int, int]
) -> UInt8[np.ndarray, "x y z"]:
    if not mapped:
        return labels
    renamed = labels.copy(order="K")
    for old, new in mapped.items():
        renamed[whole == old] = new
    return renamed
