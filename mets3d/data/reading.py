"""Reads the volumes of a case: the one way from a case's files to arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mets3d.data import DataError
from mets3d.data.brain import with_background
from mets3d.data.case import LABELS, Case, Scan, in_order
from mets3d.data.nifti import FileError, Header, ImageVolume, LabelVolume, read_header, read_image, read_labels


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


def read_mask(case: Case) -> LabelVolume:
    """Reads a case's brain mask, 1 where its file is not 0. Raises as `read_labels`, and FileError if there is none."""
    if case.mask is None:
        expected = f"{case.name}-mask.nii.gz, {case.name}_brainmask.nii.gz or the like"
        raise FileError(
            f"{case.name}: expected a brain mask {expected} in {case.folder}, found none; add it, or set "
            "preprocess.brain to nonzero or none",
            "no brain mask",
        )
    volume = read_labels(case.mask, beyond=1)
    return replace(volume, labels=(volume.labels != 0).astype(np.uint8))


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
