"""Defines what every format is turned into before its voxels are understood."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Num

from mets3d.data.nifti.volumes import FileError, Grid, Oddity, Shape
from mets3d.free_memory import free_memory

FLOAT32 = 4  # bytes
GB = 1e9
SMALL = GB  # bytes that are not asked for: what is free is known roughly
UNSCALED = (1.0, 0.0)
SPLIT = "split it into 3-D files, or say which volume is which sequence"


@dataclass(frozen=True, eq=False)
class Opened:
    """A file of one format: its grid, and its voxels as they lie in it unless only the header was read.

    `shape` has three axes, or a fourth of volumes, which `split` says how to deal with. Values are slope times stored
    plus intercept. `oddities` are the header's, `of_voxels` the others. `axes` counts those of one voxel too.
    """

    shape: Shape
    grid: Grid
    oddities: tuple[Oddity, ...]
    stored: Num[np.ndarray, "..."] | None
    scaling: tuple[float, float] = UNSCALED
    of_voxels: tuple[Oddity, ...] = ()
    axes: int = 3
    description: str = ""
    split: str = SPLIT


def without_single_axes(shape: Shape) -> Shape:
    """Returns a shape without its axes of one voxel beyond the third, as several tools write them."""
    return (*shape[:3], *(n for n in shape[3:] if n != 1))


def expect_room(shape: Shape, itemsize: int, path: Path) -> None:
    """Raises FileError if memory does not hold a volume as it is stored and as float32, before anything is read."""
    need, free = math.prod(shape) * (itemsize + FLOAT32), free_memory()
    if need > max(free, SMALL):
        found = (
            f"shape {' x '.join(map(str, shape))}, which takes {need / GB:,.1f} GB where {free / GB:.1f} GB are free"
        )
        raise FileError(
            f"{path}: expected a scan that memory holds, found {found}; correct the header, or crop or resample it",
            "larger than the memory",
        )


def thin(shape: Shape) -> tuple[Oddity, ...]:
    """Returns the oddity of a volume that is one voxel thick, if it is."""
    if min(shape[:3]) > 1:
        return ()
    detail = f"{' x '.join(map(str, shape[:3]))} voxels in the file's order"
    return (Oddity("warning", "single slice", detail, "make sure that the scan is whole"),)
