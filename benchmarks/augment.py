"""Compares augmentation with nnU-Net v2's and MONAI's on patches of four sequences, transform by transform and in all.

    .venv/bin/python -m pip install --no-deps -r benchmarks/requirements.txt
    .venv/bin/python benchmarks/augment.py [--patch 128] [--samples 40] [--rounds 5]
    .venv/bin/python benchmarks/augment.py --device cuda [--patch 128] [--samples 50]

A head of random texture in a ball is read as large as either tool reads it: nnU-Net always with room for its rotations,
ours as large as the drawn movement needs. Reading is not timed.

    in all     ours: drawing and `mets3d.augment.changes.augment`; nnU-Net: nnUNetTrainer.get_training_transforms,
               without the targets of deep supervision. As often as each transform is drawn in these samples
    a row      one transform on a patch that it acts on; MONAI's act on all sequences, the others on those they draw
    expected   the rows' costs times their probabilities, which does not hang on what was drawn

On a CPU, CPU milliseconds of one thread per patch. With --device cuda, milliseconds of a batch of two between two
events, under a mode of torch that refuses to wait for the device, and their share of a training step of mode decoder in
bf16. Writes benchmarks/results/augment.json; prints medians (least - largest) of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from harness import print_table, ratios, round_robin, save, shape_name, shape_of, shown, spread
from torch import Tensor

from mets3d import augment
from mets3d.augment.changes import Drawn
from mets3d.augment.changes import augment as apply
from mets3d.augment.intensity import BrightnessShift
from mets3d.data.loader import generator
from mets3d.settings import Augment

SEQUENCES = 4
OURS, THEIRS, MONAI = "mets3d", "nnU-Net", "MONAI"
NUMBERS = ("in all", "expected")
# A row's settings, and the places of nnU-Net's transforms among those of its trainer.
ROWS: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "rotation and scaling": (("rotation", "scaling"), (0,)),
    "noise": (("noise",), (1,)),
    "blur": (("blur",), (2,)),
    "brightness": (("brightness",), (3,)),
    "contrast": (("contrast",), (4,)),
    "low resolution": (("low_resolution",), (5,)),
    "inverted gamma": (("gamma_inverted",), (6,)),
    "gamma": (("gamma",), (7,)),
    "mirror": (("mirror",), (8,)),
    "outside the brain": ((), (9, 10)),
    "elastic": (("elastic",), ()),
    "brightness shift": (("brightness_shift",), ()),
    "bias field": (("bias_field",), ()),
}
PER_ROW = 4  # patches that a row takes in a round
Trial = Iterator[Callable[[], Any]]  # a patch made ready, to be augmented by the call


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    device = torch.device(options.device)
    head = Head(options.patch, device)
    if device.type == "cuda":
        save("augment", f"cuda {shape_name(options.patch)}", _on_a_gpu(options, head), device)
    else:
        save("augment", f"cpu {shape_name(options.patch)}", _on_a_core(options, head), device)


class Head:
    """A made-up head, larger than any patch is read: image and labels, -1 outside the brain as nnU-Net's are."""

    def __init__(self, patch: tuple[int, int, int], device: torch.device):
        self.patch, side = patch, 2 * max(patch)
        random = torch.Generator().manual_seed(0)
        coarse = torch.randn(1, SEQUENCES, *[side // 8] * 3, generator=random)
        texture = F.interpolate(coarse, size=(side,) * 3, mode="trilinear")[0]
        axis = torch.arange(side) - (side - 1) / 2
        radius = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).sqrt()
        noise = 0.1 * torch.randn(texture.shape, generator=random)
        brain = radius < 0.6 * max(patch)
        self.image = ((texture + noise) * brain).to(device)
        labels = (radius < 9).short() + (radius < 6) + (radius < 3)
        self.labels = torch.where(brain, labels, -1).short().to(device)

    def read(self, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """The middle of the head, as a copy that may be changed."""
        box = tuple(
            slice((n - min(n, size)) // 2, (n + min(n, size)) // 2)
            for n, size in zip(self.labels.shape, shape, strict=True)
        )
        return self.image[(slice(None), *box)].clone(), self.labels[box].clone()


# ---------------------------------------------------------------- on a core


def _on_a_core(options: argparse.Namespace, head: Head) -> dict[str, Any]:
    transforms = _of_nnunet(head.patch)
    trials: dict[tuple[str, str], Callable[[int], Trial]] = {
        (OURS, "in all"): partial(_ours, head, Augment()),
        (THEIRS, "in all"): partial(_theirs, head, transforms.transforms),
        (OURS, "in all, brats_regions"): partial(_ours, head, Augment(preset="brats_regions")),
    }
    for row, (names, places) in ROWS.items():
        trials[OURS, row] = partial(_our_row, head, names)
        if places:
            trials[THEIRS, row] = partial(_theirs, head, [_always(transforms.transforms[place]) for place in places])
    for row, transform in _of_monai().items():
        trials[MONAI, row] = partial(_monai, head, transform)
    rounds: dict[tuple[str, str], list[float]] = {key: [] for key in trials}
    for number in range(-1, options.rounds):
        for key, trial in trials.items():
            many = options.samples if key[1].startswith("in all") and number >= 0 else PER_ROW
            mean = _milliseconds(trial(max(number, 0)), many)
            if number >= 0:
                rounds[key].append(mean)
    return _shown_rows(rounds, options)


def _milliseconds(trial: Trial, many: int) -> float:
    total = 0.0
    for _ in range(many):
        run = next(trial)
        start = time.process_time()
        run()
        total += time.process_time() - start
    return 1000 * total / many


def _ours(head: Head, settings: Augment, number: int) -> Trial:
    draw = augment.build(settings, sequences=SEQUENCES)
    for index in range(10**6):
        stream = partial(generator, 1, number, index)
        image, labels = head.read(draw(stream).read_shape(head.patch, (1.0, 1.0, 1.0)))
        labels = labels.clamp_min(0).to(torch.uint8)

        def run(image: Tensor = image, labels: Tensor = labels, stream: Any = stream) -> Any:
            return apply([image], [labels], [draw(stream)], head.patch)

        yield run


def _our_row(head: Head, names: tuple[str, ...], number: int) -> Trial:
    """One change alone, drawn until it acts; with no name the work that all share: stacking, and what is no brain."""
    spacing = (1.0, 1.0, 1.0)
    draw = augment.build(_only(names), sequences=SEQUENCES)
    for index in range(10**6):
        drawn = draw(partial(generator, 1, number, index))
        image, labels = head.read(drawn.read_shape(head.patch, spacing))
        labels = labels.clamp_min(0).to(torch.uint8)
        if drawn.spatial or "mirror" in names:
            yield partial(drawn.movement.apply, image, labels, head.patch, spacing)
        elif drawn.intensity:
            (change,) = drawn.intensity
            brain = (image != 0).any(0)
            yield partial(type(change).apply, {0: change}, image[None], brain[None, None])
        elif not names:
            nothing = Drawn(intensity=(BrightnessShift((0.0,) * SEQUENCES),))
            yield partial(apply, [image], [labels], [nothing], head.patch)


def _only(names: tuple[str, ...]) -> Augment:
    """The settings of nnU-Net's list with these changes alone; those it has not, with those of brats_regions."""
    values = {name: getattr(Augment(), name) or 0.3 for name in names}
    return Augment(preset="none", **values)


def _theirs(head: Head, transforms: list[Any], number: int) -> Trial:
    np.random.seed(number)  # noqa: NPY002 - nnU-Net draws from the global generators
    torch.manual_seed(number)
    size = _larger(head.patch) if hasattr(transforms[0], "p_rotation") else head.patch
    while True:
        image, labels = head.read(size)

        def run(image: Tensor = image, labels: Tensor = labels) -> dict[str, Tensor]:
            data = {"image": image, "segmentation": labels[None]}
            for transform in transforms:
                data = transform(**data)
            return data

        yield run


def _monai(head: Head, transform: Any, number: int) -> Trial:
    transform.set_random_state(number)
    while True:
        yield partial(transform, head.read(head.patch)[0])


# ---------------------------------------------------------------- contestants


def _larger(patch: tuple[int, int, int]) -> tuple[int, ...]:
    from batchgeneratorsv2.helpers.scalar_type import sample_scalar  # noqa: F401 - says that the package is missing
    from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size

    return tuple(int(n) for n in get_patch_size(np.array(patch), *[_rotation()] * 3, (0.85, 1.25)))


def _rotation() -> tuple[float, float]:
    return (-np.pi / 6, np.pi / 6)


def _of_nnunet(patch: tuple[int, int, int]) -> Any:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    return nnUNetTrainer.get_training_transforms(
        np.array(patch), _rotation(), None, (0, 1, 2), False, use_mask_for_norm=[True] * SEQUENCES
    )


def _always(transform: Any) -> Any:
    """A transform of nnU-Net's that acts on every patch."""
    if hasattr(transform, "p_rotation"):
        from copy import copy

        transform = copy(transform)
        transform.p_rotation = 1
    return getattr(transform, "transform", transform)


def _of_monai() -> dict[str, Any]:
    from monai import transforms

    return {
        "noise": transforms.RandGaussianNoise(prob=1, std=0.1),
        "blur": transforms.RandGaussianSmooth(*[(0.5, 1.0)] * 3, prob=1),
        "brightness": transforms.RandScaleIntensity(0.25, prob=1, channel_wise=True),
        "low resolution": transforms.RandSimulateLowResolution(prob=1, zoom_range=(0.5, 1.0)),
        "inverted gamma": transforms.RandAdjustContrast(prob=1, gamma=(0.7, 1.5), invert_image=True, retain_stats=True),
        "gamma": transforms.RandAdjustContrast(prob=1, gamma=(0.7, 1.5), retain_stats=True),
        "bias field": transforms.RandBiasField(prob=1),
    }


def _shown_rows(rounds: dict[tuple[str, str], list[float]], options: argparse.Namespace) -> dict[str, Any]:
    for tool in (OURS, THEIRS):
        costs = [(_probability(row), rounds[tool, row]) for row, (_, places) in ROWS.items() if places]
        rounds[tool, "expected"] = [sum(p * cost[i] for p, cost in costs) for i in range(options.rounds)]
    names = list(dict.fromkeys(row for _, row in rounds))
    result: dict[str, Any] = {"patch": options.patch, "samples": options.samples, "cpu_ms": {}}
    table = []
    for row in names:
        found = {tool: rounds[tool, row] for tool in (OURS, THEIRS, MONAI) if (tool, row) in rounds}
        result["cpu_ms"][row] = {tool: spread(values) for tool, values in found.items()}
        times = ratios(found[THEIRS], found[OURS]) if THEIRS in found else None
        result["cpu_ms"][row]["times faster than nnU-Net"] = times
        cells = [shown(spread(found[tool])) if tool in found else "" for tool in (OURS, THEIRS, MONAI)]
        table.append([row, f"{_probability(row):.2g}" if row in ROWS else "", *cells, shown(times) if times else ""])
    header = ["", "probability", OURS, THEIRS, MONAI, "times faster than nnU-Net"]
    print_table(f"CPU ms a patch of 4 x {shape_name(options.patch)}, one thread", header, table)
    return result


def _probability(row: str) -> float:
    """That a row acts, by nnU-Net's list."""
    names, _ = ROWS[row]
    idle = 1.0
    for name in names:
        idle *= 1 - getattr(Augment(), name)
    return 1.0 if row in ("mirror", "outside the brain") else 1 - idle


# ---------------------------------------------------------------- on a GPU


def _on_a_gpu(options: argparse.Namespace, head: Head) -> dict[str, Any]:
    from step import step

    device = head.image.device
    wanted = argparse.Namespace(size=max(options.patch), batch=2, precision="bf16")
    steps = round_robin({"decoder": step(wanted, device, "decoder")}, options.rounds, device, warm_up=3)["decoder"]
    whole = 1000 * statistics.median(steps["event_s"])
    result: dict[str, Any] = {"patch": options.patch, "batches": options.samples, "step_ms": spread(steps["event_s"])}
    result["step_ms"] = spread([1000 * seconds for seconds in steps["event_s"]])
    table = [["a step", shown(result["step_ms"]), "", ""]]
    rows = {"in all": Augment(), "in all, brats_regions": Augment(preset="brats_regions")}
    rows |= {row: Augment(preset="none", **dict.fromkeys(names, 1.0)) for row, (names, _) in ROWS.items() if names}
    for row, settings in rows.items():
        times = _of_batches(head, settings, options.samples if row.startswith("in all") else 8)
        mean = statistics.mean(times)
        result[row] = {"ms": spread(times), "mean_ms": mean, "share_of_step": mean / whole}
        table.append([row, shown(spread(times)), f"{mean:.3g}", f"{100 * mean / whole:.2g} %"])
    print_table(f"ms of a batch of 2 x 4 x {shape_name(options.patch)}", ["", "median", "mean", "of a step"], table)
    return result


def _of_batches(head: Head, settings: Augment, many: int) -> list[float]:
    """Milliseconds of each of so many batches of two, after two that warm up."""
    draw = augment.build(settings, sequences=SEQUENCES)
    found = []
    for number in range(-2, many):
        drawn = [draw(partial(generator, 2, number + 2, index)) for index in range(2)]
        pairs = [head.read(sample.read_shape(head.patch, (1.0, 1.0, 1.0))) for sample in drawn]
        images, labels = [pair[0] for pair in pairs], [pair[1].clamp_min(0).to(torch.uint8) for pair in pairs]
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        start.record()
        apply(images, labels, drawn, head.patch)
        end.record()
        torch.cuda.set_sync_debug_mode("default")
        torch.cuda.synchronize()
        if number >= 0:
            found.append(start.elapsed_time(end))
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patch", type=shape_of, default=shape_of("128"), help="N or XxYxZ")
    parser.add_argument("--samples", type=int, default=40, help="patches of `in all` a round; on a GPU, batches")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    return parser.parse_args()


if __name__ == "__main__":
    main()
