"""Makes the data of benchmarks/recipe.py once: heads from their keys, our store, nnU-Net's own preprocessing.

Only imported by benchmarks/recipe.py; run by itself it does nothing.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
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
from mets3d.files import write_json
from mets3d.phantoms.synth import FIRST_NUMBER, phantom
from mets3d.regions import RC_LABEL
from mets3d.settings import Data, Preprocess

ROOT = Path(__file__).resolve().parent.parent
SEED = 12
SPACING_MM = (1.5, 1.5, 1.5)
SHAPE = (160, 160, 104)  # the grid of the challenge at 1.5 mm; both tools crop it to the brain
TRAINING, HELD_OUT = 48, 12
TINY = 3, 2, (36, 44, 34), (4.0, 4.0, 4.0)  # cases of either kind, shape and voxels to try the whole line


@dataclass(frozen=True)
class Place:
    """The folder of the benchmark and what lies in it."""

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
        """The one fold, in nnU-Net's form; both tools read it."""
        return self.path / "splits_final.json"

    @property
    def references(self) -> Path:
        """The held-out heads alone: a reference without a prediction counts as the worst."""
        return self.path / "held_out"

    @property
    def record(self) -> Path:
        """What the data are; there when they are made."""
        return self.path / "data.json"

    @property
    def nnunet(self) -> Path:
        """The folders of nnU-Net."""
        return self.path / "nnunet"

    @property
    def runs(self) -> Path:
        """Our run directories."""
        return self.path / "runs"

    @property
    def results(self) -> Path:
        """A file for each finished run."""
        return self.path / "results"

    def held_out(self) -> list[str]:
        """Returns the held-out cases."""
        return list(json.loads(self.split.read_text(encoding="utf-8"))[0]["val"])

    def what(self) -> dict[str, Any]:
        """Returns the record of the data."""
        return dict(json.loads(self.record.read_text(encoding="utf-8")))


def make_data(place: Place, *, jobs: int, nnunet: bool, tiny: bool) -> None:
    """Makes what is not there yet. Raises SystemExit where the folder holds heads of another key or version."""
    training, held_out, shape, spacing_mm = TINY if tiny else (TRAINING, HELD_OUT, SHAPE, SPACING_MM)
    key = {
        "difficulty": "mets", "seed": SEED, "cases": training + held_out, "held_out": held_out,
        "shape": list(shape), "spacing_mm": list(spacing_mm), "phantoms": source_digest("mets3d/phantoms"),
    }  # fmt: skip
    if place.record.exists():
        found = place.what()
        differing = [name for name in key if found.get(name) != key[name]]
        if differing:
            raise SystemExit(f"{place.path} holds other heads ({', '.join(differing)} differ); use another --work")
    else:
        _make_cases(place, key, jobs)
    if nnunet and not (place.nnunet / "ready").exists():
        from recipe_nnunet import prepare

        prepare(place, jobs)
        (place.nnunet / "ready").write_text("", encoding="utf-8")


def source_digest(folder: str) -> str:
    """Returns a short digest of the Python files of a folder of the repository."""
    digest = hashlib.sha256()
    for file in sorted((ROOT / folder).rglob("*.py")):
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _make_cases(place: Place, key: dict[str, Any], jobs: int) -> None:
    start = time.perf_counter()
    for folder in (place.cases, place.store, place.references):
        shutil.rmtree(folder, ignore_errors=True)
    make = partial(_make_case, place.cases, tuple(key["shape"]), tuple(key["spacing_mm"]))
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        made = list(pool.map(make, range(key["cases"])))
    names = [name for name, _ in made]
    training = names[: -key["held_out"]]
    write_json(place.split, [{"train": training, "val": names[len(training) :]}])
    place.references.mkdir(parents=True)
    for name in place.held_out():
        (place.references / name).symlink_to((place.cases / name).resolve())
    for note in preprocess(
        place.cases, place.store, Preprocess(spacing_mm=tuple(key["spacing_mm"])), data=Data(), jobs=jobs
    ):
        print(note)
    content = hashlib.sha256("".join(digest for _, digest in made).encode()).hexdigest()[:12]
    seconds = round(time.perf_counter() - start)
    write_json(place.record, {**key, "content": content})
    print(f"{len(names)} heads and their store made in {seconds} s, content {content}", flush=True)


def _make_case(folder: Path, shape: Any, spacing_mm: Any, index: int) -> tuple[str, str]:
    """Writes head `index`, and returns its name and a digest of its voxels."""
    name = f"BraTS-MET-{FIRST_NUMBER + index:05d}-000"
    patient = phantom(SEED, index, shape, spacing_mm, difficulty="mets")
    # WT, TC and ET are what is asked: a resection cavity is something that neither tool is to mark.
    labels = np.where(patient.labels == RC_LABEL, 0, patient.labels).astype(np.uint8)
    affine = np.diag([*spacing_mm, 1.0])
    affine[1, 3] = (shape[1] - 1) * spacing_mm[1]
    digest = hashlib.sha256()
    for kind, volume in {**patient.images, LABELS: labels}.items():
        digest.update(np.ascontiguousarray(volume).tobytes())
        write_image(folder / name / f"{name}-{kind}.nii.gz", volume, affine)
    return name, digest.hexdigest()
