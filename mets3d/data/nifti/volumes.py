"""Defines the volumes that are read from NIfTI files: arrays in RAS+, each with the grid of its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from mets3d.ops.voxels import Shape3, Spacing

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Grid:
    """A file's own voxel grid: what is needed to write another array in the same place, orientation and header form.

    `placement` holds the header's own fields that place the grid, such as `pixdim` and `srow_x`.
    """

    shape: Shape3
    affine: Float64[np.ndarray, "4 4"]
    zooms: Spacing
    placement: dict[str, Any]

    @property
    def orientation(self) -> str:
        """Where each array axis points, for example `LPS`."""
        import nibabel

        return "".join(str(code) for code in nibabel.aff2axcodes(self.affine))


@dataclass(frozen=True, eq=False)
class Header:
    """Shape, affine and spacing of a file's volume in RAS+, without its voxels; `source` is the grid of the file."""

    shape: Shape
    affine: Float64[np.ndarray, "4 4"]
    spacing_mm: Spacing
    source: Grid


@dataclass(frozen=True, eq=False)
class ImageVolume:
    """An image in RAS+: `affine` maps its voxel indices to mm, `source` is the grid of its file."""

    data: Float32[np.ndarray, "X Y Z"]
    spacing_mm: Spacing
    affine: Float64[np.ndarray, "4 4"]
    source: Grid

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
