"""Opens a file of any format that is read and takes one volume out of it. The file's name decides on the format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Num

from mets3d.data.nifti.content import faults_named
from mets3d.data.nifti.mgh_file import open_mgh
from mets3d.data.nifti.nifti_file import open_nifti
from mets3d.data.nifti.nrrd_file import open_nrrd
from mets3d.data.nifti.opened import Opened
from mets3d.data.nifti.volumes import FileError, Grid, Oddity
from mets3d.wording import counted

OPENERS: dict[str, tuple[str, Callable[..., Opened]]] = {
    ".nrrd": ("NRRD", open_nrrd),
    ".nhdr": ("NRRD", open_nrrd),
    ".mgz": ("MGH", open_mgh),
    ".mgh": ("MGH", open_mgh),
}
NIFTI = ("NIfTI", open_nifti)


@dataclass(frozen=True, eq=False)
class Voxels:
    """A volume as it lies in its file (a fourth axis where all volumes are meant), and how to understand it."""

    stored: Num[np.ndarray, "x y z *C"]
    scaling: tuple[float, float]
    grid: Grid
    oddities: tuple[Oddity, ...] = ()  # those that the header does not show


def header_of(path: Path, volume: int | None) -> tuple[Grid, tuple[Oddity, ...]]:
    """Reads the grid of one volume and the header's oddities. Raises as `mets3d.data.nifti.read_image`."""
    opened = _opened(path, voxels=False)
    _which(opened, path, volume)
    return opened.grid, opened.oddities


def one_volume(path: Path, volume: int | None) -> Voxels:
    """Reads one volume as it lies in the file. Raises as `mets3d.data.nifti.read_image`."""
    opened = _opened(path, voxels=True)
    which = _which(opened, path, volume)
    stored = _array(opened)[..., which] if len(opened.shape) > 3 else _array(opened)
    return Voxels(stored, opened.scaling, opened.grid, opened.of_voxels)


def all_volumes(path: Path) -> tuple[Voxels, str]:
    """Reads every volume of a 4-D file, and the header's description. Raises FileError for a file of three axes."""
    opened = _opened(path, voxels=True)
    if opened.axes == 3:
        raise FileError(f"{path}: expected a 4-D volume, found shape {opened.shape}", "not a volume")
    stored = _array(opened).reshape(*opened.shape[:3], -1, order="F")
    return Voxels(stored, opened.scaling, opened.grid), opened.description


def _opened(path: Path, *, voxels: bool) -> Opened:
    format_name, opener = OPENERS.get(path.suffix.lower(), NIFTI)
    with faults_named(path, format_name):
        return opener(path, voxels=voxels)


def _which(opened: Opened, path: Path, volume: int | None) -> int:
    """Returns which volume is meant, from 0."""
    if len(opened.shape) == 3:
        if volume in (None, 0):
            return 0
        raise FileError(f"{path}: expected a 4-D file with volume {volume}, found {opened.shape}")
    if volume is None:
        found = f"expected a 3-D volume, found shape {opened.shape}"
        raise FileError(f"{path}: {found}; {opened.split}")
    count = opened.shape[3]
    if not 0 <= volume < count:
        raise FileError(f"{path}: expected volume {volume}, found {counted(count, 'volume')}, from 0")
    return volume


def _array(opened: Opened) -> Num[np.ndarray, "..."]:
    assert opened.stored is not None
    return opened.stored
