"""Oddities of files: what a scan is stored as, where its header says that it lies, and scans that are not there."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np

from mets3d.data.cases import SEQUENCES
from tests.builders.cases import brain_box
from tests.builders.oddities import name_of, patients, row

KINDS = (*SEQUENCES, "seg")


def of_all(data: Path, change: Callable[[Path], None]) -> None:
    """Writes patients and changes every file."""
    patients(data)
    for number in (1, 2, 3):
        for kind in KINDS:
            change(file_of(data, number, kind))


def file_of(data: Path, number: int = 2, kind: str = "t2w") -> Path:
    return data / name_of(number) / f"{name_of(number)}-{kind}.nii.gz"


def of_one(data: Path, change: Callable[[Path], None]) -> None:
    """Writes patients and changes t2w of the second."""
    patients(data)
    change(file_of(data))


def with_bytes(offset: int, form: str, *values: float) -> Callable[[Path], None]:
    """Returns a change that packs values into a header, little-endian."""

    def changed(path: Path) -> None:
        content = bytearray(gzip.decompress(path.read_bytes()))
        struct.pack_into(form, content, offset, *values)
        path.write_bytes(gzip.compress(bytes(content), 1))

    return changed


def of_voxels(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    """Returns a change of a file's voxels; the affine stays."""

    def changed(path: Path) -> None:
        image = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(change(np.asanyarray(image.dataobj)), image.affine), path)

    return changed


def of_affine(sform: np.ndarray | None, qform: np.ndarray | None) -> Callable[[Path], None]:
    """Returns a change of a file's two affines; None is code 0."""

    def changed(path: Path) -> None:
        image = nibabel.load(path)
        new = nibabel.Nifti1Image(np.asanyarray(image.dataobj), None)
        new.set_qform(qform, 0 if qform is None else 1)
        new.set_sform(sform, 0 if sform is None else 1)
        nibabel.save(new, path)

    return changed


# ---------------------------------------------------------------- content


@row("volumes of shape (X, Y, Z, 1)", says=[], then="stores 3 cases")
def trailing_axis(data: Path) -> None:
    of_all(data, of_voxels(lambda volume: volume[..., None]))


@row("files named .nii.gz that are not compressed", says=[], then="stores 3 cases")
def not_compressed(data: Path) -> None:
    of_all(data, lambda path: path.write_bytes(gzip.decompress(path.read_bytes())) and None)


@row("files named .nii that are gzip", says=[], then="stores 3 cases")
def compressed(data: Path) -> None:
    of_all(data, lambda path: path.rename(path.with_suffix("")) and None)


@row("a broken link", says=["error: broken link"], then="refuses")
def broken_link(data: Path) -> None:
    def replaced(path: Path) -> None:
        path.unlink()
        path.symlink_to(data / "annex" / "gone.nii.gz")

    of_one(data, replaced)


@row("a pointer of Git LFS", says=["error: not NIfTI"], then="refuses")
def lfs_pointer(data: Path) -> None:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 123\n"
    of_one(data, lambda path: path.write_text(text) and None)


@row("an empty file", says=["error: empty file"], then="refuses")
def empty_file(data: Path) -> None:
    of_one(data, lambda path: path.write_bytes(b"") and None)


@row("complex voxels", says=["error: complex voxels"], then="refuses")
def complex_voxels(data: Path) -> None:
    of_one(data, of_voxels(lambda volume: volume.astype(np.complex64)))


@row("colour voxels", says=["error: colour voxels"], then="refuses")
def colour_voxels(data: Path) -> None:
    colour = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
    of_one(data, of_voxels(lambda volume: np.zeros(volume.shape, dtype=colour)))


@row("a vox_offset inside the header", says=["error: voxels inside the header"], then="refuses")
def offset_inside(data: Path) -> None:
    of_one(data, with_bytes(108, "<f", 300.0))


# ---------------------------------------------------------------- place


@row("a pixdim that is NaN", says=["warning: no voxel size"], then="stores 3 cases")
def pixdim_nan(data: Path) -> None:
    of_one(data, with_bytes(80, "<f", np.nan))


@row("a pixdim that is 0", says=["warning: no voxel size"], then="stores 3 cases")
def pixdim_zero(data: Path) -> None:
    of_one(data, with_bytes(80, "<f", 0.0))


@row("a pixdim that is negative", says=["warning: no voxel size"], then="stores 3 cases")
def pixdim_negative(data: Path) -> None:
    of_one(data, with_bytes(80, "<f", -1.0))


@row(
    "a pixdim 5 % off the affine",
    says=["warning: spacing and affine differ", "warning: qform and sform differ"],  # the qform is made of it
    then="stores 3 cases",
)
def pixdim_off(data: Path) -> None:
    of_one(data, with_bytes(80, "<f", 1.05))


@row("qform against sform", says=["warning: qform and sform differ"], then="stores 3 cases")
def two_forms(data: Path) -> None:
    moved = np.eye(4)
    moved[:3, 3] = 40, -20, 10
    of_one(data, of_affine(np.eye(4), moved))


@row("qform and sform of code 0", says=["warning: no orientation"], then="stores 3 cases")
def no_form(data: Path) -> None:
    of_all(data, of_affine(None, None))


@row("an affine with shear of 3 degrees", says=["warning: sheared axes"], then="stores 3 cases")
def shear(data: Path) -> None:
    sheared = np.eye(4)
    sheared[0, 1] = np.tan(np.radians(3))
    of_all(data, of_affine(sheared, None))


@row("units of metres", says=["warning: unit is not mm"], then="stores 3 cases")
def metres(data: Path) -> None:
    def changed(path: Path) -> None:
        of_affine(np.diag([0.001, 0.001, 0.001, 1]), np.diag([0.001, 0.001, 0.001, 1]))(path)
        with_bytes(123, "<B", 1)(path)

    of_all(data, changed)


# ---------------------------------------------------------------- background, scans that are not there


def outside(value: float) -> Callable[[Path], None]:
    """Returns a change of the voxels around the made brain."""

    def changed(volume: np.ndarray) -> np.ndarray:
        filled = np.full(volume.shape, value, dtype=np.float32)
        filled[brain_box(volume.shape)] = volume[brain_box(volume.shape)]
        return filled

    return of_voxels(changed)


@row("a background of -1", says=["note: background is not 0", "note: negative values"], then="stores 3 cases")
def background_minus_one(data: Path) -> None:
    of_one(data, outside(-1))


@row("a background of NaN", says=["note: background is not 0"], then="stores 3 cases")
def background_nan(data: Path) -> None:
    of_one(data, outside(np.nan))


@row("a missing t2w", says=["error: missing sequence"], then="refuses")
def missing(data: Path) -> None:
    of_one(data, Path.unlink)


@row(
    "a missing t2w, data.missing_sequences zero",
    says=["note: missing sequence"],
    then="stores 3 cases",
    data={"missing_sequences": "zero"},
)
def missing_is_zero(data: Path) -> None:
    of_one(data, Path.unlink)


@row(
    "t1c and t2f alone, data.sequences [t1c, t2f]",
    says=[],
    then="stores 3 cases",
    data={"sequences": ("t1c", "t2f")},
)
def two_sequences(data: Path) -> None:
    patients(data)
    for number in (1, 2, 3):
        for kind in ("t1n", "t2w"):
            file_of(data, number, kind).unlink()


def moved_scan(path: Path) -> None:
    affine = np.eye(4)
    affine[:3, 3] = 3, 0, 1
    of_affine(affine, affine)(path)


@row("a scan on another grid", says=["error: affines differ"], then="refuses")
def other_grid(data: Path) -> None:
    of_one(data, moved_scan)


@row(
    "a scan on another grid, data.grids t1c",
    says=["warning: resampled onto another grid", "warning: part of the brain", "warning: cut brain"],
    then="stores 3 cases",
    data={"grids": "t1c"},
)
def other_grid_resampled(data: Path) -> None:
    of_one(data, moved_scan)
