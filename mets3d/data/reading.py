"""Reads the volumes of a case: the one way from a case's files to arrays."""

from __future__ import annotations

from collections.abc import Iterator

from mets3d.data import DataError
from mets3d.data.brain import with_background
from mets3d.data.case import LABELS, Case, Scan, in_order
from mets3d.data.nifti import Header, ImageVolume, LabelVolume, read_header, read_image, read_labels


def read_scan(case: Case, sequence: str) -> ImageVolume:
    """Reads one sequence of a case, its background recognised (`mets3d.data.brain.with_background`).

    Raises as `read_image`, and DataError if the case lacks the sequence.
    """
    scan = _scan(case, sequence)
    return with_background(read_image(scan.path, scan.volume))


def read_reference(case: Case, *, beyond: int | None = None) -> LabelVolume:
    """Reads a case's reference with our labels; `beyond` as `read_labels`.

    Raises as `read_labels`, and DataError if the case has none.
    """
    if case.labels is None:
        raise DataError(f"{case.name}: expected a reference, found none in {case.folder}")
    return read_labels(case.labels, beyond=beyond, mapped=case.label_map)


def read_scan_header(case: Case, sequence: str) -> Header:
    """Reads the header of one sequence of a case. Raises as `read_scan`."""
    scan = _scan(case, sequence)
    return read_header(scan.path, scan.volume)


def scans_of(case: Case) -> Iterator[tuple[str, Scan]]:
    """Yields the files of a case by sequence, in channel order, and the reference last."""
    yield from ((sequence, case.sequences[sequence]) for sequence in in_order(case.sequences))
    if case.labels is not None:
        yield LABELS, Scan(case.labels)


def _scan(case: Case, sequence: str) -> Scan:
    if sequence not in case.sequences:
        raise DataError(f"{case.name}: expected the sequence {sequence}, found {', '.join(case.sequences) or 'none'}")
    return case.sequences[sequence]
