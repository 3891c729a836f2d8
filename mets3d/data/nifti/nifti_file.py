"""Opens NIfTI-1 and NIfTI-2: one file, compressed or not whatever its name, or a pair `.hdr` and `.img`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mets3d.data.nifti.content import read_content, read_head
from mets3d.data.nifti.header import Stored, parse
from mets3d.data.nifti.opened import Opened, expect_room
from mets3d.data.nifti.volumes import FileError, Oddity


def open_nifti(path: Path, *, voxels: bool) -> Opened:
    """Reads the header, and with `voxels` the whole file; a pair is named by either of its two."""
    first, second = _parts(path)
    stored = parse(read_head(first), path)
    if stored.pair and first == second:
        found = "found a header alone, whose voxels are in another file"
        advice = "name the two .hdr and .img, or convert them to one .nii.gz"
        raise FileError(f"{path}: {found}; {advice}", "half of a pair")
    opened = Opened(
        stored.shape, stored.grid, stored.oddities, None, stored.scaling, (), stored.axes, stored.description
    )
    if not voxels:
        return opened
    expect_room(stored.shape, stored.dtype.itemsize, path)
    content = read_content(second, stored.end)
    behind = _bytes_behind(stored, content.length, path)
    array = np.ndarray(stored.shape, stored.dtype, content.kept, stored.offset, order="F")
    return replace(opened, stored=array, of_voxels=behind)


def _parts(path: Path) -> tuple[Path, Path]:
    """Returns the files of header and voxels, which are one but for a pair."""
    if path.suffix.lower() not in (".hdr", ".img"):
        return path, path
    header, voxels = path.with_suffix(".hdr"), path.with_suffix(".img")
    for part in (header, voxels):
        if not part.is_file():
            raise FileError(f"{path}: {part.name}, its other half, is not there; put it beside", "half of a pair")
    return header, voxels


def _bytes_behind(stored: Stored, length: int, path: Path) -> tuple[Oddity, ...]:
    """Compares the bytes that there are with those that the header promises."""
    if stored.end > length:
        raise FileError(
            f"{path}: cannot be read as NIfTI, truncated or corrupt (expected {stored.end} bytes for shape "
            f"{stored.shape}, found {length}); fetch or convert the file again",
            "truncated file",
        )
    behind = length - stored.end
    if behind < max(1, stored.shape[0] * stored.shape[1] * stored.dtype.itemsize):  # less than a slice: padding
        return ()
    detail = f"{behind} bytes behind the {stored.end} of shape {stored.shape} are not read"
    return (Oddity("warning", "more voxels than the header says", detail, "correct the header's dim"),)
