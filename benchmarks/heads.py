"""Makes heads from their keys and their store, for the benchmarks that train: benchmarks/recipe.py and study.py.

Only imported; run by itself it does nothing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from mets3d.data.cases import LABELS
from mets3d.data.nifti import write_image
from mets3d.data.preprocess import preprocess
from mets3d.phantoms.names import phantom_name
from mets3d.phantoms.synth import phantom
from mets3d.regions import RC_LABEL
from mets3d.settings import Data, Preprocess

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Place:
    """The folder of a benchmark that trains, and what lies in it."""

    path: Path

    @property
    def cases(self) -> Path:
        """The heads, as BraTS-METS lays them out."""
        return self.path / "cases"

    @property
    def store(self) -> Path:
        """What `mets3d preprocess` makes of them."""
        return self.path / "store"

    @property
    def split(self) -> Path:
        """The folds, in nnU-Net's form."""
        return self.path / "splits_final.json"

    @property
    def record(self) -> Path:
        """What the data are; there when they are made."""
        return self.path / "data.json"

    @property
    def runs(self) -> Path:
        """Our run directories."""
        return self.path / "runs"

    @property
    def results(self) -> Path:
        """What is kept of each finished run."""
        return self.path / "results"

    def what(self) -> dict[str, Any]:
        """Returns the record of the data."""
        return dict(json.loads(self.record.read_text(encoding="utf-8")))


def already_made(place: Place, key: dict[str, Any]) -> bool:
    """Returns whether the folder holds the heads of a key. Raises SystemExit where it holds others."""
    if not place.record.exists():
        return False
    found = place.what()
    differing = [name for name in key if found.get(name) != key[name]]
    if differing:
        raise SystemExit(f"{place.path} holds other heads ({', '.join(differing)} differ); use another --work")
    return True


def make_heads(place: Place, key: dict[str, Any], cases: int, jobs: int) -> tuple[list[str], str]:
    """Writes so many heads of `key`: seed, shape and spacing_mm. Returns their names and a digest of all voxels."""
    for folder in (place.cases, place.store):
        shutil.rmtree(folder, ignore_errors=True)
    make = partial(_make_head, place.cases, key["seed"], tuple(key["shape"]), tuple(key["spacing_mm"]))
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        made = list(pool.map(make, range(cases)))
    return [name for name, _ in made], hashlib.sha256("".join(digest for _, digest in made).encode()).hexdigest()[:12]


def make_store(place: Place, spacing_mm: Sequence[float], jobs: int) -> None:
    """Preprocesses the heads at the voxel size that they have."""
    x, y, z = spacing_mm
    for note in preprocess(place.cases, place.store, Preprocess(spacing_mm=(x, y, z)), data=Data(), jobs=jobs):
        print(note)


def link_heads(folder: Path, cases: Path, names: Sequence[str]) -> None:
    """Makes a folder of some heads alone: scored against it, a reference without a prediction counts as the worst."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).symlink_to((cases / name).resolve())


def source_digest(folder: str) -> str:
    """Returns a short digest of the Python files of a folder of the repository."""
    digest = hashlib.sha256()
    for file in sorted((ROOT / folder).rglob("*.py")):
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _make_head(folder: Path, seed: int, shape: Any, spacing_mm: Any, index: int) -> tuple[str, str]:
    """Writes head `index`, and returns its name and a digest of its voxels."""
    name = phantom_name(index)
    patient = phantom(seed, index, shape, spacing_mm, difficulty="mets")
    # WT, TC and ET are what is asked: a resection cavity is something that nobody is to mark.
    labels = np.where(patient.labels == RC_LABEL, 0, patient.labels).astype(np.uint8)
    affine = np.diag([*spacing_mm, 1.0])
    affine[1, 3] = (shape[1] - 1) * spacing_mm[1]
    digest = hashlib.sha256()
    for kind, volume in {**patient.images, LABELS: labels}.items():
        digest.update(np.ascontiguousarray(volume).tobytes())
        write_image(folder / name / f"{name}-{kind}.nii.gz", volume, affine)
    return name, digest.hexdigest()
