"""Opens NRRD, attached (`.nrrd`) or with its voxels in another file (`.nhdr`), through pynrrd."""

from __future__ import annotations

import bz2
import gzip
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Num

from mets3d.data.nifti.content import PIECE, expect_format, read_head
from mets3d.data.nifti.opened import SPLIT, Opened, expect_room, thin
from mets3d.data.nifti.placement import place_affine
from mets3d.data.nifti.volumes import FileError, Grid, Oddity

# By the name of a space: the signs that turn its axes to right, anterior, superior.
SPACES = {
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}
UNSTATED = (-1, -1, 1)  # as ITK takes files that do not say
IN_MM = {"mm": 1.0, "cm": 10.0, "m": 1e3, "um": 1e-3, "µm": 1e-3}
COLOURS = ("rgb-color", "rgba-color", "hsv-color", "xyz-color", "4-color", "3-color")
WHOLE_SEGMENTATION = "export the segmentation as one label map"


def open_nrrd(path: Path, *, voxels: bool) -> Opened:
    """Reads the header, and with `voxels` the voxels too.

    An axis that is no direction in space, as that of a segmentation's layers, is that of volumes. Raises FileError
    without pynrrd, which is an extra.
    """
    expect_format(path, read_head(path), "NRRD")
    header, stored = _read(path, voxels)
    spatial, others = _axes(header, path)
    sizes = [int(n) for n in header["sizes"]]
    three = (sizes[spatial[0]], sizes[spatial[1]], sizes[spatial[2]])
    shape = (*three, *(sizes[axis] for axis in others if sizes[axis] != 1))
    grid, oddities = _grid(header, spatial, three, path)
    oddities = (*oddities, *thin(shape))
    if stored is not None:
        stored = np.transpose(stored, (*spatial, *others)).reshape(shape, order="F")
    split = WHOLE_SEGMENTATION if any(field.startswith("Segment0_") for field in header) else SPLIT
    return Opened(shape, grid, oddities, stored, split=split)


def _read(path: Path, voxels: bool) -> tuple[dict[str, Any], Num[np.ndarray, "..."] | None]:
    try:
        import nrrd
    except ImportError as error:
        raise FileError(
            f"{path}: reading NRRD needs the package pynrrd; install it with `pip install 'mets3d[formats]'`",
            "package not installed",
        ) from error
    try:
        with path.open("rb") as file:
            header = nrrd.read_header(file)
            if not voxels:
                return header, None
            return header, nrrd.read_data(*_unpacked(header, file, path), str(path), index_order="F")
    except nrrd.NRRDError as error:
        raise ValueError(str(error)) from error


def _unpacked(header: dict[str, Any], file: Any, path: Path) -> tuple[dict[str, Any], Any]:
    """Returns header and stream for pynrrd, which inflates a compressed file without bounds: here that is done.

    Raises FileError where the voxels are elsewhere than beside the header, or more than it says.
    """
    import nrrd

    sizes, itemsize = [int(n) for n in header["sizes"]], nrrd.reader._determine_datatype(header).itemsize
    if min(sizes) > 0:
        expect_room(tuple(sizes), itemsize, path)
    detached = next((str(header[key]) for key in ("datafile", "data file") if key in header), None)
    beside = path if detached is None else path.parent / detached
    apart = not beside.resolve().is_relative_to(path.parent.resolve())
    if apart or (beside.exists() and not beside.is_file()):  # a file that is not there, pynrrd names
        advice = "put it there, and correct the header's `data file`"
        raise FileError(
            f"{path}: expected its voxels in a file beside it, found {detached}; {advice}", "half of a pair"
        )
    packing = str(header.get("encoding"))[:2]
    if packing not in ("gz", "bz"):
        return header, file
    stream = file if detached is None else io.BytesIO(beside.read_bytes())
    for _ in range(header.get("lineskip", header.get("line skip", 0))):
        stream.readline()
    most = math.prod(sizes) * itemsize + max(0, header.get("byteskip", header.get("byte skip", 0))) + PIECE
    with gzip.GzipFile(fileobj=stream) if packing == "gz" else bz2.BZ2File(stream) as whole:
        content = whole.read(most + 1)
    if len(content) > most:
        found = f"more voxels than its sizes, {sizes}; correct the header"
        raise FileError(f"{path}: {found}", "far more voxels than the header says")
    plain = {
        key: value for key, value in header.items() if key not in ("lineskip", "line skip", "datafile", "data file")
    }
    return {**plain, "encoding": "raw"}, io.BytesIO(content)


def _axes(header: dict[str, Any], path: Path) -> tuple[list[int], list[int]]:
    """Returns the three axes of space and the others. Raises FileError for another number and for no numbers."""
    count = len(header["sizes"])
    kinds = [str(kind).lower() for kind in header.get("kinds", ["space"] * count)]
    if "complex" in kinds:
        raise FileError(
            f"{path}: expected one number a voxel, found complex ones; take the magnitude", "complex voxels"
        )
    if any(kind in COLOURS for kind in kinds):
        raise FileError(f"{path}: expected one number a voxel, found colours; convert it", "colour voxels")
    directions = header.get("space directions")
    sides = np.asarray(header.get("spacings", np.full(count, np.nan)), np.float64)
    known = np.isfinite(sides) if directions is None else np.isfinite(_rows(directions)).all(axis=1)
    spatial = [axis for axis in range(count) if known[axis]]
    others = [axis for axis in range(count) if not known[axis]]
    sizes = tuple(int(n) for n in header["sizes"])
    if len(spatial) != 3 or sum(sizes[axis] > 1 for axis in others) > 1 or min(sizes) < 1:
        found = f"shape {sizes} with {len(spatial)} axes that have a direction or a spacing"
        raise FileError(f"{path}: expected a 3-D volume, found {found}", "not a volume")
    return spatial, others


def _rows(directions: Any) -> Float64[np.ndarray, "axes 3"]:
    """Returns one vector an axis, NaN for one that is not in space."""
    none = np.full(3, np.nan)
    return np.array([none if row is None else np.asarray(row, np.float64) for row in directions])


def _grid(
    header: dict[str, Any], spatial: list[int], shape: tuple[int, int, int], path: Path
) -> tuple[Grid, tuple[Oddity, ...]]:
    space = str(header.get("space", "")).lower()
    directions = header.get("space directions")
    affine = np.eye(4)
    if directions is None:
        affine[:3, :3] = np.diag(np.asarray(header["spacings"], np.float64)[spatial])
    else:
        affine[:3, :3] = _rows(directions)[spatial].T
        affine[:3, 3] = header.get("space origin", (0.0, 0.0, 0.0))
    factor, oddities = _unit(header, path)
    affine[:3] *= np.array(SPACES.get(space, UNSTATED), np.float64)[:, None] * factor
    located = space in SPACES and directions is not None and "space origin" in header
    grid, more = place_affine(affine, shape, path, located=located)
    return grid, (*oddities, *more)


def _unit(header: dict[str, Any], path: Path) -> tuple[float, tuple[Oddity, ...]]:
    units = {str(unit).strip('"') for unit in header.get("space units", ())} or {"mm"}
    unit = units.pop()
    if units or unit not in IN_MM:
        found = ", ".join(sorted({unit, *units}))
        raise FileError(f"{path}: expected space units of mm, found {found}; correct the header", "unlikely unit")
    if unit == "mm":
        return 1.0, ()
    return IN_MM[unit], (Oddity("warning", "unit is not mm", f"space units of {unit}; converted", "write it in mm"),)
