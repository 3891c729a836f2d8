"""Tells how a file stores its voxels, for those who hand it on to other programs without reading it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mets3d.data.nifti.content import GZIP_MAGIC, faults_named, read_content, read_head
from mets3d.data.nifti.formats import OPENERS
from mets3d.data.nifti.header import parse
from mets3d.data.nifti.opened import UNSCALED
from mets3d.data.nifti.volumes import FileError
from mets3d.wording import agreed, counted

HEADER_BYTES = 4096  # a header with the extensions that are common


@dataclass(frozen=True)
class AsStored:
    """How a NIfTI file stores its voxels.

    suffix: the one that its content asks for, `.nii.gz` or `.nii`; empty for header and voxels in two files. axes
    counts those of one voxel too. integers: whole numbers of at most 32 bits that nothing scales. odd: its header has
    oddities.
    """

    suffix: str
    axes: int
    integers: bool
    odd: bool


def as_stored(path: Path) -> AsStored | None:
    """Reads how a file stores its voxels, None for another format than NIfTI. Raises as `read_header`."""
    if path.suffix.lower() in OPENERS:
        return None
    with faults_named(path, "NIfTI"):
        stored = parse(read_head(path, HEADER_BYTES), path)
        with path.open("rb") as file:
            packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    suffix = "" if stored.pair else ".nii.gz" if packed else ".nii"
    integers = stored.dtype.kind in "iu" and stored.dtype.itemsize <= 4 and stored.scaling == UNSCALED
    return AsStored(suffix, stored.axes, integers, bool(stored.oddities))


def expect_whole(path: Path) -> None:
    """Raises FileError if a NIfTI file's voxels are cut off or damaged; less work than reading them."""
    with faults_named(path, "NIfTI"):
        stored = parse(read_head(path, HEADER_BYTES), path)
        missing = stored.end - read_content(path, stored.end).length
    if missing > 0:
        raise FileError(
            f"{path}: truncated, {counted(missing, 'byte')} of its voxels {agreed(missing, 'is', 'are')} "
            "missing; fetch or convert it again"
        )
