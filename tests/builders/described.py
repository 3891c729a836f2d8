"""Made-up numbers of data sets of any size, as `mets3d.data.describe` returns them, without a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mets3d.data.cases import Case, CaseList, Finding
from mets3d.data.check import CheckReport
from mets3d.data.describe import DataSet
from mets3d.data.describe_case import PERCENTILES, CaseNumbers, Intensities
from mets3d.data.describe_lesions import DescribedLesion
from mets3d.data.describe_places import CasePlaces, collect_places, describe_places
from mets3d.regions import LABEL_NAMES
from mets3d.settings import Data

REGION_NAMES = ("WT", "TC", "ET", "RC")
SEQUENCES = ("t1n", "t1c", "t2w", "t2f")
GRIDS = (((240, 240, 155), (1.0, 1.0, 1.0)), ((256, 256, 106), (0.859, 0.859, 1.5)), ((512, 512, 176), (0.5, 0.5, 1.0)))


def described(cases: int, seed: int = 0, *, findings: list[Finding] | None = None) -> DataSet:
    """A data set of `cases` cases of half as many patients, a tenth with a cavity and one in fifty empty."""
    rng = np.random.default_rng(seed)
    numbers = [
        made_case(f"BraTS-MET-{index // 2:05d}-{index % 2:03d}", rng, empty=index % 50 == 34) for index in range(cases)
    ]
    folder = Path("data")
    sources = [Case(case.name, folder / case.name, {}, None, case.patient) for case in numbers]
    found = CaseList(sources, {folder: cases}, [], "BraTS-METS")
    places = collect_places(made_places(rng) for _ in range(min(cases, 8)))
    report = CheckReport(folder, [case.name for case in numbers], findings or [], [], [])
    return DataSet(found, numbers, places, report, Data())


def made_case(name: str, rng: np.random.Generator, *, empty: bool = False) -> CaseNumbers:
    shape, spacing_mm = GRIDS[int(rng.integers(len(GRIDS)))]
    scale = float(rng.lognormal(6, 0.6))
    values = {sequence: made_intensities(scale * float(rng.lognormal(0, 0.2))) for sequence in SEQUENCES}
    label_mm3, lesions = (
        ({}, {region: [] for region in REGION_NAMES}) if empty else made_lesions(rng, float(np.prod(spacing_mm)))
    )
    return CaseNumbers(
        name, name[:-4], shape, spacing_mm, "RAS", SEQUENCES, float(rng.normal(1350, 90)), values, label_mm3, lesions
    )


def made_intensities(scale: float) -> Intensities:
    percentiles = {p: scale * (0.4 + p / 80) for p in PERCENTILES}
    contrast = {name: 0.5 * label for label, name in LABEL_NAMES.items() if label}
    return Intensities(0.1 * scale, 3 * scale, scale, 0.3 * scale, percentiles, contrast)


def made_lesions(
    rng: np.random.Generator, voxel_mm3: float
) -> tuple[dict[int, float], dict[str, list[DescribedLesion]]]:
    amount = min(int(rng.geometric(0.15)), 80)
    voxels = sorted(np.maximum(1, rng.lognormal(3.7, 2, amount) / voxel_mm3).astype(int).tolist(), reverse=True)
    found = [made_lesion(rng, size, voxel_mm3) for size in voxels]
    cavity = [made_lesion(rng, 4000, voxel_mm3)] if rng.random() < 0.1 else []
    core = sum(lesion.volume_mm3 for lesion in found)
    volumes = {1: 0.1 * core, 2: 4 * core, 3: core, 4: sum(lesion.volume_mm3 for lesion in cavity)}
    return {label: volume for label, volume in volumes.items() if volume}, dict.fromkeys(("WT", "TC", "ET"), found) | {
        "RC": cavity
    }


def made_lesion(rng: np.random.Generator, voxels: int, voxel_mm3: float) -> DescribedLesion:
    x, y, z = rng.random(3).tolist()
    return DescribedLesion(voxels * voxel_mm3, voxels, (100 * x, 100 * y, 100 * z), (x, y, z), (2, 3))


def made_places(rng: np.random.Generator) -> CasePlaces:
    brain, labels = np.ones((20, 22, 18), dtype=bool), np.zeros((20, 22, 18), np.uint8)
    x, y, z = (int(rng.integers(n - 4)) for n in labels.shape)
    labels[x : x + 4, y : y + 4, z : z + 4] = 3
    return describe_places(brain, labels, (slice(0, 20), slice(0, 22), slice(0, 18)))
