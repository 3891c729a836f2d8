"""Writes RAS+ arrays to NIfTI files on the grid of a case. A file is written completely or not at all."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float32, Float64, Integer, Num

from mets3d.data import DataError
from mets3d.data.nifti.orientation import in_file_order, laid_out
from mets3d.data.nifti.volumes import Grid, Shape
from mets3d.files import replacing
from mets3d.ops.voxels import bounding_box

LONGEST_DESCRIPTION = 79  # bytes that the header's `descrip` holds
HEADER_BYTES = 352  # of NIfTI-1 in one file, with the four bytes that say that no extension follows


def write_labels(path: Path, labels_ras: Integer[np.ndarray, "X Y Z"], grid: Grid) -> None:
    """Writes a RAS+ label map as uint8 on the file grid that it came from: same shape, affines, codes and units.

    Raises DataError if the array does not fit the grid or a label is not in 0..255.
    """
    if labels_ras.size and (labels_ras.min() < 0 or labels_ras.max() > 255):
        raise DataError(f"{path}: expected labels from 0 to 255, found {labels_ras.min()} to {labels_ras.max()}")
    _write(path, labels_ras.astype(np.uint8, copy=False), grid)


def write_scalar(path: Path, values_ras: Float32[np.ndarray, "X Y Z"], grid: Grid) -> None:
    """Writes a RAS+ map of numbers as float32 on the file grid of the case. Raises as `write_labels`."""
    _write(path, values_ras, grid)


def write_probabilities(
    path: Path,
    probabilities_ras: Float32[np.ndarray, "R X Y Z"] | Sequence[Float32[np.ndarray, "X Y Z"]],
    grid: Grid,
    names: Sequence[str],
) -> None:
    """Writes RAS+ probabilities as a 4-D float32 file, channels on the last axis, on the file grid of the case.

    `probabilities_ras` is an array [R, X, Y, Z] or a sequence of volumes, of which one is fetched and held at a time.
    The names of the channels go to the header's `descrip`, as in "WT TC ET". Equal arrays make equal files, byte for
    byte. Raises DataError if the volumes do not fit the grid, or the names neither the volumes nor the header.
    """
    description = " ".join(names).encode()
    are_words = all(len(name.split()) == 1 for name in names)
    if len(names) != len(probabilities_ras) or not are_words or len(description) > LONGEST_DESCRIPTION:
        raise DataError(
            f"{path}: expected {len(probabilities_ras)} names without spaces, {LONGEST_DESCRIPTION} characters in all, "
            f"found {list(names)}"
        )
    header = _header(grid, (*grid.shape, len(names)), np.dtype(np.float32))
    header["descrip"] = description
    with replacing(path) as temporary, _stream(temporary) as stream:
        stream.write(header.binaryblock + bytes(4))  # 4 bytes: no extensions
        for volume in probabilities_ras:
            stream.write(_stored(path, volume.astype(np.float32, copy=False), grid).T.data)  # X fastest


def write_image(path: Path, data: Num[np.ndarray, "X Y Z"], affine: Float64[np.ndarray, "4 4"]) -> None:
    """Writes an array as it lies, in its own number type; `affine` (mm) becomes qform and sform, code 1 (scanner).

    A file that already holds just this is left untouched.
    """
    import nibabel

    image = nibabel.Nifti1Image(data, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    image.header.set_xyzt_units("mm")
    with replacing(path, keep_equal=True) as temporary:
        nibabel.save(image, temporary)


# ---------------------------------------------------------------- on the file's grid


def _write(path: Path, ras: Num[np.ndarray, "X Y Z"], grid: Grid) -> None:
    import nibabel

    stored = _stored(path, ras, grid)
    image = nibabel.Nifti1Image(stored, None, _header(grid, stored.shape, stored.dtype))
    with replacing(path) as temporary:
        nibabel.save(image, temporary)


def _stored(path: Path, ras: Num[np.ndarray, "X Y Z"], grid: Grid) -> Num[np.ndarray, "x y z"]:
    """Turns a RAS+ array to the file's own orientation."""
    stored = in_file_order(ras, grid)
    if stored.shape != grid.shape:
        raise DataError(f"{path}: expected an array for a grid of {grid.shape}, found {stored.shape}")
    if stored.dtype.kind != "u":
        return laid_out(stored, "F")
    whole = np.zeros(grid.shape, stored.dtype, order="F")  # of a label map most is 0
    filled = bounding_box(stored != 0)
    if filled is not None:
        whole[filled] = laid_out(stored[filled], "F")
    return whole


def _header(grid: Grid, shape: Shape, dtype: np.dtype[Any]) -> Any:
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(dtype)
    for field, value in grid.placement.items():
        header[field] = value
    header["pixdim"][4:] = 1
    header["vox_offset"], header["magic"] = HEADER_BYTES, b"n+1"
    return header


@contextmanager
def _stream(path: Path) -> Iterator[BinaryIO | gzip.GzipFile]:
    """Opens a file to write to, compressed if its name says so, without the time and name that gzip would put in."""
    with path.open("wb") as file:
        if path.suffix != ".gz":
            yield file
            return
        with gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0) as packed:
            yield packed
