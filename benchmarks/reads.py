"""Measures the background that movements invent, and what the larger reads against it cost.

    .venv/bin/python benchmarks/reads.py [--patch 128] [--case 136x168x138] [--samples 60]

Patches lie anywhere in a case as large as a head's box at 1 mm. Samples are drawn as the preset says until enough of
them move by more than a mirror. Counted are the voxels of a moved patch that lie inside the case, which has no 0, and
are 0 nevertheless: with a read of the patch alone, and with the loader's. Beside it stand the voxels that the loader
reads and, as `Samples.bytes` counts memory, their mean and one standard deviation, both in patches, over all samples;
and the CPU milliseconds of one thread for a movement of four sequences and labels. Writes results/reads.json.
"""

from __future__ import annotations

import argparse
import math
import time
from functools import partial
from typing import Any

import numpy as np
import torch
from harness import print_table, save, shape_name, shape_of
from torch import Tensor

from mets3d import augment
from mets3d.augment.changes import Drawn
from mets3d.data.loader import generator
from mets3d.data.patches import box_around, padded, read_shape
from mets3d.ops.voxels import Shape3
from mets3d.settings import Augment

PRESETS = ("default", "brats_regions")
SEQUENCES = 4
MM = (1.0, 1.0, 1.0)


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    result: dict[str, Any] = {}
    rows = []
    for preset in PRESETS:
        found = measured(preset, options)
        result[preset] = {name: _summary(values) for name, values in found.items()}
        shown = result[preset]
        rows.append(
            [
                preset,
                f"{shown['moves']['mean']:.2f}",
                f"{100 * shown['invented, patch read']['mean']:.1f} ({100 * shown['invented, patch read']['p90']:.0f})",
                f"{100 * shown['invented, larger read']['mean']:.3f}",
                f"{shown['read']['mean']:.2f} ({shown['read']['largest']:.1f})",
                f"{shown['memory']['mean']:.2f}",
                f"{shown['cpu_ms']['mean']:.0f} ({shown['cpu_ms']['largest']:.0f})",
            ]
        )
    heads = [
        "preset", "moves", "invented %, patch read (p90)", "invented %, larger read", "read in patches (largest)",
        "memory in patches", "CPU ms (largest)",
    ]  # fmt: skip
    print_table(f"patch {shape_name(options.patch)} in a case of {shape_name(options.case)}", heads, rows)
    save("reads", shape_name(options.patch), result, torch.device("cpu"))


def measured(preset: str, options: argparse.Namespace) -> dict[str, list[float]]:
    patch, case = options.patch, options.case
    draw = augment.build(Augment(preset=preset), sequences=SEQUENCES)
    found: dict[str, list[float]] = {}
    reads, step = [], 0
    while len(found.get("cpu_ms", ())) < options.samples:
        drawn: Drawn = draw(partial(generator, 0, step, 0))
        rng = generator(0, step, 0)
        step += 1
        origin = tuple(int(rng.integers(min(0, n - p), max(0, n - p) + 1)) for n, p in zip(case, patch, strict=True))
        size = read_shape(case, origin, patch, drawn, MM)
        reads.append(math.prod(size) / math.prod(patch))
        found.setdefault("moves", []).append(float(drawn.movement.interpolates))
        if not drawn.movement.interpolates:
            continue
        whole = tuple(max(2 * o + p, 2 * (n - o) - p) for o, p, n in zip(origin, patch, case, strict=True))
        truth = _moved(drawn, patch, case, origin, whole)
        for name, read in (("invented, patch read", patch), ("invented, larger read", size)):
            zeros = truth & ~_moved(drawn, patch, case, origin, read)
            found.setdefault(name, []).append(float(zeros.sum() / truth.sum()))
        found.setdefault("cpu_ms", []).append(_cpu_ms(drawn, patch, size))
    return found | {"read": reads, "memory": [float(np.mean(reads) + np.std(reads))]}


def _moved(drawn: Drawn, patch: Shape3, case: Shape3, origin: tuple[int, ...], size: Shape3) -> Tensor:
    """Where the moved patch shows a case of ones, of which so much around the patch was read."""
    inside, before = box_around(origin, patch, size, case)
    ones = padded(torch.ones([side.stop - side.start for side in inside]), before, size)
    movement = drawn.movement
    shown, _ = movement.apply(ones[None], ones[None, :1, :1, :1].to(torch.uint8), patch, MM)
    return shown[0] > 0.5


def _cpu_ms(drawn: Drawn, patch: Shape3, size: Shape3) -> float:
    image, labels = torch.zeros(SEQUENCES, *size, dtype=torch.float16), torch.zeros(size, dtype=torch.uint8)
    start = time.process_time()
    drawn.movement.apply(image.float(), labels, patch, MM)
    return 1000 * (time.process_time() - start)


def _summary(values: list[float]) -> dict[str, Any]:
    percentiles = {f"p{percent}": float(np.percentile(values, percent)) for percent in (50, 90)}
    return {"mean": float(np.mean(values)), **percentiles, "largest": max(values), "samples": len(values)}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patch", type=shape_of, default=shape_of("128"))
    parser.add_argument("--case", type=shape_of, default=shape_of("136x168x138"))
    parser.add_argument("--samples", type=int, default=60, help="that move, of each preset")
    return parser.parse_args()


if __name__ == "__main__":
    main()
