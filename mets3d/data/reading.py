"""Reads the volumes of a case: the one way from a case's files to arrays."""

from __future__ import annotations

import dataclasses

import numpy as np

from mets3d.data import DataError
from mets3d.data.cases import Case
from mets3d.data.nifti import ImageVolume, LabelVolume, read_image, read_labels


def read_scan(case: Case, sequence: str) -> ImageVolume:
    """Reads one sequence of a case. Raises as `read_image`, and DataError if the case lacks the sequence."""
    if sequence not in case.sequences:
        raise DataError(f"{case.name}: expected the sequence {sequence}, found {', '.join(case.sequences) or 'none'}")
    scan = case.sequences[sequence]
    return read_image(scan.path, volume=scan.volume)


def read_reference(case: Case) -> LabelVolume:
    """Reads a case's reference with our labels. Raises as `read_labels`, and DataError if the case has none."""
    if case.labels is None:
        raise DataError(f"{case.name}: expected a reference, found none in {case.folder}")
    volume = read_labels(case.labels)
    if not case.label_map:
        return volume
    ours = np.arange(256, dtype=np.uint8)
    for theirs, label in case.label_map.items():
        ours[theirs] = label
    return dataclasses.replace(volume, labels=ours[volume.labels])
