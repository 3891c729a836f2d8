"""Reads what a NIfTI header says of its voxels: shape, number type, place in the file, scaling and grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mets3d.data.nifti.content import HEADER_SIZES, expect_format
from mets3d.data.nifti.opened import thin, without_single_axes
from mets3d.data.nifti.placement import place
from mets3d.data.nifti.volumes import FileError, Grid, Oddity, Shape

AFTER_HEADER = 4  # bytes, of which the first says whether an extension follows
RECAST = "convert the scan to one number a voxel"


@dataclass(frozen=True, eq=False)
class Stored:
    """How a file holds its voxels. `shape` has three axes, or a fourth of volumes. (1, 0) is no scaling."""

    shape: Shape
    dtype: np.dtype[Any]
    offset: int
    scaling: tuple[float, float]
    grid: Grid
    oddities: tuple[Oddity, ...]
    axes: int  # as stated, those of one voxel too
    pair: bool  # the voxels are in a file of their own
    description: str

    @property
    def end(self) -> int:
        """One past the voxels' last byte."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def parse(head: bytes, path: Path) -> Stored:
    """Reads the header at the beginning of a NIfTI file in memory. Raises FileError for what it cannot mean."""
    import nibabel

    expect_format(path, head, "NIfTI")
    little, big = (int.from_bytes(head[:4], order) for order in ("little", "big"))
    order = "<" if little in HEADER_SIZES else ">"
    size = little if order == "<" else big
    if len(head) < size:
        raise FileError(
            f"{path}: cannot be read as NIfTI, truncated or corrupt ({len(head)} bytes, its header alone has {size}); "
            "fetch or convert the file again"
        )
    kind = nibabel.Nifti2Header if size == HEADER_SIZES[1] else nibabel.Nifti1Header
    header = kind(head[:size], order, check=False)
    pair = _is_pair(header, path)
    shape = _shape(header, path)
    grid, placed = place(header, (shape[0], shape[1], shape[2]), path)
    dtype = _number_type(header, path)
    offset = _offset(header, path, 0 if pair else _header_end(head, size, order))
    scaling, scaled = _scaling(header, path)
    oddities = (*placed, *scaled, *thin(shape))
    description = header["descrip"].item().decode("latin-1")
    return Stored(shape, dtype, offset, scaling, grid, oddities, int(header["dim"][0]), pair, description)


def _is_pair(header: Any, path: Path) -> bool:
    magic = header["magic"].item()[:3]
    if magic in (b"n+1", b"n+2"):
        return False
    if magic in (b"ni1", b"ni2"):
        return True
    advice = "convert it to .nii.gz with the orientation it was acquired in"
    raise FileError(
        f"{path}: expected NIfTI, found ANALYZE 7.5 or a broken header (its magic is {magic!r}), which does not say "
        f"which side is left; {advice}",
        "not NIfTI",
    )


def _shape(header: Any, path: Path) -> Shape:
    axes = int(header["dim"][0])
    stated = tuple(int(n) for n in header["dim"][1 : axes + 1]) if 1 <= axes <= 7 else ()
    shape = without_single_axes(stated)
    if len(shape) not in (3, 4):
        found = f"shape {stated}" if stated else f"{axes} axes"
        raise FileError(f"{path}: expected a 3-D volume, found {found}; split or convert it", "not a volume")
    if min(shape) < 1:
        raise FileError(f"{path}: expected a 3-D volume, found shape {stated} without a voxel", "not a volume")
    return shape


def _number_type(header: Any, path: Path) -> np.dtype[Any]:
    code = int(header["datatype"])
    try:
        dtype: np.dtype[Any] = np.dtype(header.get_data_dtype())
    except KeyError:
        dtype = np.dtype("V")
    if dtype.kind == "c":
        advice = "take the magnitude (or the part that is meant)"
        raise FileError(f"{path}: expected one number a voxel, found complex ones; {advice}", "complex voxels")
    if dtype.names:
        colours = "".join(dtype.names)
        raise FileError(f"{path}: expected one number a voxel, found {colours} colours; {RECAST}", "colour voxels")
    if dtype.kind not in "iuf":
        raise FileError(
            f"{path}: expected a number type of NIfTI, found datatype {code}; {RECAST}", "unknown number type"
        )
    return dtype


def _header_end(head: bytes, size: int, order: str) -> int:
    """Returns the first byte at which voxels may begin: behind the header and its first extension."""
    end = size + AFTER_HEADER
    if len(head) >= end + 8 and head[size]:
        length, code = np.frombuffer(head, f"{order}i4", 2, end).tolist()
        if length >= 16 and length % 16 == 0 and 0 <= code < 100:  # else the flag is a lie, as some writers leave it
            end += length
    return end


def _offset(header: Any, path: Path, least: int) -> int:
    offset = float(header["vox_offset"])
    if not (math.isfinite(offset) and offset == int(offset) and offset >= least):
        raise FileError(
            f"{path}: expected voxels from byte {least} on, behind the header, found a vox_offset of {offset:g}; "
            "correct the header or convert the file again",
            "voxels inside the header",
        )
    return int(offset)


def _scaling(header: Any, path: Path) -> tuple[tuple[float, float], tuple[Oddity, ...]]:
    """Returns slope and intercept. A slope of 0 or NaN is the usual way to say that there is none."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or math.isnan(slope):
        return (1.0, 0.0), ()
    if math.isinf(slope):
        advice = "correct the header"
        return (1.0, 0.0), (Oddity("warning", "broken scaling", f"scl_slope is {slope:g}; not applied", advice),)
    if not math.isfinite(inter):
        raise FileError(
            f"{path}: values are to be scaled by {slope:g} and moved by {inter:g}; correct scl_slope and scl_inter",
            "broken scaling",
        )
    if slope < 0:
        advice = "make sure that bright is bright"
        return (slope, inter), (Oddity("warning", "negative scaling", f"scl_slope is {slope:g}; applied", advice),)
    return (slope, inter), ()
