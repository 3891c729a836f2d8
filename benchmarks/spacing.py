"""Compares rules that bring label maps to voxels of 1 mm, by size of lesion, over the spacings of BraTS-METS.

    python benchmarks/spacing.py [--labels DATA] [--seeds 4] [--target 1 1 1]

Made-up lesions: ellipsoids with the volumes of the 10,119 lesions of the 2025 training set (its quantiles, see SIZES),
anywhere on voxels of each spacing. With --labels also the reference label maps below a folder, in all their regions.
Each rule goes with the way back that belongs to it: probabilities 0 and 1 of the stored region to the own grid, and
what is above 1/2 there. Kept: lesions of which a voxel is stored. Volume: stored over own, summed. Dice: the mean over
lesions, on the own grid, of a lesion and what came back of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy import ndimage

from mets3d.data.nifti import read_labels
from mets3d.data.spacing import stored_shape
from mets3d.ops.lesion_resample import resize_lesions
from mets3d.ops.resample import linear_weights, overlap_weights, resize, resize_labels, resize_probabilities
from mets3d.regions import ET, TC, WT

SPACINGS = (
    *((0.86, 0.86, 1.5), (1.17, 1.17, 1.5), (0.75, 0.75, 2.0), (0.5, 0.5, 1.0), (1.0, 1.0, 0.6)),
    *((0.49, 0.49, 0.6), (1.0, 0.5, 0.5), (0.9, 0.9, 0.9), (0.94, 0.94, 3.0), (0.47, 0.47, 5.5)),
)
SIZES = ((0, 0.1), (0.044, 2), (0.05, 2.6), (0.41, 27), (0.5, 39.7), (0.81, 275), (0.95, 2678), (1, 20_000))
EDGES = (0, 2, 27, 100, np.inf)
BOX_MM, LESIONS = (90.0, 90.0, 80.0), 60
TOUCHING = np.ones((3, 3, 3), dtype=bool)

Spacing = tuple[float, float, float]
Rule = Callable[[np.ndarray, Sequence[int]], np.ndarray]


def main() -> None:
    """Prints one table per spacing, and one of all of them."""
    options = _options()
    every: dict[str, list[np.ndarray]] = {name: [] for name in RULES}
    for where, maps in _sources(options):
        print(where)
        for name, (forth, back) in RULES.items():
            rows = [_measured(labels, mm, tuple(options.target), forth, back) for labels, mm in maps]
            every[name] += rows
            print(f"  {name:<10}{_line(np.concatenate(rows))}", flush=True)
    print("all of them")
    for name, rows in every.items():
        print(f"  {name:<10}{_line(np.concatenate(rows))}")


# ---------------------------------------------------------------- rules


def _nearest(labels: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    at = [
        np.minimum((np.arange(m) + 0.5) * n // m, n - 1).astype(int) for n, m in zip(labels.shape, shape, strict=True)
    ]
    return labels[np.ix_(*at)]


def _linear(values: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """As order 1 without smoothing: values at the new voxels' centres."""
    for axis, (n, m) in enumerate(zip(values.shape, shape, strict=True)):
        values = np.moveaxis(np.tensordot(linear_weights(n, m), values, axes=(1, axis)), 0, axis)
    return values


def _nnunet(labels: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """nnU-Net's: the mask of each label in turn, linearly, where it is at least 1/2."""
    new = np.zeros(tuple(shape), dtype=np.uint8)
    for label in np.unique(labels):
        new[_linear((labels == label).astype(np.float32), shape) >= 0.5] = label
    return new


RULES: dict[str, tuple[Rule, Rule]] = {
    "majority": (resize_labels, resize),  # what mets3d did before
    "nearest": (_nearest, _linear),
    "nnU-Net": (_nnunet, _linear),
    "mets3d": (resize_lesions, resize_probabilities),
}


# ---------------------------------------------------------------- label maps


def _sources(options: argparse.Namespace) -> Iterator[tuple[str, list[tuple[np.ndarray, Spacing]]]]:
    for mm in SPACINGS if options.seeds else ():
        yield " x ".join(f"{side:g}" for side in mm), [(_made_up(mm, seed), mm) for seed in range(options.seeds)]
    for path in sorted(options.labels.rglob("*seg.nii*")) if options.labels else ():
        reference = read_labels(path)
        mm = reference.spacing_mm
        yield f"{path.name}, {' x '.join(f'{side:.3g}' for side in mm)}", [(reference.labels, mm)]


def _made_up(mm: Spacing, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    labels = np.zeros([round(length / side) for length, side in zip(BOX_MM, mm, strict=True)], dtype=np.uint8)
    shares, volumes = np.array(SIZES).T
    for volume in sorted(np.exp(np.interp(rng.random(LESIONS), shares, np.log(volumes))), reverse=True):
        axes = np.exp(rng.normal(0, 0.25, 3))
        radii = (0.75 * volume / np.pi / axes.prod()) ** (1 / 3) * axes
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        for _ in range(50):
            if _put(labels, mm, rng.uniform(radii.max() + 2, np.array(BOX_MM) - radii.max() - 2), radii, turn):
                break
    return labels


def _put(labels: np.ndarray, mm: Spacing, centre: np.ndarray, radii: np.ndarray, turn: np.ndarray) -> bool:
    """Draws an ellipsoid, of one voxel at least, unless it would come within two voxels of another."""
    first = np.maximum(((centre - radii.max()) / mm).astype(int) - 2, 0)
    last = np.minimum(((centre + radii.max()) / mm).astype(int) + 4, labels.shape)
    axes = [(np.arange(a, b) + 0.5) * side - c for a, b, side, c in zip(first, last, mm, centre, strict=True)]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    mask = (((places @ turn) / radii) ** 2).sum(-1) <= 1
    if not mask.any():
        mask[tuple((centre / mm).astype(int) - first)] = True
    part = labels[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
    if part[ndimage.binary_dilation(mask, TOUCHING, iterations=2)].any():
        return False
    part[mask] = 3
    return True


# ---------------------------------------------------------------- measures


def _measured(labels: np.ndarray, mm: Spacing, target: Spacing, forth: Rule, back: Rule) -> np.ndarray:
    """Returns a row a lesion: volume, whether it is kept, stored volume, whether it comes back, Dice."""
    new = forth(labels, stored_shape(labels.shape, mm, target))
    regions = (ET,) if set(np.unique(labels)) <= {0, 3} else (ET, TC, WT)
    return np.concatenate([_of_region(region.mask(labels), region.mask(new), mm, back) for region in regions])


def _of_region(before: np.ndarray, after: np.ndarray, mm: Spacing, back: Rule) -> np.ndarray:
    numbers, _ = ndimage.label(before, TOUCHING)
    stored, _ = ndimage.label(after, TOUCHING)
    returned, _ = ndimage.label(back(after.astype(np.float32), before.shape) > 0.5, TOUCHING)
    voxel = float(np.prod(mm))
    sizes = np.bincount(stored.ravel()) * voxel * before.size / after.size
    returned_sizes = np.bincount(returned.ravel())
    rows = []
    for number, box in enumerate(ndimage.find_objects(numbers), 1):
        mask = numbers[box] == number
        there = _reached(mask, box, before.shape, stored)
        found = np.unique(returned[box][mask])
        found = found[found > 0]
        overlap = np.count_nonzero(mask & (returned[box] > 0))
        dice = 2 * overlap / (mask.sum() + returned_sizes[found].sum()) if len(found) else 0.0
        rows.append((mask.sum() * voxel, len(there) > 0, sizes[there].sum(), len(found) > 0, dice))
    return np.array(rows, dtype=float).reshape(-1, 5)


def _reached(mask: np.ndarray, box: tuple[slice, ...], shape: Sequence[int], stored: np.ndarray) -> np.ndarray:
    """Returns the stored components with a voxel that overlaps a lesion."""
    share = mask.astype(np.float64)
    rows = []
    for axis, (side, n, m) in enumerate(zip(box, shape, stored.shape, strict=True)):
        rows.append(slice(side.start * m // n, -(-side.stop * m // n)))
        share = np.moveaxis(np.tensordot(overlap_weights(n, m)[rows[-1], side], share, axes=(1, axis)), 0, axis)
    found = np.unique(stored[tuple(rows)][share > 1e-5])
    return found[found > 0]


def _line(rows: np.ndarray) -> str:
    cells = []
    for low, high in pairwise(EDGES):
        chosen = rows[(rows[:, 0] > low) & (rows[:, 0] <= high)]
        if len(chosen):
            volume = chosen[:, 2].sum() / chosen[:, 0].sum()
            kept, back, dice = chosen[:, 1].mean(), chosen[:, 3].mean(), chosen[:, 4].mean()
            name = f"{low:g}-{high:g}" if np.isfinite(high) else f">{low:g}"
            cells.append(f"{name} ({len(chosen)}): kept {kept:.2f} volume {volume:.2f} back {back:.2f} Dice {dice:.3f}")
    return " | ".join(cells)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=Path, help="folder with references, *seg.nii.gz")
    parser.add_argument("--seeds", type=int, default=4, help="made-up label maps a spacing")
    parser.add_argument("--target", type=float, nargs=3, default=(1.0, 1.0, 1.0), help="voxel size in mm")
    return parser.parse_args()


if __name__ == "__main__":
    main()
