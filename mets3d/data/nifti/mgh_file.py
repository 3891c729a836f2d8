"""Opens MGH and MGZ, FreeSurfer's format."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Num

from mets3d.data.nifti.content import HEAD, expect_format, read_content, read_head
from mets3d.data.nifti.opened import Opened, thin, without_single_axes
from mets3d.data.nifti.placement import place_affine
from mets3d.data.nifti.volumes import FileError

VOXELS = 284  # the first byte behind the header


def open_mgh(path: Path, *, voxels: bool) -> Opened:
    """Reads the header, and with `voxels` the whole file. Frames are volumes."""
    from nibabel.freesurfer.mghformat import MGHHeader

    content = read_content(path) if voxels else read_head(path)
    expect_format(path, content[:HEAD], "MGH")
    if len(content) < VOXELS:
        raise EOFError(f"{len(content)} bytes, its header alone has {VOXELS}")
    # Its own footer, which says nothing of the geometry, lies behind the voxels.
    header = MGHHeader(content[: MGHHeader._hdrdtype.itemsize], check=False)
    stated = tuple(int(n) for n in header["dims"])
    if min(stated) < 1:
        raise FileError(f"{path}: expected a 3-D volume, found shape {stated} without a voxel", "not a volume")
    shape = without_single_axes(stated)
    known = bool(np.frombuffer(content, ">i2", 1, 28)[0])
    grid, oddities = place_affine(_affine(header), (shape[0], shape[1], shape[2]), path, located=known)
    oddities = (*oddities, *thin(shape))
    if not voxels:
        return Opened(shape, grid, oddities, None)
    return Opened(shape, grid, oddities, _voxels(header, content, stated).reshape(shape, order="F"))


def _affine(header: Any) -> Float64[np.ndarray, "4 4"]:
    """Returns the affine in RAS mm, by the header's own rule: its position is that of the volume's centre."""
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(header["Mdc"], np.float64).T * np.asarray(header["delta"], np.float64)
    affine[:3, 3] = header["Pxyz_c"] - affine[:3, :3] @ (header["dims"][:3] / 2)
    return affine


def _voxels(header: Any, content: bytes, shape: tuple[int, ...]) -> Num[np.ndarray, "..."]:
    dtype = np.dtype(header.get_data_dtype())
    end = VOXELS + math.prod(shape) * dtype.itemsize
    if end > len(content):
        raise EOFError(f"expected {end} bytes for shape {shape}, found {len(content)}")
    return np.ndarray(shape, dtype, content, VOXELS, order="F")
