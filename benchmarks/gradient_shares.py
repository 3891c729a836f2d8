"""Who gets the gradient of each boundary loss, and what one false voxel changes: the tables of docs/losses.md.

    .venv/bin/python benchmarks/gradient_shares.py [--markdown]
    .venv/bin/python benchmarks/gradient_shares.py --trained RUN DATA [--cases 4]

Every term of `loss.boundary` as its settings' defaults build it, some with other settings, and the base loss. Shares
are of the sum of |dL / dlogit|. The scene, in 96^3 voxels of 1 mm: a ball of radius 6 found with a shell one voxel too
thick, a ball of radius 2 missed, one of radius 2 false 42 mm away; its background has one of three probabilities. The
empty patch has a false ball of radius 3 and no target. The cliff: a lesion of radius 3 of which nothing is predicted,
then a false voxel 5 mm off its surface or its own centre voxel alone.

--trained: the same shares on the probabilities that a run gives for cases of a data set, each cut to 96 voxels a side
around its label, of all cases and regions together. A lesion is missed or false where its connected component touches
nothing of the other mask; the other wrong voxels are the boundary.

Writes benchmarks/results/gradient_shares.json. CPU, one thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from harness import print_table, save
from scipy.ndimage import binary_dilation
from torch import Tensor

from mets3d import losses
from mets3d.losses.region import region_loss
from mets3d.losses.total import TotalLoss
from mets3d.ops.components import components
from mets3d.regions import Target
from mets3d.settings.loss import BoundaryName, Loss

SIDE = 96
BACKGROUNDS = (1e-2, 1e-3, 1e-4)
FOUND, SHELL, MISSED, FALSE = 0.95, 0.9, 0.05, 0.9  # probabilities there
BASE = "Dice + BCE"
VARIANTS: dict[str, dict[str, Any]] = {
    "hausdorff_distance, directed": {"boundary": "hausdorff_distance", "boundary_sides": "directed"},
    "hausdorff_distance, alpha 1": {"boundary": "hausdorff_distance", "boundary_alpha": 1},
    "hausdorff_distance, cap 10 mm": {"boundary": "hausdorff_distance", "boundary_cap_mm": 10},
    "hausdorff_distance, class-balanced": {"boundary": "hausdorff_distance", "boundary_class_balanced": True},
    "hausdorff_conditioned, alpha 2": {"boundary": "hausdorff_conditioned", "boundary_alpha": 2},
    "hausdorff_conditioned, cap 10 mm": {"boundary": "hausdorff_conditioned", "boundary_cap_mm": 10},
    "hausdorff_erosion, fixed": {"boundary": "hausdorff_erosion", "boundary_rescale": "fixed"},
    "blob, Dice alone": {"boundary": "blob", "boundary_inside": "dice"},
    "cc_dice, Dice alone": {"boundary": "cc_dice", "boundary_inside": "dice"},
}

# Logits and target [1, 1, X, Y, Z] and the spacing to a scalar.
OfLogits = Callable[[Tensor, Tensor, tuple[float, float, float]], Tensor]
Parts = Mapping[str, Tensor]  # masks [X, Y, Z] by name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", action="store_true", help="print the tables as docs/losses.md has them")
    parser.add_argument("--trained", nargs=2, type=Path, metavar=("RUN", "DATA"), help="outputs of a trained network")
    parser.add_argument("--cases", type=int, default=4, help="cases of DATA that --trained looks at")
    options = parser.parse_args()
    torch.set_num_threads(1)
    show = print_markdown if options.markdown else print_table
    if options.trained:
        run, data = options.trained
        result = of_trained(run, data, options.cases)
        save("gradient_shares", "trained", result, torch.device("cpu"))
        rows = [[name, *map(percent, shares.values())] for name, shares in result["shares"].items()]
        show("Shares on trained outputs, %", ["loss", *result["voxels"]], rows)
        return
    result = of_scenes()
    save("gradient_shares", "scenes", result, torch.device("cpu"))
    for title, header, rows in tables(result):
        show(title, header, rows)


def contestants() -> dict[str, OfLogits]:
    names = {name: {"boundary": name} for name in get_args(BoundaryName)}
    ordered = dict(sorted((names | VARIANTS).items()))
    return {BASE: base} | {name: of_settings(**settings) for name, settings in ordered.items()}


def base(logits: Tensor, target: Tensor, _spacing: tuple[float, float, float]) -> Tensor:
    return torch.stack(list(region_loss(logits, target).values())).sum()


def of_settings(**settings: Any) -> OfLogits:
    """The term as a run has it, in its unit, without weight and schedule."""
    loss = losses.build(Loss(**settings), target=Target(), steps=1, queries=False)
    assert isinstance(loss, TotalLoss)
    (term,) = loss.terms.values()

    def run(logits: Tensor, target: Tensor, spacing: tuple[float, float, float]) -> Tensor:
        value = term.loss(logits.sigmoid(), target, spacing, None, None).sum()
        unit = term.unit(target.shape, np.array([spacing]))
        return value / float(unit[0])

    return run


def of_scenes() -> dict[str, Any]:
    parts, target = scene()
    empty, nothing = {"false": ball((48, 48, 48), 3)}, torch.zeros(SIDE, SIDE, SIDE, dtype=torch.bool)
    result: dict[str, Any] = {
        "voxels": {name: int(mask.sum()) for name, mask in parts.items()},
        "shares": {},
        "empty": {},
        "cliff": {},
    }
    for name, loss in contestants().items():
        print(name, flush=True)
        result["shares"][name], result["empty"][name] = {}, {}
        for background in BACKGROUNDS:
            p = filled(background, parts, {"found": FOUND, "shell": SHELL, "missed": MISSED, "false": FALSE})
            result["shares"][name][f"{background:g}"] = shares(loss, p, target, parts)
            p = filled(background, empty, {"false": FALSE})
            result["empty"][name][f"{background:g}"] = shares(loss, p, nothing, empty)["false"]
        result["cliff"][name] = cliff(loss)
    return result


def scene() -> tuple[Parts, Tensor]:
    found, missed, false = ball((30, 30, 30), 6), ball((30, 70, 30), 2), ball((72, 30, 30), 2)
    thicker = torch.from_numpy(binary_dilation(found.numpy()))
    return {"missed": missed, "false": false, "shell": thicker & ~found, "found": found}, found | missed


def ball(centre: tuple[int, int, int], radius: float) -> Tensor:
    axes = torch.meshgrid(*[torch.arange(SIDE)] * 3, indexing="ij")
    squares: Tensor = sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True))  # type: ignore[assignment]
    return squares <= radius**2


def filled(background: float, parts: Parts, probabilities: Mapping[str, float]) -> Tensor:
    p = torch.full((SIDE, SIDE, SIDE), background, dtype=torch.float64)
    for name, value in probabilities.items():
        p[parts[name]] = value
    return p


def shares(loss: OfLogits, p: Tensor, target: Tensor, parts: Parts) -> dict[str, float]:
    """Shares of the gradient of the parts, and of all the rest together as `rest`."""
    sums = gradient_sums(loss, p, target, parts)
    total = sum(sums.values())
    return {name: amount / total if total else 0.0 for name, amount in sums.items()}


def gradient_sums(
    loss: OfLogits, p: Tensor, target: Tensor, parts: Parts, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> dict[str, float]:
    logits = p.logit()[None, None].requires_grad_()
    (gradient,) = torch.autograd.grad(loss(logits, target[None, None], spacing), logits)
    size = gradient[0, 0].abs()
    return {name: size[mask].sum().item() for name, mask in with_rest(parts).items()}


def with_rest(parts: Parts) -> Parts:
    return {**parts, "rest": ~torch.stack(list(parts.values())).any(0)}


def cliff(loss: OfLogits) -> dict[str, float]:
    lesion = ball((48, 48, 48), 3)
    values = {}
    for state, voxel in (("nothing", None), ("false voxel", (56, 48, 48)), ("own centre", (48, 48, 48))):
        p = torch.full((SIDE, SIDE, SIDE), 1e-3, dtype=torch.float64)
        if voxel is not None:
            p[voxel] = FALSE
        values[state] = loss(p.logit()[None, None], lesion[None, None], (1.0, 1.0, 1.0)).item()
    return values


def of_trained(run: Path, data: Path, cases: int) -> dict[str, Any]:
    """Sums over cases and regions, so that a patch that is hard has more of them, as it has in training."""
    from mets3d import Predictor
    from mets3d.data.cases import find_cases
    from mets3d.data.nifti import read_labels

    predictor = Predictor.from_pretrained(run)
    counts: dict[str, int] = {}
    sums: dict[str, dict[str, float]] = {name: {} for name in contestants()}
    for case in list(find_cases(data))[:cases]:
        assert case.labels is not None, case
        volume = read_labels(case.labels, mapped=case.label_map)
        masks = Target().masks(torch.from_numpy(volume.labels.astype("int64")))
        found = predictor.predict_files(case.folder).probabilities
        for region, mask in zip(Target().names, masks, strict=True):
            p, target = (patch_of(whole, masks[0]) for whole in (torch.from_numpy(found[region]), mask))
            p = p.double().clamp(1e-6, 1 - 1e-6)
            parts = of_errors(p > 0.5, target)
            for part, where in with_rest(parts).items():
                counts[part] = counts.get(part, 0) + int(where.sum())
            for name, loss in contestants().items():
                for part, amount in gradient_sums(loss, p, target, parts, volume.spacing_mm).items():
                    sums[name][part] = sums[name].get(part, 0.0) + amount
        print(case.name, flush=True)
    totals = {name: sum(of_loss.values()) or 1.0 for name, of_loss in sums.items()}
    return {
        "voxels": counts,
        "cases": cases,
        "shares": {name: {part: a / totals[name] for part, a in of_loss.items()} for name, of_loss in sums.items()},
    }


def patch_of(volume: Tensor, around: Tensor) -> Tensor:
    """At most SIDE voxels a side, the middle of a mask in theirs as far as the volume allows."""
    for axis, n in enumerate(volume.shape):
        at = around.nonzero()[:, axis]
        middle = int(at.float().mean()) if len(at) else n // 2
        first = min(max(middle - SIDE // 2, 0), max(n - SIDE, 0))
        volume = volume.narrow(axis, first, min(SIDE, n))
    return volume


def of_errors(predicted: Tensor, target: Tensor) -> Parts:
    missed, false = alone(target, predicted), alone(predicted, target)
    return {
        "missed": missed,
        "false": false,
        "shell": (predicted ^ target) & ~missed & ~false,
        "found": predicted & target,
    }


def alone(mask: Tensor, other: Tensor) -> Tensor:
    """The components of a mask that touch nothing of the other."""
    numbers = components(mask.numpy())
    touched = np.unique(numbers[other.numpy()])
    return torch.from_numpy(~np.isin(numbers, [0, *touched]))


def tables(result: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    parts = ["missed", "false", "shell", "found", "rest"]
    header = ["loss", "missed lesion", "far false", "shell", "found", "right background", "at 1e-2", "at 1e-4"]
    rows = []
    for name, of_loss in result["shares"].items():
        middle = of_loss["0.001"]
        others = [of_loss[f"{background:g}"]["rest"] for background in (1e-2, 1e-4)]
        empty = [result["empty"][name][f"{background:g}"] for background in BACKGROUNDS]
        rows.append([name, *(percent(middle[part]) for part in parts), *map(percent, [*others, *empty])])
    header += [f"empty patch, ball, at {background:.0e}".replace("e-0", "e-") for background in BACKGROUNDS]
    of_cliff = ["loss", "nothing", "false voxel", "own centre", "factor"]
    falls = []
    for name, values in result["cliff"].items():
        nothing, *states = values.values()
        factor = max(max(nothing / state, state / nothing) if min(nothing, state) else float("inf") for state in states)
        falls.append([name, *(f"{value:.2g}" for value in values.values()), f"{factor:.3g}"])
    return [("Shares of the gradient at the logits, %", header, rows), ("Cliff", of_cliff, falls)]


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def print_markdown(title: str, header: list[str], rows: list[list[str]]) -> None:
    print(f"\n{title}\n")
    for row in [header, ["---"] * len(header), *rows]:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
