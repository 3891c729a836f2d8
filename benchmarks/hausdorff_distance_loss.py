"""Our Hausdorff distance loss against MONAI's HausdorffDTLoss: forward and backward, round-robin in one process.

    .venv/bin/python benchmarks/hausdorff_distance_loss.py [--size 96] [--rounds 5]

Batch 2 x 3 labels x size^3, sparse balls of radius 2 to 10 voxels, CPU, one thread. Writes
benchmarks/results/hausdorff_distance_loss.json and prints CPU seconds (median, range) and their ratio.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from monai.losses import HausdorffDTLoss

from mets3d.losses.hausdorff import hausdorff_distance_loss

RESULTS = Path(__file__).parent / "results"


def masks(size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Targets, and predictions that miss some balls, move others and invent a few."""
    rng = np.random.default_rng(seed)
    axes = np.ogrid[:size, :size, :size]
    pair = np.zeros((2, 2, 3, size, size, size), dtype=bool)
    for item in np.ndindex(2, 3):
        for _ in range(rng.integers(1, 11)):
            centre, radius = rng.uniform(0, size, 3), rng.uniform(2, 10)
            for side, shift in ((0, 0.0), (1, rng.normal(0, 1.5, 3))):
                if side == 0 or rng.random() > 0.15:
                    apart = sum((axis - c) ** 2 for axis, c in zip(axes, centre + shift, strict=True))
                    pair[(side, *item)] |= apart <= radius**2
    target, predicted = torch.from_numpy(pair)
    return torch.where(predicted, 0.9, 0.02), target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    probability, target = masks(options.size, seed=0)
    monai = HausdorffDTLoss(include_background=True)
    contestants = {
        "mets3d": lambda p: hausdorff_distance_loss(p, target, parity="monai").mean(),
        "monai": lambda p: monai(p, target.float()),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    values = {}
    for round_number in range(options.rounds + 1):  # the first warms up
        for name, loss in contestants.items():
            leaf = probability.clone().requires_grad_()
            started = time.process_time()
            value = loss(leaf)
            value.backward()
            if round_number:
                seconds[name].append(time.process_time() - started)
            values[name] = value.item()
    ratio = [theirs / ours for ours, theirs in zip(seconds["mets3d"], seconds["monai"], strict=True)]
    result = {
        "size": options.size,
        "cpu_seconds": seconds,
        "ratio_median": statistics.median(ratio),
        "ratio_range": [min(ratio), max(ratio)],
        "values": values,
        "machine": f"{platform.machine()}, {platform.python_version()}, torch {torch.__version__}, one thread",
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "hausdorff_distance_loss.json").write_text(json.dumps(result, indent=1) + "\n")
    for name, values_of in seconds.items():
        print(f"{name}: {statistics.median(values_of):.3f} CPU s ({min(values_of):.3f} to {max(values_of):.3f})")
    print(f"monai / mets3d: {result['ratio_median']:.1f} ({min(ratio):.1f} to {max(ratio):.1f})")


if __name__ == "__main__":
    main()
