"""Stores of which a case holds values that are not finite, as a damaged or careless one would."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from mets3d.config import Data
from mets3d.data.folds import split_of
from mets3d.data.store import open_store
from mets3d.data.stored_case import case_path, read_metadata, write_case


def poisoned(store: Path, folder: Path, case: str, value: float) -> Path:
    """A copy of a store, all of the images of one case replaced."""
    copy = folder / "poisoned"
    shutil.copytree(store, copy)
    path = case_path(copy, case)
    arrays, metadata = load_file(path), read_metadata(path)
    image = np.full_like(arrays["image"], value)
    write_case(path, image, arrays["labels"], cavity=False, metadata=metadata)
    return copy


def training_cases(store: Path) -> list[str]:
    return split_of(open_store(store), Data(folds=3)).training
