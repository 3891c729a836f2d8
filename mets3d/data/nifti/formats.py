"""Opens a file of any format that is read: NIfTI in one file or two, NRRD and MGH by their names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Num

from mets3d.data.nifti.content import HEAD, faults_named, read_content, read_head
from mets3d.data.nifti.header import Stored, parse
from mets3d.data.nifti.volumes import FileError, Grid, Oddity


@dataclass(frozen=True, eq=False)
class Voxels:
    """A volume as it lies in its file (a fourth axis where all volumes are meant), and how to understand it."""

    stored: Num[np.ndarray, "x y z *C"]
    scaling: tuple[float, float]
    grid: Grid
    oddities: tuple[Oddity, ...] = ()  # those that the header does not show


def header_of(path: Path, volume: int | None) -> tuple[Grid, tuple[Oddity, ...]]:
    """Reads the grid of one volume and the header's oddities. Raises as `mets3d.data.nifti.read_image`."""
    with faults_named(path, "NIfTI"):
        header, _ = _parts(path)
        stored = parse(read_head(header), path)
        _expect_one(stored, path, volume)
    return stored.grid, stored.oddities


def one_volume(path: Path, volume: int | None) -> Voxels:
    """Reads one volume as it lies in the file. Raises as `mets3d.data.nifti.read_image`."""
    with faults_named(path, "NIfTI"):
        stored, content = _opened(path)
        which = _expect_one(stored, path, volume)
        oddities = _whole(stored, content, path)
        one = replace(stored, shape=stored.shape[:3])
        begin = stored.offset + which * (one.end - one.offset)
        return Voxels(_array(one, content, begin), stored.scaling, stored.grid, oddities)


def all_volumes(path: Path) -> tuple[Voxels, str]:
    """Reads every volume of a 4-D file, and the header's description. Raises FileError for a file of three axes."""
    with faults_named(path, "NIfTI"):
        stored, content = _opened(path)
        if stored.axes == 3:
            raise FileError(f"{path}: expected a 4-D volume, found shape {stored.shape}", "not a volume")
        _whole(stored, content, path)
        whole = replace(stored, shape=(*stored.shape[:3], stored.volumes or 1))
        return Voxels(_array(whole, content, whole.offset), stored.scaling, stored.grid), stored.description


# ---------------------------------------------------------------- NIfTI


def _parts(path: Path) -> tuple[Path, Path]:
    """Returns the files of header and voxels: one, or the two of a pair `.hdr` and `.img`, whichever is named."""
    if path.suffix.lower() not in (".hdr", ".img"):
        return path, path
    header, voxels = path.with_suffix(".hdr"), path.with_suffix(".img")
    for part in (header, voxels):
        if not part.is_file():
            raise FileError(f"{path}: {part.name}, its other half, is not there; put it beside", "half of a pair")
    return header, voxels


def _opened(path: Path) -> tuple[Stored, bytes]:
    header, voxels = _parts(path)
    content = read_content(header)
    stored = parse(content[:HEAD], path)
    if stored.pair and header == voxels:
        raise FileError(
            f"{path}: a header whose voxels are in another file; name them .hdr and .img, or convert to .nii.gz",
            "half of a pair",
        )
    return stored, read_content(voxels) if stored.pair else content


def _expect_one(stored: Stored, path: Path, volume: int | None) -> int:
    """Returns which volume is meant, from 0."""
    if stored.volumes is None:
        if volume not in (None, 0):
            raise FileError(
                f"{path}: expected a 4-D file with volume {volume}, found shape {stored.shape}", "no volume"
            )
        return 0
    if volume is None:
        raise FileError(
            f"{path}: expected a 3-D volume, found shape {stored.shape}; split it into 3-D files, or say which volume "
            "is which sequence",
            "not a volume",
        )
    if not 0 <= volume < stored.volumes:
        raise FileError(f"{path}: expected volume {volume}, found {stored.volumes} volumes, from 0", "no volume")
    return volume


def _whole(stored: Stored, content: bytes, path: Path) -> tuple[Oddity, ...]:
    """Compares the bytes that there are with those that the header promises."""
    if stored.end > len(content):
        raise FileError(
            f"{path}: cannot be read as NIfTI, truncated or corrupt (expected {stored.end} bytes for shape "
            f"{stored.shape}, found {len(content)}); fetch or convert the file again",
            "truncated file",
        )
    behind = len(content) - stored.end
    if behind < max(1, stored.shape[0] * stored.shape[1] * stored.dtype.itemsize):  # less than a slice: padding
        return ()
    detail = f"{behind} bytes behind the {stored.end} of shape {stored.shape} are not read"
    return (Oddity("warning", "more voxels than the header says", detail, "correct the header's dim"),)


def _array(stored: Stored, content: bytes, offset: int) -> Num[np.ndarray, "x y z *C"]:
    array: np.ndarray[Any, Any] = np.ndarray(stored.shape, stored.dtype, content, offset, order="F")
    return array
