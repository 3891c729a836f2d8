"""Tiny data sets for tests: hand-made cases whose every voxel is known, and phantoms to train on in seconds."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mets3d.config import Data, Preprocess
from mets3d.data.cases import SEQUENCES, Case, find_cases
from mets3d.data.nifti import write_image
from mets3d.data.preprocess import preprocess
from mets3d.phantoms.synth import synthesise

SHAPE = (12, 14, 10)
PHANTOM_SHAPE, PHANTOM_SPACING = (40, 48, 36), (4.0, 4.0, 4.0)
RAS = np.diag([1.0, 1.0, 1.0, 1.0])


def brain_box(shape: Sequence[int] = SHAPE) -> tuple[slice, ...]:
    """Where the hand-made cases are not zero: all but two voxels at either end of each axis."""
    return tuple(slice(2, n - 2) for n in shape)


def scan(number: int, shape: Sequence[int] = SHAPE) -> np.ndarray:
    """A random int16 image, positive inside `brain_box`, 0 outside."""
    image = np.zeros(tuple(shape), dtype=np.int16)
    rng = np.random.default_rng(number)
    image[brain_box(shape)] = rng.integers(100, 900, tuple(n - 4 for n in shape))
    return image


def two_lesions(shape: Sequence[int] = SHAPE) -> np.ndarray:
    """uint8 labels: a 3x3x3 lesion with core, rim and a plate of oedema, and one voxel of ET on its own."""
    labels = np.zeros(tuple(shape), dtype=np.uint8)
    labels[2:6, 3:6, 3:6] = 2
    labels[3:6, 3:6, 3:6] = 3
    labels[4, 4, 4] = 1
    labels[shape[0] - 3, shape[1] - 3, shape[2] - 3] = 3
    return labels


def make_case(
    data: Path,
    name: str = "BraTS-MET-00001-000",
    *,
    shape: Sequence[int] = SHAPE,
    affine: np.ndarray = RAS,
    volumes: Mapping[str, Any] | None = None,
    affines: Mapping[str, np.ndarray] | None = None,
    suffix: str = ".nii.gz",
) -> Case:
    """Writes a hand-made case. `volumes` replaces files by kind (t1n, ..., seg); None leaves that file out."""
    seed = zlib.crc32(name.encode())  # no two cases have a scan in common
    content = {kind: scan(seed + channel, shape) for channel, kind in enumerate(SEQUENCES)}
    content = {**content, "seg": two_lesions(shape), **(volumes or {})}
    for kind, volume in content.items():
        if volume is not None:
            write_image(data / name / f"{name}-{kind}{suffix}", volume, (affines or {}).get(kind, affine))
    return next(case for case in find_cases(data) if case.name == name)


@pytest.fixture(scope="session")
def phantom_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six phantom patients of 40x48x36 voxels of 4 mm."""
    data = tmp_path_factory.mktemp("phantoms")
    synthesise(data, 6, 5, shape=PHANTOM_SHAPE, spacing_mm=PHANTOM_SPACING)
    return data


@pytest.fixture(scope="session")
def phantom_store(phantom_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their store, at their own spacing."""
    store = tmp_path_factory.mktemp("stores") / "store"
    preprocess(phantom_data, store, Preprocess(spacing_mm=PHANTOM_SPACING), data=Data())
    return store
