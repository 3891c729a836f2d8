"""Converts the files of one case: links or copies what can stay as it is, writes the rest."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from mets3d.data import DataError
from mets3d.data.case import LABELS, Case
from mets3d.data.case_summary import label_counts
from mets3d.data.convert.forms import ENDING, PLAIN, Form
from mets3d.data.grids import apart_mm, lie_apart
from mets3d.data.label_findings import BEYOND, without_unknown
from mets3d.data.native import how_far, image_onto, labels_onto, reference_of
from mets3d.data.nifti import (
    Header,
    ImageVolume,
    LabelVolume,
    read_header,
    read_labels,
    write_image,
    write_labels,
    write_scalar,
)
from mets3d.data.nifti.as_stored import AsStored, as_stored, expect_whole
from mets3d.data.reading import read_reference, read_scan, read_scan_header
from mets3d.files import remove, replacing
from mets3d.regions import KNOWN_LABELS
from mets3d.settings import Data
from mets3d.wording import counted

RESAMPLE = "resample to one grid, or set data.grids to t1c"
SAME_MM = 1e-4  # between voxels of one index: nnU-Net compares headers, which hold float32
NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}  # such as exFAT and some of SMB
RIGHT_ANGLE = 1e-3  # largest cosine between two axes that its reader takes


@dataclass
class ConvertedCase:
    """What became of a case: its files below the target, each linked, copied or written, or why it has none."""

    name: str
    files: dict[str, str] = field(default_factory=dict)
    labels: list[int] = field(default_factory=list)
    fault: str = ""


def convert_case(case: Case, name: str, target: Path, form: Form, data: Data, *, copy: bool) -> ConvertedCase:
    """Converts one case. A case that cannot be converted leaves no file and has a `fault`."""
    converted = ConvertedCase(case.name)
    try:
        _convert(_Job(case, name, target, form, data, copy, converted))
    except BaseException as error:
        remove_files(target, converted.files, form)
        if not isinstance(error, (DataError, FileNotFoundError)):  # a full disk is no fault of the case
            raise
        converted = ConvertedCase(case.name, fault=str(error))
    return converted


def planned_files(case: Case, name: str, form: Form) -> list[str]:
    """Lists all files that the conversion of a case may make."""
    kinds = [*(form.channels or case.sequences), *([LABELS] if case.labels is not None else [])]
    suffixes = (ENDING,) if form.strict else (ENDING, PLAIN)
    return [form.place(name, kind, suffix, learned=case.labels is not None) for kind in kinds for suffix in suffixes]


def remove_files(target: Path, files: Iterable[str], form: Form) -> None:
    """Removes the files of a case, and its folder where it has one."""
    for file in files:
        remove(target / file)
    for folder in () if form.strict else {(target / file).parent for file in files}:
        with suppress(OSError):  # something else is in it
            folder.rmdir()


@dataclass(frozen=True)
class _Job:
    case: Case
    name: str
    target: Path
    form: Form
    data: Data
    copy: bool
    converted: ConvertedCase

    def path(self, kind: str, suffix: str = ENDING) -> Path:
        return self.target / self.form.place(self.name, kind, suffix, learned=self.case.labels is not None)

    def done(self, path: Path, how: str) -> None:
        self.converted.files[path.relative_to(self.target).as_posix()] = how


def _convert(job: _Job) -> None:
    channels = job.form.channels or tuple(job.case.sequences)
    absent = [sequence for sequence in channels if sequence not in job.case.sequences]
    if absent and (job.data.missing_sequences == "refuse" or len(absent) == len(channels)):
        raise DataError(
            f"expected {', '.join(channels)}, found no {' and no '.join(absent)}; name the channels in data.sequences, "
            "or write zeros for them with data.missing_sequences=zero"
        )
    headers = {sequence: read_scan_header(job.case, sequence) for sequence in channels if sequence not in absent}
    frame = _frame(job, headers) if job.form.strict else None
    for sequence, header in headers.items():
        _convert_scan(job, sequence, header, frame)
    for sequence in absent if job.form.strict else ():
        assert frame is not None
        frame.write(job, sequence, np.zeros(frame.header.shape, dtype=np.float32))
    if job.case.labels is not None:
        _convert_reference(job, job.case.labels, frame)


# ---------------------------------------------------------------- one grid a case


@dataclass(frozen=True)
class _Frame:
    """The grid that all files of a case get: one scan's as it is, or RAS+ with a clean header if that is odd."""

    header: Header
    clean: bool

    def has(self, header: Header) -> bool:
        """Returns whether a file lies on this grid as it is, axis by axis."""
        mine, other = self.header.source, header.source
        return (
            self.clean
            and mine.shape == other.shape
            and np.allclose(mine.zooms, other.zooms, rtol=1e-6, atol=0)
            and np.allclose(mine.affine, other.affine, rtol=0, atol=SAME_MM)
        )

    def write(self, job: _Job, kind: str, ras: Float32[np.ndarray, "X Y Z"] | UInt8[np.ndarray, "X Y Z"]) -> None:
        path = job.path(kind)
        if not self.clean:
            write_image(path, ras, self.header.affine)
        elif ras.dtype == np.uint8:
            write_labels(path, ras, self.header.source)
        else:
            write_scalar(path, ras, self.header.source)
        job.done(path, "written")


def _frame(job: _Job, headers: Mapping[str, Header]) -> _Frame:
    """Returns the grid of the case. Raises DataError if its scans lie on several, or if it is a skewed one."""
    first = reference_of(headers) if job.data.grids == "t1c" else next(iter(headers))
    reference = headers[first]
    for sequence, header in headers.items():
        _expect_one_grid(job, first, reference, sequence, header)
    directions = reference.affine[:3, :3] / np.linalg.norm(reference.affine[:3, :3], axis=0)
    if np.abs(directions.T @ directions - np.eye(3)).max() > RIGHT_ANGLE:
        raise DataError("its axes are not at right angles, which nnU-Net's reader demands; resample the scans")
    stored = as_stored(job.case.sequences[first].path)
    return _Frame(reference, clean=stored is not None and not stored.odd)


def _expect_one_grid(job: _Job, first: str, reference: Header, kind: str, header: Header) -> None:
    if job.data.grids == "t1c":
        far = how_far(header, reference)
        if not far.overlaps:
            raise DataError(f"{kind} lies elsewhere than {first}: {far}; correct its header or align it")
        return
    if header.shape != reference.shape:
        raise DataError(f"{kind} has {header.shape} voxels, {first} {reference.shape} (RAS); {RESAMPLE}")
    if lie_apart(reference, header):
        apart = apart_mm(reference, header)
        raise DataError(f"the same voxel of {kind} and {first} is up to {apart:.3g} mm apart; {RESAMPLE}")


# ---------------------------------------------------------------- images


def _convert_scan(job: _Job, sequence: str, header: Header, frame: _Frame | None) -> None:
    scan = job.case.sequences[sequence]
    stored = as_stored(scan.path) if scan.volume is None else None
    if frame is None:
        if stored is not None and stored.suffix:
            _hand_on(job, scan.path, job.path(sequence, stored.suffix))
        else:
            _write_alone(job, sequence, read_scan(job.case, sequence))
        return
    plain = stored is not None and _is_plain(stored) and frame.has(header)
    if plain and stored is not None and stored.integers:
        expect_whole(scan.path)
        _hand_on(job, scan.path, job.path(sequence))
        return
    image = read_scan(job.case, sequence)
    if not np.isfinite(image.data).all():
        count = int(np.count_nonzero(~np.isfinite(image.data)))
        raise DataError(f"{sequence} is NaN or infinite in {counted(count, 'voxel')}, which nnU-Net refuses")
    if plain and not image.oddities:
        _hand_on(job, scan.path, job.path(sequence))
    else:
        frame.write(job, sequence, image_onto(image, frame.header).data)


def _is_plain(stored: AsStored) -> bool:
    return stored.suffix == ENDING and stored.axes == 3 and not stored.odd


def _write_alone(job: _Job, kind: str, volume: ImageVolume | LabelVolume) -> None:
    """Writes a volume that needs no other's grid."""
    path = job.path(kind)
    if isinstance(volume, LabelVolume):
        write_labels(path, volume.labels, volume.source)
    else:
        write_scalar(path, volume.data, volume.source)
    job.done(path, "written")


def _hand_on(job: _Job, source: Path, path: Path) -> None:
    """Links to a file, or copies it."""
    with replacing(path) as temporary:
        if job.copy:
            shutil.copyfile(source, temporary)
        else:
            _link(temporary, source)
    job.done(path, "copied" if job.copy else "linked")


def _link(path: Path, source: Path) -> None:
    try:
        path.symlink_to(source.absolute())
    except OSError as error:
        if error.errno in NO_LINKS:
            raise OSError(error.errno, f"{path.parent} is on a file system without links; use --copy") from None
        raise


# ---------------------------------------------------------------- references


def _convert_reference(job: _Job, path: Path, frame: _Frame | None) -> None:
    volume = _known_labels(job)
    job.converted.labels = [int(label) for label in np.unique(volume.labels)]
    stored = as_stored(path)
    as_it_is = stored is not None and stored.integers and _says(path, volume)
    if frame is None:
        if as_it_is and stored is not None and stored.suffix:
            _hand_on(job, path, job.path(LABELS, stored.suffix))
        else:
            _write_alone(job, LABELS, volume)
        return
    header = read_header(path)
    _expect_one_grid(job, "the first scan", frame.header, "the reference", header)
    if as_it_is and stored is not None and _is_plain(stored) and frame.has(header):
        _hand_on(job, path, job.path(LABELS))
    else:
        frame.write(job, LABELS, labels_onto(volume, frame.header).labels)


def _known_labels(job: _Job) -> LabelVolume:
    """Reads the reference, without labels that are none where the settings allow it. Raises DataError otherwise."""
    if job.data.illegal_labels == "background":
        return without_unknown(read_reference(job.case, beyond=BEYOND))
    volume = read_reference(job.case)
    unknown = {label: count for label, count in label_counts(volume.labels).items() if label not in KNOWN_LABELS}
    if unknown:
        found = ", ".join(f"label {label} in {counted(count, 'voxel')}" for label, count in unknown.items())
        raise DataError(
            f"expected labels 0 to {KNOWN_LABELS[-1]}, found {found}; map them in data.labels, or set "
            "data.illegal_labels to background"
        )
    return volume


def _says(path: Path, volume: LabelVolume) -> bool:
    """Returns whether the file itself holds just these labels."""
    return np.array_equal(read_labels(path, beyond=BEYOND).labels, volume.labels)
