"""Reads NIfTI files as volumes in RAS+. Every error names its file."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Num

from mets3d.data import DataError
from mets3d.data.nifti.orientation import in_ras_order, laid_out, ras_affine, ras_shape, ras_spacing
from mets3d.data.nifti.volumes import Grid, Header, ImageVolume, LabelVolume, ProbabilityVolume

WHOLE_NUMBER_TOLERANCE = 1e-3
GZIP_MAGIC = b"\x1f\x8b\x08"
DEFLATE_LIMIT = 1032  # no stream holds more times its length
QUATERNION = ("qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
PLACEMENT = ("pixdim", "xyzt_units", *QUATERNION, "sform_code", "srow_x", "srow_y", "srow_z")


class NotLabelsError(DataError):
    """A readable volume whose values cannot be labels."""


def read_image(path: Path, *, volume: int | None = None) -> ImageVolume:
    """Reads an image, or one volume of a 4-D file, as float32 in RAS+.

    NaN and infinity are kept for the caller to judge. Spacing is the header's voxel size in mm, in RAS order. Raises
    FileNotFoundError if there is no such file and DataError (a ValueError) naming the file if it is truncated, corrupt,
    not NIfTI or not a 3-D volume.
    """
    values, grid = _read(path, volume)
    return ImageVolume(values, ras_spacing(grid), ras_affine(grid), grid)


def read_labels(path: Path, *, beyond: int | None = None) -> LabelVolume:
    """Reads the label map in `path` as uint8 in RAS+. Integers stored as floats are accepted within 1e-3.

    beyond: the label that whole numbers outside 0..255 become. Raises as `read_image`, and NotLabelsError (a DataError)
    for values that are not whole numbers or, without `beyond`, not in 0..255.
    """
    values, grid = _read(path)
    with np.errstate(invalid="ignore"):
        whole = np.rint(values)
        wrong = ~(np.abs(values - whole) <= WHOLE_NUMBER_TOLERANCE)
    if wrong.any():
        raise NotLabelsError(
            f"{path}: expected whole numbers as labels, found {int(wrong.sum())} voxels that are not, for example "
            f"{float(values[wrong][0]):g}; a label map must be resampled with nearest neighbours"
        )
    if whole.size and (whole.min() < 0 or whole.max() > 255):
        if beyond is None:
            raise NotLabelsError(f"{path}: expected labels from 0 to 255, found {whole.min():g} to {whole.max():g}")
        whole = np.where((whole < 0) | (whole > 255), np.float32(beyond), whole)
    return LabelVolume(whole.astype(np.uint8), ras_spacing(grid), ras_affine(grid), grid)


def read_probabilities(path: Path) -> ProbabilityVolume:
    """Reads probabilities as `write_probabilities` wrote them, in RAS+.

    Raises as `read_image`, and DataError if the file is not 4-D or its header does not name every channel.
    """
    with _faults_named(path):
        image, _ = _decompressed(path)
        grid = _grid(image, path, axes=4)
        stored = np.asarray(image.dataobj, dtype=np.float32)
        names = tuple(image.header["descrip"].item().decode("latin-1").split())
    if len(names) != stored.shape[3]:
        raise DataError(
            f"{path}: expected a header that names {stored.shape[3]} channels, such as 'WT TC ET', found "
            f"{' '.join(names)!r}; write the file with `mets3d predict --probabilities`"
        )
    data = np.ascontiguousarray(np.moveaxis(in_ras_order(stored, grid), 3, 0))
    return ProbabilityVolume(names, data, ras_affine(grid), ras_spacing(grid), grid)


def read_header(path: Path) -> Header:
    """Reads shape, affine and spacing of `path` without decompressing its voxels. Raises as `read_image`."""
    import nibabel

    with _faults_named(path):
        image = nibabel.load(path)
        grid = _grid(image, path)
    return Header(ras_shape(grid), ras_affine(grid), ras_spacing(grid), grid)


# ---------------------------------------------------------------- voxels


def _read(path: Path, volume: int | None = None) -> tuple[Float32[np.ndarray, "X Y Z"], Grid]:
    """Reads the values in RAS+, and the file's grid."""
    with _faults_named(path):
        image, content = _decompressed(path)
        grid = _grid(image, path, axes=3 if volume is None else 4)
        stored = _voxels(image.dataobj, content)
        if volume is not None:
            stored = stored[..., volume]
    return laid_out(in_ras_order(stored, grid), "C", np.float32), grid


def _decompressed(path: Path) -> tuple[Any, bytes]:
    """Reads the image into memory, and its bytes.

    Inflating the whole stream compares its checksum, which a partial read does not.
    """
    import nibabel

    content = path.read_bytes()
    if content[:2] == GZIP_MAGIC[:2]:
        content = _inflated(content)
    kind = nibabel.Nifti2Image if 540 in _header_sizes(content) else nibabel.Nifti1Image
    return kind.from_bytes(content), content


def _inflated(packed: bytes) -> bytes:
    """Does what `gzip.decompress` does, in less than half its time where one stream fills the file.

    The length at the file's end sizes the buffer. zlib by itself stops after the first stream, so a file in which
    another could begin is left to gzip; so is one whose last bytes name another length, which is cut off or has
    something behind the stream.
    """
    size = int.from_bytes(packed[-4:], "little")
    if packed.find(GZIP_MAGIC, 1) > 0 or size > DEFLATE_LIMIT * len(packed):
        return gzip.decompress(packed)
    try:
        content = zlib.decompress(packed, zlib.MAX_WBITS | 16, size)
    except zlib.error:  # gzip says what is wrong
        return gzip.decompress(packed)
    return content if len(content) == size else gzip.decompress(packed)


def _voxels(proxy: Any, content: bytes) -> Num[np.ndarray, "x y z"]:
    """Returns the values as they lie in the file where float32 holds each and nothing scales them, else as float32."""
    # Where the file is cut off, nibabel says what is missing.
    whole = proxy.offset + math.prod(proxy.shape) * proxy.dtype.itemsize <= len(content)
    if whole and (proxy.slope, proxy.inter) == (1, 0) and np.can_cast(proxy.dtype, np.float32):
        return np.ndarray(proxy.shape, proxy.dtype, content, proxy.offset, order="F")
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(proxy, dtype=np.float32)


def _header_sizes(content: bytes) -> tuple[int, int]:
    """Returns the header's size, which distinguishes NIfTI-1 and NIfTI-2, in either byte order."""
    return int.from_bytes(content[:4], "little"), int.from_bytes(content[:4], "big")


# ---------------------------------------------------------------- grid and faults


def _grid(image: Any, path: Path, axes: int = 3) -> Grid:
    """Returns the file's own grid. Raises DataError for another number of axes and an affine without inverse."""
    if len(image.shape) != axes:
        advice = "; split it into 3-D files" if axes == 3 else ""
        raise DataError(f"{path}: expected a {axes}-D volume, found shape {tuple(image.shape)}{advice}")
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise DataError(f"{path}: its affine has no inverse, so its orientation is unknown: {affine[:3].tolist()}")
    header = image.header
    x_mm, y_mm, z_mm = (float(side) for side in header.get_zooms()[:3])
    return Grid(
        shape=(int(image.shape[0]), int(image.shape[1]), int(image.shape[2])),
        affine=affine,
        zooms=(x_mm, y_mm, z_mm),
        placement={field: header[field].copy() for field in PLACEMENT},
    )


@contextmanager
def _faults_named(path: Path) -> Iterator[None]:
    """Turns whatever decompression and parsing raise into one DataError with the file's name."""
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    parsing = (ImageFileError, HeaderDataError, WrapStructError)
    try:
        yield
    except DataError:
        raise
    except (EOFError, OSError, zlib.error, ValueError, TypeError, *parsing) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"{path}: cannot be read as NIfTI, truncated or corrupt ({reason}); fetch or convert the file again"
        ) from error
