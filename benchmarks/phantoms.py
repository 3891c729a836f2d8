"""Measures how hard phantoms are, easy ones and those as hard as metastases.

    .venv/bin/python benchmarks/phantoms.py [--difficulty mets] [--tables rules] [--cases 40] [--crop-cases 20]

Four tables, beside what is known of the training set of BraTS-METS 2025. Lesions are 26-connected.

- Sizes of lesions (core and enhancing tumour) and their number in a patient, from labels at 1 mm, and CPU seconds of a
  patient of 240x240x155 voxels.
- The best simple rule: a voxel is tumour core where a value is at or above a threshold, some way below the brain's
  surface, in a component between two sizes. The value is t1c, t1c - t1n, or t1c over its surroundings, each normalised
  over the brain. Threshold, depth and sizes are the best on the first half of the patients for each value and each
  score; the scores are of the second half, at 1.4 mm. A lesion is found where one voxel of it is.
- Training crops in which a region has no voxel, from a store as training makes it, 128^3 at 1 mm and 64^3 at 1.4 mm.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import print_table, rounded, save
from scipy.ndimage import distance_transform_edt, gaussian_filter

from mets3d.data.loader import Samples
from mets3d.data.preprocess import preprocess
from mets3d.data.store import open_store
from mets3d.ops.components import components
from mets3d.phantoms.synth import Phantom, phantom, synthesise
from mets3d.regions import ET, NETC, RC, SNFH, TC, scored_regions
from mets3d.settings import Data, Preprocess

TABLES = ("lesions", "rules", "crops")
SEED = 7
WHOLE, COARSE = (240, 240, 155), (104, 130, 100)  # at 1 mm, at 1.4 mm
COARSE_MM = 1.4
CROPS = (("64^3 at 1.4 mm", 64, COARSE_MM, COARSE), ("128^3 at 1 mm", 128, 1.0, (144, 180, 140)))
METS = {  # 10,119 lesions of 1,296 patients
    "ET, mm3: 5 %": 2.6,
    "ET, mm3: 50 %": 39.7,
    "ET, mm3: 95 %": 2678,
    "ET, mean, mm3": 569,
    "ET, largest, mm3": 96130,
    "ET below 27 mm3": 0.41,
    "ET above 275 mm3": 0.19,
    "lesions: median": 4,
    "lesions: 90 %": 17,
    "lesions: most": 393,
    "no label": 0.022,
    "no ET": 0.035,
    "with NETC": 0.54,
    "with SNFH": 0.89,
    "with RC": 0.13,
}

VALUES = ("t1c", "t1c - t1n", "t1c over its surroundings")
THRESHOLDS = tuple(np.arange(1.0, 5.01, 0.5))
DEPTHS_MM = (0.0, 2.0, 5.0)
SMALLEST_MM3, LARGEST_MM3 = (0.0, 8.0, 27.0, 100.0), (300.0, 1000.0, 5000.0, np.inf)
RULES = list(itertools.product(THRESHOLDS, DEPTHS_MM, SMALLEST_MM3, LARGEST_MM3))


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    for difficulty in options.difficulty:
        if "lesions" in options.tables:
            _show_lesions(difficulty, _lesions(difficulty, options.cases))
        if "rules" in options.tables:
            _show_rules(difficulty, _best_rules(difficulty, options.rule_cases))
        for name, size, spacing_mm, shape in CROPS if "crops" in options.tables else ():
            _show_crops(difficulty, name, _crops(difficulty, options, size, spacing_mm, shape))


# ---------------------------------------------------------------- lesions


def _lesions(difficulty: Any, cases: int) -> dict[str, float]:
    sizes: dict[str, list[int]] = {"ET": [], "TC": []}
    seconds, numbers, there = [], [], []
    for index in range(cases):
        start = time.process_time()
        labels = phantom(SEED, index, WHOLE, (1.0, 1.0, 1.0), difficulty=difficulty).labels
        seconds.append(time.process_time() - start)
        for region in (ET, TC):
            found = np.bincount(components(region.mask(labels)).ravel())[1:]
            sizes[region.name] += found.tolist()
        numbers.append(len(found))
        there.append(
            [(labels > 0).any(), *((labels == label).any() for label in (ET.decoded_as, NETC, SNFH, RC.decoded_as))]
        )
    result = {}
    for name, volumes in sizes.items():
        for share in (5, 50, 95):
            result[f"{name}, mm3: {share} %"] = float(np.percentile(volumes, share))
        result |= {f"{name}, mean, mm3": float(np.mean(volumes)), f"{name}, largest, mm3": float(max(volumes))}
        result[f"{name} below 27 mm3"] = float(np.mean(np.array(volumes) < 27))
        result[f"{name} above 275 mm3"] = float(np.mean(np.array(volumes) > 275))
        result[f"{name}, number"] = len(volumes)
    result |= {"lesions: median": float(np.median(numbers)), "lesions: 90 %": float(np.percentile(numbers, 90))}
    result |= {"lesions: most": max(numbers), "patients": cases, "CPU s a patient": float(np.median(seconds))}
    shares = np.mean(there, axis=0)
    result |= {"no label": 1 - shares[0], "no ET": 1 - shares[1], "CPU s, slowest patient": max(seconds)}
    result |= dict(zip(("with NETC", "with SNFH", "with RC"), shares[2:], strict=True))
    return {name: rounded(float(value)) for name, value in result.items()}


# ---------------------------------------------------------------- simple rules


def _best_rules(difficulty: Any, cases: int) -> dict[str, Any]:
    """Dice and lesion F1 of the best rule of each value, for either score."""
    counted = np.array([_counts(difficulty, index) for index in range(cases)])  # case, value, rule, count
    first, second = counted[: cases // 2], counted[cases // 2 :]
    result = {}
    for number, value in enumerate(VALUES):
        for name, score in (("Dice", _dice), ("F1", _f1)):
            best = int(np.argmax(score(first[:, number])))
            chosen = dict(zip(("threshold", "depth_mm", "smallest_mm3", "largest_mm3"), RULES[best], strict=True))
            result[f"{value}, best {name}"] = {
                "Dice": rounded(float(_dice(second[:, number])[best])),
                "F1": rounded(float(_f1(second[:, number])[best])),
                **{key: rounded(float(number)) if np.isfinite(number) else None for key, number in chosen.items()},
            }
    return result


def _counts(difficulty: Any, index: int) -> np.ndarray:
    """Counts of each rule: [value, rule, (voxels right, predicted, true, lesions found, true lesions, false ones)]."""
    patient = phantom(SEED, index, COARSE, (COARSE_MM,) * 3, difficulty=difficulty)
    brain = patient.images["t1c"] > 0
    depth = distance_transform_edt(brain, (COARSE_MM,) * 3)
    core = TC.mask(patient.labels)
    lesions = components(core)
    rows = []
    for values in _values(patient, brain):
        for threshold, depth_mm in itertools.product(THRESHOLDS, DEPTHS_MM):
            rows += _by_size(components(brain & (values >= threshold) & (depth > depth_mm)), core, lesions)
    return np.array(rows).reshape(len(VALUES), len(RULES), 6)


def _values(patient: Phantom, brain: np.ndarray) -> Iterator[np.ndarray]:
    t1c, t1n = (_normalised(patient.images[name], brain) for name in ("t1c", "t1n"))
    yield t1c
    yield _normalised(t1c - t1n, brain)
    weight = np.maximum(gaussian_filter(brain.astype(np.float32), 5 / COARSE_MM), 1e-3)
    yield _normalised(t1c - gaussian_filter(t1c, 5 / COARSE_MM) / weight, brain)


def _normalised(image: np.ndarray, brain: np.ndarray) -> np.ndarray:
    values = image[brain].astype(np.float32)
    return np.where(brain, (image - values.mean()) / values.std(), 0).astype(np.float32)


def _by_size(parts: np.ndarray, core: np.ndarray, lesions: np.ndarray) -> list[list[float]]:
    """Counts for each pair of a smallest and a largest size."""
    voxels = np.bincount(parts.ravel())
    right = np.bincount(parts[core], minlength=len(voxels))
    pairs = np.unique(np.stack([parts[core], lesions[core]]), axis=1)
    rows = []
    for smallest, largest in itertools.product(SMALLEST_MM3, LARGEST_MM3):
        kept = (voxels * COARSE_MM**3 >= smallest) & (voxels * COARSE_MM**3 <= largest)
        kept[0] = False
        found = len(np.unique(pairs[1][kept[pairs[0]]]))
        false = np.count_nonzero(kept & (right == 0))
        rows.append([right[kept].sum(), voxels[kept].sum(), core.sum(), found, lesions.max(), false])
    return rows


def _dice(counts: np.ndarray) -> np.ndarray:
    """Mean over the patients with a lesion, for each rule."""
    right, predicted, true = np.moveaxis(counts[counts[:, 0, 2] > 0][..., :3], -1, 0)
    return np.asarray((2 * right / (predicted + true)).mean(0))


def _f1(counts: np.ndarray) -> np.ndarray:
    """Over all lesions of all patients, for each rule."""
    found, true, false = np.moveaxis(counts[..., 3:].sum(0), -1, 0)
    return np.asarray(2 * found / (found + true + false))


# ---------------------------------------------------------------- training crops


def _crops(difficulty: Any, options: argparse.Namespace, size: int, spacing_mm: float, shape: Any) -> dict[str, float]:
    """Share of crops without a region, drawn as training draws them."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        data, store = Path(folder) / "data", Path(folder) / "store"
        synthesise(data, options.crop_cases, SEED, shape=shape, spacing_mm=(spacing_mm,) * 3, difficulty=difficulty)
        preprocess(data, store, Preprocess(spacing_mm=(spacing_mm,) * 3), data=Data(), jobs=1)
        cases = open_store(store).cases
        fraction = Data().lesion_fraction
        samples = Samples(store, cases, patch=(size,) * 3, seed=SEED, lesion_fraction=fraction)
        empty = []
        for index in range(options.crops):
            case, origin = samples.place((0, index))
            labels = case.labels(tuple(slice(max(0, start), start + size) for start in origin)).numpy()
            empty.append([not region.mask(labels).any() for region in scored_regions()])
    shares = np.mean(empty, axis=0)
    result = {"an empty region": np.any(empty, axis=1).mean(), "every region empty": np.all(empty, axis=1).mean()}
    result |= {region.name: share for region, share in zip(scored_regions(), shares, strict=True)}
    result |= {"channels": shares.mean()}
    return {name: rounded(float(value)) for name, value in result.items()}


# ---------------------------------------------------------------- showing


def _show_lesions(difficulty: str, found: dict[str, float]) -> None:
    rows = [[name, f"{value:g}", f"{METS[name]:g}" if name in METS else ""] for name, value in found.items()]
    print_table(f"{difficulty}: lesions", ["", difficulty, "METS 2025"], rows)
    save("phantoms", f"{difficulty}, lesions", {"seed": SEED, "found": found}, torch.device("cpu"))


def _show_rules(difficulty: str, rules: dict[str, dict[str, Any]]) -> None:
    rows = [[name, *(str(value) for value in row.values())] for name, row in rules.items()]
    print_table(f"{difficulty}: simple rules for TC at {COARSE_MM} mm", ["rule", *next(iter(rules.values()))], rows)
    save("phantoms", f"{difficulty}, rules", {"seed": SEED, "rules": rules}, torch.device("cpu"))


def _show_crops(difficulty: str, name: str, shares: dict[str, float]) -> None:
    rows = [[what, f"{share:.3f}"] for what, share in shares.items()]
    print_table(f"{difficulty}: share of training crops of {name} without", ["", ""], rows)
    save("phantoms", f"{difficulty}, crops of {name}", {"seed": SEED, "shares": shares}, torch.device("cpu"))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--difficulty", nargs="+", choices=("easy", "mets"), default=("mets", "easy"))
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES)
    parser.add_argument("--cases", type=int, default=40, help="patients at 1 mm")
    parser.add_argument("--rule-cases", type=int, default=40, help="patients for the rules")
    parser.add_argument("--crop-cases", type=int, default=20, help="patients for the crops")
    parser.add_argument("--crops", type=int, default=600)
    parser.add_argument("--folder", type=Path, help="where to write, on a disk with 2 GB free")
    return parser.parse_args()


if __name__ == "__main__":
    main()
