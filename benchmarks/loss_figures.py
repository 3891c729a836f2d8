"""The figures of docs/losses.md, and the numbers quoted there: what each boundary loss sees and what it is blind to.

    .venv/bin/python benchmarks/loss_figures.py [--out docs/pictures]

Scenes of balls and plates, on a CPU with one thread. Writes losses_*.svg, the same bytes every time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from monai.losses import HausdorffDTLoss
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from mets3d.losses.blob import blob_loss
from mets3d.losses.hausdorff import (
    hausdorff_convolution_loss,
    hausdorff_distance_loss,
    hausdorff_erosion_loss,
    hausdorff_log_loss,
)
from mets3d.losses.signed_distance import signed_distance_loss

Loss = Callable[..., Tensor]
Mask = np.ndarray
Shape = tuple[int, int, int]


def foreground_only(probability: Tensor, target: Tensor) -> Tensor:
    """Each mask's distance inside itself alone, as several public codes have it."""
    masks = [volume[0, 0].numpy() > 0.5 for volume in (probability, target)]
    weight = sum(distance_transform_edt(mask) ** 2 for mask in masks)
    return ((probability - target.to(probability.dtype)) ** 2 * torch.from_numpy(np.asarray(weight))).mean()


def of_monai(probability: Tensor, target: Tensor) -> Tensor:
    loss: Tensor = HausdorffDTLoss(include_background=True)(probability, target.to(probability.dtype))
    return loss


BOTH, TARGET, DIRECTED = "distance, both sides", "distance, target side", "distance, directed"
LOG, EROSION, CONVOLUTION = "log distance", "erosion", "convolution"
SIGNED, BLOB, FOREGROUND, MONAI = "signed distance", "blob", "foreground only", "MONAI HausdorffDTLoss"
CONVOLUTION_LARGE, SQUARED_HD = "convolution, target of radius 20", "squared Hausdorff distance"

LOSSES: dict[str, Loss] = {
    BOTH: hausdorff_distance_loss,
    TARGET: partial(hausdorff_distance_loss, sides="target"),
    DIRECTED: partial(hausdorff_distance_loss, sides="directed"),
    LOG: hausdorff_log_loss,
    EROSION: partial(hausdorff_erosion_loss, rescale="fixed"),
    CONVOLUTION: hausdorff_convolution_loss,
    SIGNED: signed_distance_loss,
    BLOB: blob_loss,
}
COLOURS = {
    BOTH: "#0072B2",
    TARGET: "#E69F00",
    DIRECTED: "#56B4E9",
    LOG: "#56B4E9",
    EROSION: "#D55E00",
    CONVOLUTION: "#CC79A7",
    SIGNED: "#009E73",
    BLOB: "#000000",
    FOREGROUND: "#8C8C8C",
    MONAI: "#D55E00",
}
INK, SOFT = "#22272e", "#57606a"
# The light colours are too pale for letters.
LETTERS = COLOURS | {TARGET: "#946300", LOG: "#2b7fae", CONVOLUTION: "#a1507f"}
STYLE: Any = {
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a919c",
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e8ec",
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "mets3d",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--format", choices=["svg", "png"], default="svg")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    figures = {
        "losses_far": far_false_positive,
        "losses_missed": missed_lesion,
        "losses_absent": absent_label,
        "losses_thickness": thickness,
        "losses_unit": unit_and_patch,
    }
    for name, figure_of in figures.items():
        print(f"\n{name}")
        with matplotlib.rc_context(STYLE):
            figure = figure_of()
            metadata = {"Date": None} if options.format == "svg" else None
            figure.savefig(options.out / f"{name}.{options.format}", metadata=metadata, dpi=100)
    print("\nno figure")
    start_of_training()


def far_false_positive() -> Figure:
    """A false positive at growing distance from a target that is found."""
    shape, distances = (96, 48, 48), (4, 6, 8, 10, 12, 14, 16, 18, 20, 24, 28, 32, 38, 44, 52, 60)
    target = ball(shape, (12, 24, 24), 6)
    losses = LOSSES | {FOREGROUND: foreground_only}
    curves: dict[str, list[float]] = {name: [] for name in losses}
    squared_hausdorff = []
    for distance in distances:
        predicted = target | ball(shape, (18 + distance, 24, 24), 2)
        squared_hausdorff.append(distance_transform_edt(~target)[predicted].max() ** 2)  # all of the target is found
        scene = pair(predicted, target)
        for name, loss in losses.items():
            curves[name].append(value(loss, scene))
    large = ball((136, 48, 48), (26, 24, 24), 20)
    of_large = [
        value(hausdorff_convolution_loss, pair(large | ball(large.shape, (46 + distance, 24, 24), 2), large))
        for distance in distances
    ]
    print("false positive, radius 2, its centre at a distance from the target, radius 6: loss over that at 4 voxels")
    rows = {name: relative(curve) for name, curve in curves.items()}
    rows[CONVOLUTION_LARGE] = relative(of_large)
    rows[SQUARED_HD] = relative(squared_hausdorff)
    table(distances, rows, shown=(10, 18, 20, 38, 60))

    figure, axes = canvas(1, 1, "Only the distance losses see how far away a false positive is", height=4.5)
    (panel,) = axes
    for name, style in (
        (SQUARED_HD, {"color": SOFT, "linestyle": (0, (1, 1.5)), "linewidth": 1.4}),
        (BOTH, {"color": COLOURS[BOTH]}),
        (TARGET, {"color": COLOURS[TARGET], "linestyle": (0, (4, 4))}),
        (LOG, {"color": COLOURS[LOG]}),
        (SIGNED, {"color": COLOURS[SIGNED]}),
        (CONVOLUTION_LARGE, {"color": COLOURS[CONVOLUTION], "linestyle": "--"}),
        (CONVOLUTION, {"color": COLOURS[CONVOLUTION]}),
        (EROSION, {"color": COLOURS[EROSION]}),
    ):
        panel.plot(distances, rows[name], **style)
    panel.set(yscale="log", ylim=(0.55, 300), xlim=(0, 86), xticks=(4, 10, 18, 28, 38, 48, 60))
    panel.set_xlabel("voxels from the target to the centre of the false positive", loc="left")
    panel.set_ylabel("loss, that at 4 voxels = 1")
    plain_log(panel)
    beside(
        panel,
        61,
        [
            (TARGET, 245, "distance: target, directed"),
            (BOTH, 186, "distance: both"),
            (LOG, 141, "log distance"),
            (SQUARED_HD, 105, "squared Hausdorff"),
            (SIGNED, rows[SIGNED][-1], "signed distance"),
            (CONVOLUTION, 1.6, "convolution, large target"),
            (CONVOLUTION, 1.24, "convolution"),
            (EROSION, 0.82, "erosion, blob,\nforeground only"),
        ],
    )
    return figure


def missed_lesion() -> Figure:
    """Two lesions 40 voxels apart: one missed, or both."""
    shape, radii = (80, 48, 48), tuple(range(1, 9))
    found = ball(shape, (14, 24, 24), 6)
    in_mm = partial(hausdorff_distance_loss, normalise=False)
    weights: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {name: [] for name in (*LOSSES, FOREGROUND)}
    for radius in radii:
        missed = ball(shape, (60, 24, 24), radius)
        all_lesions = found | missed
        one, none = pair(found, all_lesions), pair(np.zeros(shape, bool), all_lesions)
        for name, loss, scene, count in (
            (BOTH, in_mm, one, missed.sum()),
            (TARGET, partial(in_mm, sides="target"), one, missed.sum()),
            (DIRECTED, partial(in_mm, sides="directed"), one, missed.sum()),
            ("nothing predicted, here", in_mm, none, all_lesions.sum()),
            ("nothing predicted, parity='monai'", partial(in_mm, parity="monai"), none, all_lesions.sum()),
            ("nothing predicted, MONAI", of_monai, none, all_lesions.sum()),
        ):
            weights.setdefault(name, []).append(value(loss, scene) * missed.size / float(count))
        for name, loss in (LOSSES | {FOREGROUND: foreground_only}).items():
            ratios[name].append(value(loss, one) / value(loss, pair(all_lesions, found)))
    print("a lesion missed 40 voxels from a found one: loss per missed voxel, voxels squared")
    table(radii, weights, shown=radii)
    print("loss of the missed lesion over that of the same ball as a false positive")
    table(radii, ratios, shown=radii)

    claim = "One side hardly sees a missed lesion; an empty prediction weighs fully"
    figure, (left, right) = canvas(1, 2, claim, height=4.3)
    for name, colour, line in (
        (BOTH, COLOURS[BOTH], "-"),
        (TARGET, COLOURS[TARGET], "-"),
        ("nothing predicted, here", COLOURS[BOTH], "--"),
        ("nothing predicted, parity='monai'", COLOURS[MONAI], "--"),
    ):
        left.plot(radii, weights[name], color=colour, linestyle=line)
    left.set(yscale="log", ylim=(0.3, 60000), title="Loss per missed voxel, voxels²")
    left.set_xlabel("radius of the missed lesion, voxels")
    plain_log(left)
    for at, text, name in (
        (16000, "nothing predicted, here: D0²", BOTH),
        (2500, "one of two missed: both, directed", BOTH),
        (22, "nothing predicted, MONAI", MONAI),
        (0.6, "one of two missed: target", TARGET),
    ):
        left.text(1, at, text, color=LETTERS[name], va="center")

    for name in (BLOB, BOTH, SIGNED, TARGET):
        right.plot(radii, ratios[name], color=COLOURS[name])
    right.set(yscale="log", ylim=(3e-4, 400), title="Missed lesion over the same false positive")
    right.set_xlabel("radius of the lesion, voxels")
    plain_log(right)
    for x, at, text, name in (
        (3, 40, "blob", BLOB),
        (1, 0.55, "both, directed, log,\nerosion, convolution", BOTH),
        (1, 0.055, "signed distance", SIGNED),
        (1, 0.0035, "distance: target", TARGET),
    ):
        right.text(x, at, text, color=LETTERS[name], va="center" if name != BOTH else "top")
    return figure


def absent_label() -> Figure:
    """A blob on a label that the target lacks: what part of the gradient is on it."""
    shape = (64, 64, 64)
    blob = torch.from_numpy(ball(shape, (32, 32, 32), 3))[None, None]
    losses = LOSSES | {
        "distance, absent=zero": partial(hausdorff_distance_loss, absent="zero"),
        "distance, parity='monai'": partial(hausdorff_distance_loss, parity="monai"),
        MONAI: of_monai,
    }
    shares, ratios = {}, {}
    print("empty target, 64^3, blob of radius 3 at p = 0.9, background at 0.01, gradient by probability p and by logit")
    print(f"{'':34}{'on the blob':>12}{'by logit':>10}{'blob voxel / other':>20}{'by logit':>12}{'blob voxel':>12}")
    for name, loss in losses.items():
        probability = torch.where(blob, 0.9, 0.01).double().requires_grad_()
        (slope,) = torch.autograd.grad(loss(probability, torch.zeros_like(blob)).sum(), probability)
        by_p = slope.abs()
        by_logit = by_p * (probability * (1 - probability)).detach()
        shares[name] = [float(g[blob].sum() / g.sum()) for g in (by_p, by_logit)]
        ratios[name] = [float(g[blob].mean() / g[~blob].mean()) for g in (by_p, by_logit)]
        print(
            f"{name:34}{shares[name][0]:12.4%}{shares[name][1]:10.3%}{ratios[name][0]:20.4g}{ratios[name][1]:12.4g}"
            f"{float(by_p[blob].mean()):12.3g}"
        )

    seen = [percent(shares[name][1]) for name in (MONAI, BOTH)]
    claim = f"Absent label: a false blob has {seen[0]} of the gradient in MONAI, {seen[1]} here"
    figure, (panel,) = canvas(1, 1, claim, 3.9)
    rows = {
        "MONAI, and absent=zero": MONAI,
        "blob": BLOB,
        "signed distance": SIGNED,
        "distance: both, log": BOTH,
        "distance: directed, target": DIRECTED,
        "convolution": CONVOLUTION,
        "erosion": EROSION,
    }
    for row, name in enumerate(rows.values()):
        hollow, full = shares[name]
        panel.plot([100 * hollow, 100 * full], [row, row], color="#c9ced6", zorder=1)
        panel.plot(
            100 * hollow, row, "o", markersize=8, color="white", markeredgecolor=COLOURS[BOTH], markeredgewidth=1.6
        )
        panel.plot(100 * full, row, "o", markersize=9, color=COLOURS[BOTH])
        panel.text(140 * full, row, percent(full), va="center")
    panel.text(100 * shares[MONAI][0], 0.35, "by probability", color=SOFT, ha="center")
    panel.text(100 * shares[MONAI][1], 0.35, "by logit", color=SOFT, ha="center")
    panel.set_yticks(range(len(rows)), list(rows), color=INK)
    panel.set(xscale="log", xlim=(0.003, 500), ylim=(-0.5, 6.5))
    panel.set_xlabel("share of the gradient that is on the blob, %")
    panel.set_xticks([0.01, 0.1, 1, 10, 100], ["0.01", "0.1", "1", "10", "100"])
    panel.xaxis.set_minor_formatter(NullFormatter())
    return figure


def thickness() -> Figure:
    """A plate of growing thickness, and a ball at growing distance."""
    shape, target = (96, 48, 48), ball((96, 48, 48), (12, 24, 24), 6)
    losses = {name: LOSSES[name] for name in (BOTH, EROSION, CONVOLUTION, SIGNED)}
    thicknesses, distances = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20), (6, 10, 14, 20, 30, 40, 50, 60)
    thick: dict[str, list[float]] = {name: [] for name in losses}
    far: dict[str, list[float]] = {name: [] for name in losses}
    for size in thicknesses:
        plate = np.zeros(shape, bool)
        start = 50 - size // 2
        plate[start : start + size, 12:36, 12:36] = True
        for name, loss in losses.items():
            thick[name].append(value(loss, pair(target | plate, target)) / float(plate.sum()))
    for distance in distances:
        for name, loss in losses.items():
            far[name].append(value(loss, pair(target | ball(shape, (18 + distance, 24, 24), 4), target)))
    print("false plate of 24 x 24 voxels, 32 from the target: loss per voxel of the plate, at thickness 1 = 1")
    table(thicknesses, {name: relative(curve) for name, curve in thick.items()}, shown=thicknesses)
    print("false ball of radius 4: loss by distance of its centre, at 6 voxels = 1")
    table(distances, {name: relative(curve) for name, curve in far.items()}, shown=distances)

    figure, (left, right) = canvas(1, 2, "The erosion loss grades thickness, not distance", height=3.8)
    for panel, places, curves in ((left, thicknesses, thick), (right, distances, far)):
        for name, curve in curves.items():
            panel.plot(places, relative(curve), color=COLOURS[name])
        panel.set(yscale="log", ylim=(0.6, 500))
        plain_log(panel)
    left.set_title("Loss per error voxel, thickness 1 = 1")
    left.set_xlabel("thickness of a false plate, voxels")
    left.text(4.5, 60, "erosion", color=COLOURS[EROSION], ha="center")
    left.text(20, 1.55, "distance, signed distance,\nconvolution", color=INK, ha="right", va="bottom")
    right.set_title("Loss, 6 voxels = 1")
    right.set_xlabel("distance of a false ball of radius 4, voxels")
    for at, name, text in ((30, BOTH, "distance"), (2.6, SIGNED, "signed distance"), (1.2, CONVOLUTION, "convolution")):
        right.text(33, at, text, color=LETTERS[name], ha="left" if name == SIGNED else "right")
    right.text(33, 0.72, "erosion", color=LETTERS[EROSION], ha="right")
    return figure


def unit_and_patch() -> Figure:
    """The same lesions under another voxel size, and in a larger patch."""
    sizes, spacings = (64, 96, 128), (1.0, 2.0)
    losses: dict[str, Loss] = {
        "distance": hausdorff_distance_loss,
        "distance, in mm": partial(hausdorff_distance_loss, normalise=False),
        SIGNED: signed_distance_loss,
        "log distance, in mm": hausdorff_log_loss,
        CONVOLUTION: hausdorff_convolution_loss,
        EROSION: partial(hausdorff_erosion_loss, rescale="fixed"),
        BLOB: blob_loss,
    }
    values = {name: [[value(loss, two_balls(n), s) for n in sizes] for s in spacings] for name, loss in losses.items()}
    print("a found ball and a false one 22 voxels off: 64^3, 96^3, 128^3 with 1 mm voxels, and 64^3 with 2 mm")
    for name, (fine, coarse) in values.items():
        print(
            f"{name:22}" + "".join(f"{each:12.4g}" for each in (*fine, coarse[0])) + f"   spacing 2 over 1: "
            f"{coarse[0] / fine[0]:.4g}   patch 64 over 128: {fine[0] / fine[2]:.4g}"
        )

    claim = "Over the diagonal the unit cancels; the size of the patch does not"
    figure, (left, right) = canvas(1, 2, claim, height=3.8)
    chosen = (("distance", BOTH), ("distance, in mm", TARGET), (SIGNED, SIGNED))
    for place, (name, colour) in enumerate(chosen):
        fine, coarse = values[name]
        left.bar(place, coarse[0] / fine[0], width=0.55, color=COLOURS[colour])
        left.text(place, coarse[0] / fine[0] + 0.08, f"{coarse[0] / fine[0]:.3g}", ha="center")
        right.plot(sizes, relative(fine), color=COLOURS[colour], marker="o", markersize=4)
    left.set_xticks(range(3), ["distance,\nover D0", "distance,\nin mm", "signed,\nover D0"], color=INK)
    left.set(ylim=(0, 4.7), title="Voxels of 2 mm over voxels of 1 mm")
    left.grid(axis="x", visible=False)
    right.set(yscale="log", ylim=(0.02, 1.4), xlim=(58, 182), xticks=sizes, title="Loss by patch, 64³ = 1")
    right.set_xlabel("side of the patch, voxels")
    right.set_yticks([0.03, 0.1, 0.3, 1], ["0.03", "0.1", "0.3", "1"])
    right.yaxis.set_minor_formatter(NullFormatter())
    for name, colour in chosen:
        text = name if "mm" in name else f"{name.removesuffix(' distance')}, over D0"
        right.text(132, values[name][0][2] / values[name][0][0], text, color=LETTERS[colour], va="center")
    return figure


def start_of_training() -> None:
    """How much of the gradient says "background" while the network knows nothing."""
    shape = (96, 96, 96)
    lesions = torch.from_numpy(ball(shape, (30, 48, 48), 6) | ball(shape, (66, 48, 48), 3))[None, None]
    losses: dict[str, Loss] = {
        "squared error": lambda p, target: ((p - target.to(p.dtype)) ** 2).mean(),
        MONAI: of_monai,
        BOTH: hausdorff_distance_loss,
        "distance, alpha 1": partial(hausdorff_distance_loss, alpha=1),
        "distance, class balanced": partial(hausdorff_distance_loss, class_balanced=True),
    }
    noise = torch.from_numpy(np.random.default_rng(0).uniform(0.4, 0.6, shape))[None, None]
    predictions = {"0.5": torch.full_like(noise, 0.5), "0.1": torch.full_like(noise, 0.1), "0.4 to 0.6": noise}
    print("96^3, lesions of radius 6 and 3, p the same everywhere or noise: sum of |gradient| outside over inside")
    print(f"{'':34}" + "".join(f"{name:>12}" for name in predictions))
    for name, loss in losses.items():
        ratios = []
        for prediction in predictions.values():
            probability = prediction.clone().requires_grad_()
            (slope,) = torch.autograd.grad(loss(probability, lesions).sum(), probability)
            ratios.append(float(slope[~lesions].abs().sum() / slope[lesions].abs().sum()))
        print(f"{name:34}" + "".join(f"{ratio:12.4g}" for ratio in ratios))


def two_balls(side: int) -> tuple[Tensor, Tensor]:
    """A lesion of radius 6 that is found, and a false positive of radius 2, in the middle of a cube."""
    shape, half = (side, side, side), side // 2
    target = ball(shape, (half - 12, half, half), 6)
    return pair(target | ball(shape, (half + 10, half, half), 2), target)


def ball(shape: Shape, centre: Sequence[float], radius: float) -> Mask:
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    return np.asarray(sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)) <= radius**2)


def pair(predicted: Mask, target: Mask) -> tuple[Tensor, Tensor]:
    """A hard prediction as probabilities, and the target, both [1, 1, X, Y, Z]."""
    return torch.from_numpy(predicted)[None, None].double(), torch.from_numpy(target)[None, None]


def value(loss: Loss, scene: tuple[Tensor, Tensor], side_mm: float = 1.0) -> float:
    return float(loss(*scene)) if side_mm == 1 else float(loss(*scene, (side_mm,) * 3))


def relative(curve: Sequence[float]) -> list[float]:
    return [each / curve[0] for each in curve]


def table(places: Sequence[int], rows: dict[str, list[float]], shown: Sequence[int]) -> None:
    print(f"{'':34}" + "".join(f"{place:10d}" for place in shown))
    for name, curve in rows.items():
        print(f"{name:34}" + "".join(f"{curve[places.index(place)]:10.4g}" for place in shown))


def canvas(rows: int, columns: int, claim: str, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(7.3, height), layout="constrained")
    figure.suptitle(claim, x=0.01, ha="left", fontsize=11, fontweight="bold")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def beside(panel: Axes, x: float, labels: Sequence[tuple[str, float, str]]) -> None:
    """Names at the ends of the lines, in their colours: no legend to look up."""
    for name, y, text in labels:
        panel.text(x, y, text, color=LETTERS.get(name, SOFT), va="center", linespacing=1.0)


def plain_log(panel: Axes) -> None:
    panel.yaxis.set_major_locator(LogLocator(numticks=10))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda each, _: f"{each:g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())


def percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.3g} %"


if __name__ == "__main__":
    main()
