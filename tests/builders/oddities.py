"""Made data sets with one oddity each: what `check` says of it and what `preprocess` does.

To add a row, decorate a function that writes a data set into a folder with `@row(...)`, here or in a module
`tests/builders/oddities_PART.py`, which is found by itself. tests/data/test_oddities.py tests every row, and
`python -m tests.data.oddities` prints all of them as a table.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mets3d.data.cases import SEQUENCES
from tests.builders.cases import SHAPE, make_case, scan

Volumes = dict[str, Any]


@dataclass(frozen=True)
class Oddity:
    """A row: the settings under which the data set is read, all that `check` says, and what comes of `preprocess`.

    says: every finding as "severity: what", in any order. then: "refuses", or "stores" with the cases that are stored.
    """

    name: str
    make: Callable[[Path], None]
    says: Sequence[str]
    then: str
    data: Mapping[str, Any] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=dict)


ROWS: list[Oddity] = []


def row(
    name: str,
    *,
    says: Sequence[str],
    then: str,
    data: Mapping[str, Any] | None = None,
    preprocess: Mapping[str, Any] | None = None,
) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """Makes a row of the function, which writes the data set into a folder."""

    def kept(make: Callable[[Path], None]) -> Callable[[Path], None]:
        ROWS.append(Oddity(name, make, says, then, data or {}, preprocess or {}))
        return make

    return kept


def all_rows() -> list[Oddity]:
    """Returns the rows of this module and of those beside it."""
    for path in sorted(Path(__file__).parent.glob("oddities_*.py")):
        importlib.import_module(f"tests.builders.{path.stem}")
    return ROWS


# ---------------------------------------------------------------- made patients


def nested_lesion(shape: Sequence[int] = SHAPE) -> np.ndarray:
    """uint8 labels: 8 voxels of core within 56 of enhancing tumour within 152 of oedema."""
    labels = np.zeros(tuple(shape), dtype=np.uint8)
    labels[3:9, 3:9, 2:8] = 2
    labels[4:8, 4:8, 3:7] = 3
    labels[5:7, 5:7, 4:6] = 1
    return labels


def patient(number: int, labels: np.ndarray | None = None, shape: Sequence[int] = SHAPE) -> Volumes:
    """Scans in which enhancing tumour shines in t1c and oedema in t2f, less in t2w; and the reference."""
    labels = nested_lesion(shape) if labels is None else labels
    scans = {sequence: scan(7919 * number + channel, shape) for channel, sequence in enumerate(SEQUENCES)}
    for sequence, label, more in (("t1c", 3, 900), ("t2f", 2, 1100), ("t2f", 3, 400), ("t2w", 2, 300)):
        scans[sequence][labels == label] += more
    return {**scans, "seg": labels}


def name_of(number: int) -> str:
    """Returns the name of a patient's first time point."""
    return f"BraTS-MET-{number:05d}-000"


Change = Callable[[Volumes, int], Volumes]


def as_it_is(volumes: Volumes, number: int) -> Volumes:
    return volumes


def patients(data: Path, change: Change = as_it_is, *, cases: int = 3) -> None:
    """Writes patients numbered from 1, with volumes as `change` makes them of a patient's own and the number."""
    for number in range(1, cases + 1):
        make_case(data, name_of(number), volumes=change(patient(number), number))


def of_second(**change: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Returns a change of the second patient alone: a function of the voxels by file."""

    def changed(volumes: Volumes, number: int) -> Volumes:
        own = {kind: function(volumes[kind].copy()) for kind, function in change.items()} if number == 2 else {}
        return {**volumes, **own}

    return changed


def with_value(value: float, *where: tuple[int, int, int], kind: str = "") -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that puts a value at some voxels; `kind`: and changes the number type first."""

    def changed(volume: np.ndarray) -> np.ndarray:
        volume = volume.astype(kind) if kind else volume
        for voxel in where:
            volume[voxel] = value
        return volume

    return changed
