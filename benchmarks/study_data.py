"""Makes the data of benchmarks/study.py once: heads to train on, heads to be scored, their store.

Only imported by benchmarks/study.py; run by itself it does nothing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from recipe_data import ROOT, source_digest

from mets3d.data.cases import LABELS
from mets3d.data.nifti import write_image
from mets3d.data.preprocess import preprocess
from mets3d.files import write_json
from mets3d.phantoms.synth import FIRST_NUMBER, phantom
from mets3d.regions import RC_LABEL
from mets3d.settings import Data, Preprocess

__all__ = ["ROOT", "Place", "make_data", "source_digest"]

SEED = 13
SPACING_MM = (1.5, 1.5, 1.5)
SHAPE = (160, 160, 104)  # the grid of the challenge at 1.5 mm
TRAINING, INNER, HELD_OUT = 30, 10, 40  # the inner cases are trained on in the study, and held out to choose weights
TINY = 4, 2, 3, (36, 44, 34), (4.0, 4.0, 4.0)


@dataclass(frozen=True)
class Place:
    """The folder of the study and what lies in it."""

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
        """Two folds in nnU-Net's form: the study's own, and the inner one, which knows no case of its test set."""
        return self.path / "splits_final.json"

    @property
    def record(self) -> Path:
        """What the data are; there when they are made."""
        return self.path / "data.json"

    @property
    def runs(self) -> Path:
        """The run directories."""
        return self.path / "runs"

    @property
    def results(self) -> Path:
        """A folder for each finished run."""
        return self.path / "results"

    def references(self, fold: int) -> Path:
        """Returns the folder of the held-out cases of a fold alone; one without a prediction counts as the worst."""
        return self.path / f"held_out_{fold}"

    def what(self) -> dict[str, Any]:
        """Returns the record of the data."""
        return dict(json.loads(self.record.read_text(encoding="utf-8")))


def make_data(place: Place, *, jobs: int, tiny: bool) -> None:
    """Makes what is not there yet. Raises SystemExit where the folder holds data of another key or version."""
    training, inner, held_out, shape, spacing_mm = TINY if tiny else (TRAINING, INNER, HELD_OUT, SHAPE, SPACING_MM)
    key = {
        "difficulty": "mets", "seed": SEED, "training": training, "inner": inner, "held_out": held_out,
        "shape": list(shape), "spacing_mm": list(spacing_mm),
        "phantoms": source_digest("mets3d/phantoms"),
    }  # fmt: skip
    if place.record.exists():
        found = place.what()
        differing = [name for name in key if found.get(name) != key[name]]
        if differing:
            raise SystemExit(f"{place.path} holds other data ({', '.join(differing)} differ); use another --work")
        return
    _make(place, key, jobs)


def _make(place: Place, key: dict[str, Any], jobs: int) -> None:
    start = time.perf_counter()
    for folder in (place.cases, place.store):
        shutil.rmtree(folder, ignore_errors=True)
    outer, cases = key["training"] + key["inner"], key["training"] + key["inner"] + key["held_out"]
    make = partial(_make_case, place.cases, tuple(key["shape"]), tuple(key["spacing_mm"]))
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        made = list(pool.map(make, range(cases)))
    names = [name for name, _ in made]
    folds = [
        {"train": names[:outer], "val": names[outer:]},
        {"train": names[: key["training"]], "val": names[key["training"] : outer]},
    ]
    write_json(place.split, folds)
    for fold, parts in enumerate(folds):
        _link(place.references(fold), place.cases, parts["val"])
    settings = Preprocess(spacing_mm=tuple(key["spacing_mm"]))
    for note in preprocess(place.cases, place.store, settings, data=Data(), jobs=jobs):
        print(note)
    content = hashlib.sha256("".join(digest for _, digest in made).encode()).hexdigest()[:12]
    write_json(place.record, {**key, "content": content})
    print(f"{cases} heads and their store made in {time.perf_counter() - start:.0f} s, content {content}", flush=True)


def _link(folder: Path, cases: Path, names: Sequence[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).symlink_to((cases / name).resolve())


def _make_case(folder: Path, shape: Any, spacing_mm: Any, index: int) -> tuple[str, str]:
    """Writes head `index`, and returns its name and a digest of its voxels."""
    name = f"BraTS-MET-{FIRST_NUMBER + index:05d}-000"
    patient = phantom(SEED, index, shape, spacing_mm, difficulty="mets")
    # WT, TC and ET are what is asked: a resection cavity is something that no arm is to mark.
    labels = np.where(patient.labels == RC_LABEL, 0, patient.labels).astype(np.uint8)
    affine = np.diag([*spacing_mm, 1.0])
    affine[1, 3] = (shape[1] - 1) * spacing_mm[1]
    digest = hashlib.sha256()
    for kind, volume in {**patient.images, LABELS: labels}.items():
        digest.update(np.ascontiguousarray(volume).tobytes())
        write_image(folder / name / f"{name}-{kind}.nii.gz", volume, affine)
    return name, digest.hexdigest()
