"""Opens MGH and MGZ, FreeSurfer's format."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Num

from mets3d.data.nifti.content import expect_format, read_content, read_head
from mets3d.data.nifti.opened import Opened, expect_room, thin, without_single_axes
from mets3d.data.nifti.placement import place_affine
from mets3d.data.nifti.volumes import FileError

VOXELS = 284  # the first byte behind the header


def open_mgh(path: Path, *, voxels: bool) -> Opened:
    """Reads the header, and with `voxels` the whole file. Frames are volumes."""
    from nibabel.freesurfer.mghformat import MGHHeader

    head = read_head(path)
    expect_format(path, head, "MGH")
    if len(head) < VOXELS:
        raise EOFError(f"{len(head)} bytes, its header alone has {VOXELS}")
    # Its own footer, which says nothing of the geometry, lies behind the voxels.
    header = MGHHeader(head[: MGHHeader._hdrdtype.itemsize], check=False)
    stated = tuple(int(n) for n in header["dims"])
    if min(stated) < 1:
        raise FileError(f"{path}: expected a 3-D volume, found shape {stated} without a voxel", "not a volume")
    shape = without_single_axes(stated)
    known = bool(np.frombuffer(head, ">i2", 1, 28)[0])
    grid, oddities = place_affine(_affine(header), (shape[0], shape[1], shape[2]), path, located=known)
    oddities = (*oddities, *thin(shape))
    if not voxels:
        return Opened(shape, grid, oddities, None)
    return Opened(shape, grid, oddities, _voxels(header, path, stated).reshape(shape, order="F"))


def _affine(header: Any) -> Float64[np.ndarray, "4 4"]:
    """Returns the affine in RAS mm, by the header's own rule: its position is that of the volume's centre."""
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(header["Mdc"], np.float64).T * np.asarray(header["delta"], np.float64)
    affine[:3, 3] = header["Pxyz_c"] - affine[:3, :3] @ (header["dims"][:3] / 2)
    return affine


def _voxels(header: Any, path: Path, shape: tuple[int, ...]) -> Num[np.ndarray, "..."]:
    dtype = np.dtype(header.get_data_dtype())
    expect_room(shape, dtype.itemsize, path)
    end = VOXELS + math.prod(shape) * dtype.itemsize
    content = read_content(path, end)
    if end > content.length:
        raise EOFError(f"expected {end} bytes for shape {shape}, found {content.length}")
    return np.ndarray(shape, dtype, content.kept, VOXELS, order="F")
