"""Finds where a file's voxels lie: the affine and voxel sizes of a NIfTI header, in mm, and what is odd about them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from mets3d.data.nifti.volumes import FileError, Grid, Oddity
from mets3d.ops.voxels import Shape3, Spacing

Affine = Float64[np.ndarray, "4 4"]

QUATERNION = ("qform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
PLACEMENT = ("pixdim", "xyzt_units", *QUATERNION, "sform_code", "srow_x", "srow_y", "srow_z")
UNITS = {1: ("metre", 1e3), 3: ("micrometre", 1e-3)}  # NIfTI's codes; 2 is mm, 0 not stated
PLAUSIBLE_MM = 0.02, 30.0  # sides of a voxel in MRI
POSSIBLE_MM = 0.005, 200.0  # beyond these a header is broken, and what is made of it would fill the memory
FLAT = 1e-4  # a determinant of unit columns below which three axes span no space
SIZE_TOLERANCE = 0.01  # as in mets3d.data.grids
APART_VOXELS = 0.1  # as in mets3d.data.grids
SHEAR_DEGREES = 0.5  # above what rounding of a header's numbers makes
MOST_SHEAR_DEGREES = 10.0  # where distances along the axes are off by up to 9 %
SCANNER = 1  # the code of "where the scanner saw it"; above it are other frames, such as a template's


@dataclass
class _Found:
    """What is known so far of one header. Its numbers are in mm."""

    path: Path
    header: Any
    shape: Shape3
    sides_mm: Float64[np.ndarray, "3"]
    factor: float  # from the header's unit to mm
    oddities: list[Oddity] = field(default_factory=list)

    def warn(self, what: str, detail: str, advice: str) -> None:
        self.oddities.append(Oddity("warning", what, detail, advice))

    def error(self, what: str, detail: str, advice: str) -> FileError:
        return FileError(f"{self.path}: {detail}; {advice}", what)


def place(header: Any, shape: Shape3, path: Path) -> tuple[Grid, tuple[Oddity, ...]]:
    """Returns the grid that a nibabel header of NIfTI-1 or NIfTI-2 describes, and what is odd about it.

    The affine is the sform, without one the qform, without both a guess that is said. Voxel sizes are those of
    `pixdim`; where these are no sizes, the lengths of the affine's columns. Raises FileError where nothing says what
    the geometry is: an affine without inverse, sizes that are none and no sform, metres or micrometres that make no
    voxel of MRI, axes far from right angles.
    """
    factor = UNITS.get(int(header["xyzt_units"]) & 7, ("mm", 1.0))[1]
    sides = np.asarray(header["pixdim"][1:4], dtype=np.float64) * factor
    found = _Found(path, header, shape, sides, factor)
    affine, located = _affine(found)
    zooms = _voxel_sizes(found, affine)
    found.oddities += [*_unit_findings(found, zooms), *shear_findings(affine, path)]
    _expect_possible(zooms, path)
    placement = {name: header[name].copy() for name in PLACEMENT}
    placement["pixdim"][1:4] = np.asarray(zooms) / factor
    return Grid(shape, affine, zooms, placement, located), tuple(found.oddities)


def place_affine(affine: Affine, shape: Shape3, path: Path, *, located: bool) -> tuple[Grid, tuple[Oddity, ...]]:
    """Returns the grid of a file of another format by its affine (RAS mm), with the fields of a NIfTI header for it.

    located: whether the file says where its voxels lie. Raises FileError for an affine without inverse or far from
    right angles.
    """
    import nibabel

    if not is_invertible(affine):
        raise FileError(
            f"{path}: its affine has no inverse: {affine[:3].tolist()}; correct the header", "no orientation"
        )
    oddities = [*shear_findings(affine, path)]
    if not located:
        detail = f"nothing says where in the world the voxels lie; axes taken as {''.join(nibabel.aff2axcodes(affine))}"
        advice = "make sure that all scans of the case are stored alike"
        oddities.append(Oddity("warning", "no orientation", detail, advice))
    header = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    header.set_xyzt_units("mm")
    header.set_sform(affine, SCANNER)
    header.set_qform(affine, SCANNER)
    x_mm, y_mm, z_mm = (float(side) for side in np.linalg.norm(affine[:3, :3], axis=0))
    zooms = x_mm, y_mm, z_mm
    _expect_possible(zooms, path)
    oddities += _unlikely(zooms)
    return Grid(shape, affine, zooms, {name: header[name].copy() for name in PLACEMENT}, located), tuple(oddities)


def is_invertible(affine: Affine) -> bool:
    """Returns whether an affine has finite numbers and three axes that span the space."""
    columns = affine[:3, :3]
    if not np.isfinite(affine).all() or not (np.linalg.norm(columns, axis=0) > 0).all():
        return False
    return bool(abs(np.linalg.det(columns / np.linalg.norm(columns, axis=0))) > FLAT)


def shear_findings(affine: Affine, path: Path) -> Iterator[Oddity]:
    """Yields the oddity of axes that are not at right angles. Raises FileError far from them."""
    unit = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    cosines = [abs(float(unit[:, a] @ unit[:, b])) for a, b in itertools.combinations(range(3), 2)]
    degrees = float(np.degrees(np.arcsin(min(1.0, max(cosines)))))
    if degrees <= SHEAR_DEGREES:
        return
    detail = f"the affine's axes are up to {degrees:.1f} degrees off right angles"
    advice = "resample the scan onto a grid without shear"
    if degrees > MOST_SHEAR_DEGREES:
        raise FileError(f"{path}: {detail}, so distances and volumes would be wrong; {advice}", "sheared axes")
    yield Oddity("warning", "sheared axes", f"{detail}; they are taken as right ones", advice)


def size_text(sides: Iterable[float]) -> str:
    """Returns three sides as text, in mm."""
    return " x ".join(f"{float(side):.4g}" for side in sides) + " mm"


# ---------------------------------------------------------------- affine


def _affine(found: _Found) -> tuple[Affine, bool]:
    """Returns the affine, and whether the header says where the voxels lie in the world."""
    header = found.header
    s_code, q_code = int(header["sform_code"]), int(header["qform_code"])
    sform = _in_mm(header.get_sform(), found.factor) if s_code else None
    qform = _qform(found) if q_code else None
    if sform is not None and is_invertible(sform):
        if qform is not None:
            found.oddities += _disagreement(found, sform, qform)
        return sform, True
    if qform is not None:
        if sform is not None:
            found.warn("broken sform", "the sform has no inverse; the qform is used", "correct the header")
        return qform, True
    if sform is not None or q_code:
        rows = _in_mm(header.get_sform(), found.factor)[:3].tolist() if s_code else "a qform that is none"
        raise FileError(
            f"{found.path}: its affine has no inverse, so its orientation is unknown: {rows}; correct the header",
            "no orientation",
        )
    return _guess(found), False


def _in_mm(affine: Any, factor: float) -> Affine:
    scaled = np.array(affine, dtype=np.float64)
    scaled[:3] *= factor
    return scaled


def _qform(found: _Found) -> Affine | None:
    """Returns the affine of quaternion and `pixdim`; None where these are none."""
    sides = np.abs(found.sides_mm)
    if not (np.isfinite(sides) & (sides > 0)).all():
        return None
    header = found.header.copy()
    header["pixdim"][1:4] = sides / found.factor
    header["pixdim"][0] = -1 if float(header["pixdim"][0]) == -1 else 1  # the standard: other numbers count as 1
    try:
        affine = _in_mm(header.get_qform(), found.factor)
    except ValueError:  # a quaternion longer than 1
        return None
    return affine if is_invertible(affine) else None


def _guess(found: _Found) -> Affine:
    sides = np.abs(found.sides_mm)
    if not (np.isfinite(sides) & (sides > 0)).all():
        raise found.error(
            "no voxel size", f"pixdim is {size_text(found.sides_mm)} and there is no sform", "correct the header"
        )
    found.warn(
        "no orientation",
        "qform and sform have code 0, so nothing says which way the axes point; taken as left, anterior, superior",
        "write an affine into the header, or make sure that all scans of the case are stored alike",
    )
    header = found.header.copy()
    header["pixdim"][1:4] = sides / found.factor
    return _in_mm(header.get_base_affine(), found.factor)


def _disagreement(found: _Found, sform: Affine, qform: Affine) -> Iterator[Oddity]:
    corners = np.array(list(itertools.product(*((0, n - 1) for n in found.shape), [1]))).T
    apart_mm = float(np.linalg.norm(((sform - qform) @ corners)[:3], axis=0).max())
    if apart_mm <= APART_VOXELS * float(np.linalg.norm(sform[:3, :3], axis=0).min()):
        return
    s_code, q_code = int(found.header["sform_code"]), int(found.header["qform_code"])
    detail = f"the same voxel is up to {apart_mm:.3g} mm apart by qform (code {q_code}) and sform (code {s_code})"
    if s_code > SCANNER and q_code != s_code:  # two frames by design, such as the scanner's and a template's
        yield Oddity("note", "qform and sform differ", f"{detail}, which are two frames; the sform is used")
    else:
        yield Oddity("warning", "qform and sform differ", f"{detail}; the sform is used", "correct the wrong one")


# ---------------------------------------------------------------- voxel sizes


def _voxel_sizes(found: _Found, affine: Affine) -> Spacing:
    sides = found.sides_mm
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    good = np.isfinite(sides) & (sides > 0)
    if not good.all():
        used = np.where(good, sides, lengths)
        found.warn(
            "no voxel size",
            f"pixdim is {size_text(sides)}; the affine's {size_text(lengths)} is used where it is no size",
            "correct the header",
        )
        sides = used
    if not np.allclose(sides, lengths, rtol=SIZE_TOLERANCE, atol=0):
        detail = f"voxels of {size_text(sides)} by its header, {size_text(lengths)} by its affine"
        found.warn("spacing and affine differ", detail, "the header's is used; correct the wrong one")
    x_mm, y_mm, z_mm = (float(side) for side in sides)
    return x_mm, y_mm, z_mm


def _unit_findings(found: _Found, zooms: Spacing) -> Iterator[Oddity]:
    code = int(found.header["xyzt_units"]) & 7
    if code not in UNITS:
        yield from _unlikely(zooms)
        return
    unit, factor = UNITS[code]
    stated = " x ".join(f"{side / factor:.4g}" for side in zooms)
    detail = f"voxels of {stated} {unit}s by the header's unit, {size_text(zooms)}"
    if [*_unlikely(zooms)]:
        advice = "set xyzt_units to 2 (mm) if the numbers are mm, else correct them"
        raise found.error("unlikely unit", f"{detail}, which no MRI has", advice)
    yield Oddity("warning", "unit is not mm", f"{detail}; converted", "write the header in mm")


def _expect_possible(zooms: Spacing, path: Path) -> None:
    """Raises FileError for sides of a voxel by which nothing can be resampled or measured."""
    if not all(POSSIBLE_MM[0] <= side <= POSSIBLE_MM[1] for side in zooms):
        least, most = POSSIBLE_MM
        raise FileError(
            f"{path}: expected voxels with sides of {least:g} to {most:g} mm, found {size_text(zooms)}; correct the "
            "header",
            "impossible voxel size",
        )


def _unlikely(zooms: Spacing) -> Iterator[Oddity]:
    if not all(PLAUSIBLE_MM[0] <= side <= PLAUSIBLE_MM[1] for side in zooms):
        advice = "correct the header if they are in another unit than mm"
        yield Oddity("warning", "unlikely voxel size", f"voxels of {size_text(zooms)}", advice)
