"""Made folders in the layouts of known data sets: empty files where only names matter, tiny volumes where voxels do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mets3d.data.cases import Case
from mets3d.data.nifti import write_image
from mets3d.data.reading import read_reference, read_scan
from tests.builders.cases import RAS

TINY = (3, 4, 2)


def touched(data: Path, *files: str) -> Path:
    """Makes empty files."""
    for file in files:
        (data / file).parent.mkdir(parents=True, exist_ok=True)
        (data / file).touch()
    return data


def words_of(folder: str, name: str, *words: str) -> list[str]:
    """FOLDER/NAME with each word in place of its asterisk."""
    return [f"{folder}/{name}".replace("*", word) for word in words]


def filled(data: Path, values: Mapping[str, float | list[int]]) -> Path:
    """Writes volumes of 3x4x2 voxels: a number everywhere, or, of labels, the numbers of the first voxels, then 0."""
    for file, value in values.items():
        volume = np.zeros(TINY, np.uint8) if isinstance(value, list) else np.full(TINY, value, np.float32)
        if isinstance(value, list):
            volume.ravel()[: len(value)] = value
        write_image(data / file, volume, RAS)
    return data


def described(data: Path, **content: Any) -> Path:
    """Writes a dataset.json."""
    data.mkdir(parents=True, exist_ok=True)
    (data / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    return data


def first_values(case: Case) -> dict[str, float]:
    """The first voxel of each sequence, which shows what file and volume it is read from."""
    return {sequence: float(read_scan(case, sequence).data[0, 0, 0]) for sequence in case.sequences}


def first_labels(case: Case, count: int) -> list[int]:
    """Our labels of the reference's first voxels."""
    return [int(label) for label in read_reference(case).labels.ravel()[:count]]


def names_in(case: Case, data: Path) -> dict[str, str]:
    """The case's files relative to the data set, by sequence and `seg`."""
    files = {sequence: scan.path for sequence, scan in case.sequences.items()}
    if case.labels is not None:
        files["seg"] = case.labels
    return {kind: path.relative_to(data).as_posix() for kind, path in files.items()}
