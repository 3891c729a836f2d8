"""NIfTI files in RAS+ and back. The only module that knows nibabel.

Reading turns every volume into RAS+ with axes X Y Z by flips and axis permutations alone (no value is interpolated) and
remembers the file's own grid; writing puts an array back on that grid.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from jaxtyping import Float32, Float64, Integer, Num, UInt8
from numpy.typing import DTypeLike

from mets3d.data import DataError
from mets3d.files import replacing
from mets3d.ops.voxels import Spacing

Shape = tuple[int, ...]
WHOLE_NUMBER_TOLERANCE = 1e-3
GZIP_MAGIC = b"\x1f\x8b\x08"
DEFLATE_LIMIT = 1032  # no stream holds more times its length


class NotLabelsError(DataError):
    """A readable volume whose values cannot be labels."""


@dataclass(frozen=True, eq=False)
class Grid:
    """A file's own voxel grid: what is needed to write another array in the same place, orientation and header form."""

    shape: tuple[int, int, int]
    affine: Float64[np.ndarray, "4 4"]
    zooms: Spacing
    placement: dict[str, Any]  # the header's own fields that place the grid: see _PLACEMENT

    @property
    def orientation(self) -> str:
        """Where each array axis points, for example `LPS`."""
        import nibabel

        return "".join(str(code) for code in nibabel.aff2axcodes(self.affine))


@dataclass(frozen=True, eq=False)
class Header:
    """What a file says about itself, in its own axis order, without its voxels."""

    shape: Shape
    affine: Float64[np.ndarray, "4 4"]
    spacing_mm: Spacing
    orientation: str
    ras_shape: Shape
    ras_affine: Float64[np.ndarray, "4 4"]
    ras_spacing_mm: Spacing


@dataclass(frozen=True, eq=False)
class ImageVolume:
    """An image in RAS+: `affine` maps its voxel indices to mm, `source` is the grid of its file."""

    data: Float32[np.ndarray, "X Y Z"]
    spacing_mm: Spacing
    affine: Float64[np.ndarray, "4 4"]
    source: Grid


@dataclass(frozen=True, eq=False)
class LabelVolume:
    """A label map in RAS+, otherwise as `ImageVolume`."""

    labels: UInt8[np.ndarray, "X Y Z"]
    spacing_mm: Spacing
    affine: Float64[np.ndarray, "4 4"]
    source: Grid


@dataclass(frozen=True, eq=False)
class ProbabilityVolume:
    """Probabilities in RAS+, otherwise as `ImageVolume`. `names` has one name a channel."""

    names: tuple[str, ...]
    data: Float32[np.ndarray, "R X Y Z"]
    affine: Float64[np.ndarray, "4 4"]
    spacing_mm: Spacing
    source: Grid


def read_image(path: Path) -> ImageVolume:
    """The image in `path` as float32 in RAS+; NaN and infinity are kept for the caller to judge.

    Spacing is the header's voxel size in mm, in RAS order. Raises FileNotFoundError if there is no such file and
    DataError (a ValueError) naming the file if it is truncated, corrupt, not NIfTI or not a 3-D volume.
    """
    return ImageVolume(*_read(path))


def read_labels(path: Path, *, beyond: int | None = None) -> LabelVolume:
    """The label map in `path` as uint8 in RAS+. Integers stored as floats are accepted within 1e-3.

    beyond: the label that whole numbers outside 0..255 become. Raises as `read_image`, and NotLabelsError (a DataError)
    for values that are not whole numbers or, without `beyond`, not in 0..255.
    """
    values, spacing_mm, affine, grid = _read(path)
    with np.errstate(invalid="ignore"):
        whole = np.rint(values)
        wrong = ~(np.abs(values - whole) <= WHOLE_NUMBER_TOLERANCE)
    if wrong.any():
        raise NotLabelsError(
            f"{path}: expected whole numbers as labels, found {int(wrong.sum())} voxels that are not, for example "
            f"{float(values[wrong][0]):g}; a label map must be resampled with nearest neighbours"
        )
    if whole.size and (whole.min() < 0 or whole.max() > 255):
        if beyond is not None:
            whole = np.where((whole < 0) | (whole > 255), np.float32(beyond), whole)
            return LabelVolume(whole.astype(np.uint8), spacing_mm, affine, grid)
        raise NotLabelsError(f"{path}: expected labels from 0 to 255, found {whole.min():g} to {whole.max():g}")
    return LabelVolume(whole.astype(np.uint8), spacing_mm, affine, grid)


def read_probabilities(path: Path) -> ProbabilityVolume:
    """Probabilities as `write_probabilities` wrote them, in RAS+.

    Raises as `read_image`, and DataError if the file is not 4-D or its header does not name every channel.
    """
    import nibabel

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
    orientation = nibabel.io_orientation(grid.affine)
    data = np.ascontiguousarray(np.moveaxis(nibabel.apply_orientation(stored, orientation), 3, 0))
    return ProbabilityVolume(names, data, _ras_affine(grid, orientation), _ras_spacing(grid, orientation), grid)


def read_header(path: Path) -> Header:
    """Shape, affine, spacing and orientation of `path` without decompressing its voxels. Raises as `read_image`."""
    import nibabel

    with _faults_named(path):
        image = nibabel.load(path)
        grid = _grid(image, path)
    orientation = nibabel.io_orientation(grid.affine)
    order = np.argsort(orientation[:, 0])
    return Header(
        shape=grid.shape,
        affine=grid.affine,
        spacing_mm=grid.zooms,
        orientation=grid.orientation,
        ras_shape=tuple(grid.shape[axis] for axis in order),
        ras_affine=_ras_affine(grid, orientation),
        ras_spacing_mm=_ras_spacing(grid, orientation),
    )


def in_file_order(ras: Num[np.ndarray, "X Y Z"], grid: Grid) -> Num[np.ndarray, "x y z"]:
    """A RAS+ array with the axes and directions of the file that it came from."""
    import nibabel
    from nibabel.orientations import axcodes2ornt, ornt_transform

    own = nibabel.io_orientation(grid.affine)
    return np.asarray(nibabel.apply_orientation(ras, ornt_transform(axcodes2ornt("RAS"), own)))


def ras_position_mm(position_mm: Spacing, grid: Grid) -> Spacing:
    """A position along a file's own axes, index times voxel size, told along the axes of its RAS+ array."""
    import nibabel

    along = [0.0, 0.0, 0.0]
    for axis, (ras_axis, direction) in enumerate(nibabel.io_orientation(grid.affine)):
        last_mm = (grid.shape[axis] - 1) * grid.zooms[axis]
        along[int(ras_axis)] = position_mm[axis] if direction > 0 else last_mm - position_mm[axis]
    return _three(along)


def write_labels(path: Path, labels_ras: Integer[np.ndarray, "X Y Z"], grid: Grid) -> None:
    """Writes a RAS+ label map as uint8 on the file grid that it came from: same shape, affines, codes and units.

    The file is whole or absent. Raises DataError if the array does not fit the grid or a label is not in 0..255.
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

    `probabilities_ras` is an array [R, X, Y, Z] or a sequence of volumes, of which one is asked for and held at a time.
    The names of the channels go to the header's `descrip`, as in "WT TC ET". Equal arrays make equal files, byte for
    byte. Raises DataError if the volumes do not fit the grid, or the names neither the volumes nor the header.
    """
    description = " ".join(names).encode()
    if len(names) != len(probabilities_ras) or any(len(name.split()) != 1 for name in names) or len(description) > 79:
        raise DataError(
            f"{path}: expected {len(probabilities_ras)} names without spaces, 79 characters in all, found {list(names)}"
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


# ---------------------------------------------------------------- reading

_QUATERNION = ("qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
_PLACEMENT = ("pixdim", "xyzt_units", *_QUATERNION, "sform_code", "srow_x", "srow_y", "srow_z")


def _read(
    path: Path,
) -> tuple[Float32[np.ndarray, "X Y Z"], Spacing, Float64[np.ndarray, "4 4"], Grid]:
    import nibabel

    with _faults_named(path):
        image, content = _decompressed(path)
        grid = _grid(image, path)
        stored = _voxels(image.dataobj, content)
    orientation = nibabel.io_orientation(grid.affine)
    data = _laid_out(nibabel.apply_orientation(stored, orientation), "C", np.float32)
    return data, _ras_spacing(grid, orientation), _ras_affine(grid, orientation), grid


def _decompressed(path: Path) -> tuple[Any, bytes]:
    """The image in memory, and its bytes. Inflating the whole stream compares its checksum: a partial read does not."""
    import nibabel

    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = _inflated(content)
    kind = nibabel.Nifti2Image if 540 in _header_sizes(content) else nibabel.Nifti1Image
    return kind.from_bytes(content), content


def _inflated(packed: bytes) -> bytes:
    """As `gzip.decompress`, in less than half its time where one stream fills the file, by the length at its end.

    zlib by itself stops after the first stream, so a file in which another could begin is left to gzip; and so is one
    whose last bytes tell of another length: it is cut off, or has something behind the stream.
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
    """The values as they lie in the file where float32 holds each and nothing scales them, else as float32."""
    whole = proxy.offset + math.prod(proxy.shape) * proxy.dtype.itemsize <= len(content)  # else nibabel says what lacks
    if whole and (proxy.slope, proxy.inter) == (1, 0) and np.can_cast(proxy.dtype, np.float32):
        return np.ndarray(proxy.shape, proxy.dtype, content, proxy.offset, order="F")
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(proxy, dtype=np.float32)


def _header_sizes(content: bytes) -> tuple[int, int]:
    return int.from_bytes(content[:4], "little"), int.from_bytes(content[:4], "big")


class _faults_named:  # noqa: N801 - reads as a statement
    """Turns whatever decompression and parsing raise into one DataError with the file's name."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> None:
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path}: no such file")

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        from nibabel.filebasedimages import ImageFileError
        from nibabel.spatialimages import HeaderDataError
        from nibabel.wrapstruct import WrapStructError

        parsing = (ImageFileError, HeaderDataError, WrapStructError)
        decoding = (EOFError, OSError, zlib.error, ValueError, TypeError, *parsing)
        if isinstance(error, DataError) or not isinstance(error, decoding):
            return
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"{self.path}: cannot be read as NIfTI, truncated or corrupt ({reason}); fetch or convert the file again"
        ) from error


def _grid(image: Any, path: Path, axes: int = 3) -> Grid:
    if len(image.shape) != axes:
        advice = "; split it into 3-D files" if axes == 3 else ""
        raise DataError(f"{path}: expected a {axes}-D volume, found shape {tuple(image.shape)}{advice}")
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise DataError(f"{path}: its affine has no inverse, so its orientation is unknown: {affine[:3].tolist()}")
    header = image.header
    return Grid(
        shape=(int(image.shape[0]), int(image.shape[1]), int(image.shape[2])),
        affine=affine,
        zooms=_three(header.get_zooms()[:3]),
        placement={field: header[field].copy() for field in _PLACEMENT},
    )


def _three(values: Any) -> Spacing:
    x, y, z = (float(value) for value in values)
    return x, y, z


def _ras_spacing(grid: Grid, orientation: Any) -> Spacing:
    """Rounded to a nanometre: headers hold float32, where 0.859 is 0.8590000272."""
    order = np.argsort(orientation[:, 0])
    return _three(round(grid.zooms[axis], 6) for axis in order)


def _ras_affine(grid: Grid, orientation: Any) -> Float64[np.ndarray, "4 4"]:
    from nibabel.orientations import inv_ornt_aff

    return np.asarray(grid.affine @ inv_ornt_aff(orientation, grid.shape), dtype=np.float64)


# ---------------------------------------------------------------- writing


def _write(path: Path, ras: Num[np.ndarray, "X Y Z"], grid: Grid) -> None:
    import nibabel

    stored = _stored(path, ras, grid)
    image = nibabel.Nifti1Image(stored, None, _header(grid, stored.shape, stored.dtype))
    with replacing(path) as temporary:
        nibabel.save(image, temporary)


def _stored(path: Path, ras: Num[np.ndarray, "X Y Z"], grid: Grid) -> Num[np.ndarray, "x y z"]:
    """A RAS+ array in the file's own orientation."""
    stored = in_file_order(ras, grid)
    if stored.shape != grid.shape:
        raise DataError(f"{path}: expected an array for a grid of {grid.shape}, found {stored.shape}")
    if stored.dtype.kind != "u":
        return _laid_out(stored, "F")
    whole = np.zeros(grid.shape, stored.dtype, order="F")  # of a label map most is 0
    filled = _filled(stored)
    whole[filled] = _laid_out(stored[filled], "F")
    return whole


def _filled(labels: Integer[np.ndarray, "X Y Z"]) -> tuple[slice, slice, slice]:
    """The smallest box around what is not 0; an empty one where all is."""
    plane = np.any(labels, axis=0)
    lines = map(np.flatnonzero, (np.any(labels, axis=(1, 2)), np.any(plane, axis=1), np.any(plane, axis=0)))
    x, y, z = (slice(line[0], line[-1] + 1) if len(line) else slice(0) for line in lines)
    return x, y, z


def _laid_out(
    volume: Num[np.ndarray, "X Y Z"], order: Literal["C", "F"], dtype: DTypeLike | None = None
) -> Num[np.ndarray, "X Y Z"]:
    """A copy in this memory order. Files have X fastest, arrays Z: plane by plane both stay in the cache."""
    copy = np.empty(volume.shape, volume.dtype if dtype is None else dtype, order=order)
    for y in range(volume.shape[1]):
        copy[:, y] = volume[:, y]
    return copy


def _header(grid: Grid, shape: Shape, dtype: np.dtype[Any]) -> Any:
    import nibabel

    header = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    header.set_data_dtype(dtype)
    for field, value in grid.placement.items():
        header[field] = value
    header["pixdim"][4:] = 1
    header["vox_offset"], header["magic"] = 352, b"n+1"
    return header


@contextmanager
def _stream(path: Path) -> Iterator[BinaryIO | gzip.GzipFile]:
    """A file to write to, compressed if its name says so, without the time and name that gzip would put in."""
    with path.open("wb") as file:
        if path.suffix != ".gz":
            yield file
            return
        with gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0) as packed:
            yield packed
