"""Defines the volumes that are read from files: arrays in RAS+, each with its file's grid and what was odd in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from mets3d.data import DataError
from mets3d.ops.voxels import Shape3, Spacing

Shape = tuple[int, ...]


class FileError(DataError):
    """A file that cannot be read as a volume: `what` is wrong in a few words, the same for all files of its kind."""

    def __init__(self, message: str, what: str = "unreadable file"):
        super().__init__(message)
        self.what = what

    def __reduce__(self) -> tuple[type[FileError], tuple[str, str]]:
        """Returns what a worker process sends, so that `what` arrives too."""
        return type(self), (str(self), self.what)


@dataclass(frozen=True)
class Oddity:
    """Something odd in a file that can be read all the same: `what` in short, `detail` with values, `advice`.

    What would make the geometry or the values a guess between several is no oddity but a FileError.
    """

    severity: Literal["warning", "note"]
    what: str
    detail: str
    advice: str = ""


@dataclass(frozen=True, eq=False)
class Grid:
    """A file's own voxel grid: what is needed to write another array in the same place, orientation and header form.

    `affine` and `zooms` are in mm whatever the header's unit. `placement` holds the fields of a NIfTI header that place
    the grid, such as `pixdim` and `srow_x`. `located`: the file says where its voxels lie in the world.
    """

    shape: Shape3
    affine: Float64[np.ndarray, "4 4"]
    zooms: Spacing
    placement: dict[str, Any]
    located: bool = True

    @property
    def orientation(self) -> str:
        """Where each array axis points, for example `LPS`."""
        import nibabel

        return "".join(str(code) for code in nibabel.aff2axcodes(self.affine))


@dataclass(frozen=True, eq=False)
class Header:
    """Shape, affine and spacing of a file's volume in RAS+, without its voxels; `source` is the grid of the file.

    `oddities` are those that the header shows.
    """

    shape: Shape
    affine: Float64[np.ndarray, "4 4"]
    spacing_mm: Spacing
    source: Grid
    oddities: tuple[Oddity, ...] = ()


@dataclass(frozen=True, eq=False)
class ImageVolume:
    """An image in RAS+: `affine` maps its voxel indices to mm, `source` is the grid of its file.

    `background` is the value outside the brain (`mets3d.data.brain`). `oddities` are those that the voxels show; the
    header's are in its `Header`.
    """

    data: Float32[np.ndarray, "X Y Z"]
    spacing_mm: Spacing
    affine: Float64[np.ndarray, "4 4"]
    source: Grid
    background: float = 0.0
    oddities: tuple[Oddity, ...] = ()

    @property
    def shape(self) -> Shape:
        """Voxels along X, Y, Z."""
        return self.data.shape


@dataclass(frozen=True, eq=False)
class LabelVolume:
    """A label map in RAS+, otherwise as `ImageVolume`."""

    labels: UInt8[np.ndarray, "X Y Z"]
    spacing_mm: Spacing
    affine: Float64[np.ndarray, "4 4"]
    source: Grid
    oddities: tuple[Oddity, ...] = ()

    @property
    def shape(self) -> Shape:
        """Voxels along X, Y, Z."""
        return self.labels.shape


@dataclass(frozen=True, eq=False)
class ProbabilityVolume:
    """Probabilities in RAS+, otherwise as `ImageVolume`. `names` has one name a channel."""

    names: tuple[str, ...]
    data: Float32[np.ndarray, "R X Y Z"]
    affine: Float64[np.ndarray, "4 4"]
    spacing_mm: Spacing
    source: Grid

    @property
    def shape(self) -> Shape:
        """Voxels along X, Y, Z."""
        return self.data.shape[1:]
