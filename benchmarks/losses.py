"""Losses, forward and backward: ours against MONAI's Hausdorff losses, and MONAI's DiceLoss as a yardstick.

    .venv/bin/python benchmarks/losses.py [--size 128] [--batch 2] [--kinds small-lesions] [--rounds 3] [--device cuda]
    .venv/bin/python benchmarks/losses.py --terms     # every term against the base loss, without MONAI
    .venv/bin/python benchmarks/losses.py --step      # the loss as a share of a training step of the decoder network
    .venv/bin/python benchmarks/losses.py --leak      # resident memory over 2000 calls at 24^3

Predictions are the targets moved by some voxels, at probabilities around 0.9 and 0.03. On the CPU one thread, and the
Hausdorff distance loss with each backend of the distance fields. Writes benchmarks/results/losses.json, a section an
option and device, and prints medians (least - largest) over the rounds, the speed as a multiple of MONAI's
HausdorffDTLoss by round, memory at the peak as a multiple of the probabilities as fp32, and in parity mode the value
and the largest relative difference of the gradient.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any
from unittest import mock

import torch
from harness import (
    KINDS,
    LABELS,
    MIB,
    Run,
    masks,
    peak_in_subprocess,
    print_table,
    ratios,
    resident_added,
    resident_bytes,
    round_robin,
    rounded,
    save,
    shown,
    spread,
)
from monai.losses import DiceLoss, HausdorffDTLoss, LogHausdorffDTLoss
from torch import Tensor

from mets3d.losses.blob import blob_loss
from mets3d.losses.cc_dice import cc_dice_loss
from mets3d.losses.focal_tversky import focal_tversky_loss
from mets3d.losses.generalized_surface import generalized_surface_loss
from mets3d.losses.hausdorff import (
    hausdorff_convolution_loss,
    hausdorff_distance_loss,
    hausdorff_erosion_loss,
    hausdorff_log_loss,
)
from mets3d.losses.hausdorff_conditioned import hausdorff_conditioned_loss
from mets3d.losses.region import region_loss
from mets3d.losses.region_wise import region_wise_loss
from mets3d.losses.signed_distance import signed_distance_loss
from mets3d.losses.top_k import top_k_loss
from mets3d.losses.total import base_loss
from mets3d.models import build
from mets3d.ops import distance
from mets3d.regions import Target
from mets3d.settings import Model, Optim
from mets3d.training import optim

Loss = Callable[[Tensor, Tensor], Tensor]  # probabilities, boolean target: a scalar

MONAI, MONAI_LOG = "MONAI HausdorffDTLoss", "MONAI LogHausdorffDTLoss"
PARITY, PARITY_LOG = "distance, parity", "log, parity"
MOVED = (2, -1, 1)
LEAK_CALLS, LEAK_FROM, LEAK_SIZE = 2000, 200, 24


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)
    device = torch.device(options.device)
    if options.peak:
        print(peak(contestants(device)[options.peak], options))
    elif options.terms:
        save("losses", f"{device.type} terms", terms(options, device), device)
    elif options.step:
        save("losses", f"{device.type} step", step(options, device), device)
    elif options.leak:
        save("losses", f"{device.type} leak", leak(device), device)
    else:
        save("losses", device.type, compare(options, device), device)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="counted ones; one more warms up")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["small-lesions"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--peak", metavar="CONTESTANT", help="only print the bytes that one call of it adds")
    parser.add_argument("--terms", action="store_true", help="compare the terms with the base loss instead")
    parser.add_argument("--step", action="store_true", help="time a training step instead")
    parser.add_argument("--leak", action="store_true", help="watch the memory instead")
    return parser.parse_args()


def contestants(device: torch.device) -> dict[str, Loss]:
    monai: dict[str, Any] = {
        MONAI: HausdorffDTLoss(include_background=True),
        # Its own mean is under the logarithm; ours is over the logarithms of the items and channels.
        MONAI_LOG: LogHausdorffDTLoss(include_background=True, reduction="none"),
    }
    backends = {"": _any_backend} if device.type != "cpu" else {f", {name}": only(name) for name in installed()}
    first = next(iter(backends.values()))
    ours: dict[str, Loss] = {
        PARITY + name: under(backend, hausdorff_distance_loss, parity="monai") for name, backend in backends.items()
    }
    ours |= {
        PARITY_LOG: under(first, hausdorff_log_loss, parity="monai"),
        "distance": under(first, hausdorff_distance_loss),
        "distance, directed": under(first, hausdorff_distance_loss, sides="directed"),
        "distance, target only": under(first, hausdorff_distance_loss, sides="target"),
        "conditioned": under(first, hausdorff_conditioned_loss),
        "signed distance": under(first, signed_distance_loss),
        "generalised surface": under(first, generalized_surface_loss),
        "region-wise": under(first, region_wise_loss),
        "erosion, fixed": under(first, hausdorff_erosion_loss, rescale="fixed"),
        "erosion": under(first, hausdorff_erosion_loss),
        "convolution": under(first, hausdorff_convolution_loss),
        "blob": under(first, blob_loss),
    }
    ours |= {name: loss for name, loss in of_lesions().items() if name not in ours}
    theirs: dict[str, Loss] = {name: with_float_target(loss) for name, loss in monai.items()}
    return theirs | ours | {"MONAI DiceLoss": with_float_target(DiceLoss())}


def of_lesions() -> dict[str, Loss]:
    """Terms without a distance, and those that look at lesions one by one."""
    return {
        "blob": under(_any_backend, blob_loss),
        "blob with cross-entropy": under(_any_backend, blob_loss, inside="dice_ce"),
        "CC-Dice": under(_any_backend, cc_dice_loss),
        "CC-DiceCE": under(_any_backend, cc_dice_loss, inside="dice_ce"),
        "focal Tversky": under(_any_backend, focal_tversky_loss),
        "top-k": under(_any_backend, top_k_loss),
    }


def installed() -> list[str]:
    """The backends on the CPU that can be imported, in the order in which they are taken."""
    found = []
    for name in ("numba", "edt", "torch"):
        try:
            distance.load_backend(name)
            found.append(name)
        except ImportError as error:
            print(f"{name}: not installed ({error})")
    return found


def only(name: str) -> Callable[[], Any]:
    return lambda: mock.patch.object(distance, "backend_for_device", return_value=distance.load_backend(name))


_any_backend = nullcontext


def under(backend: Callable[[], Any], loss: Callable[..., Tensor], **settings: Any) -> Loss:
    def run(probability: Tensor, target: Tensor) -> Tensor:
        with backend():
            return loss(probability, target, **settings).mean()

    return run


def with_float_target(loss: Callable[[Tensor, Tensor], Tensor]) -> Loss:
    return lambda probability, target: loss(probability, target.float()).mean()


def data(kind: str, batch: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Probabilities and targets [batch, LABELS, size, size, size]."""
    shape = (size, size, size)
    target = masks(kind, batch * LABELS, shape).view(batch, LABELS, *shape)
    predicted = target.roll(MOVED, (2, 3, 4))
    noise = torch.rand(target.shape, generator=torch.Generator().manual_seed(0))
    return (torch.where(predicted, 0.88, 0.01) + 0.04 * noise).to(device), target.to(device)


def forward_backward(loss: Loss, probability: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    leaf = probability.detach().requires_grad_()
    value = loss(leaf, target)
    value.backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


def compare(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    result: dict[str, Any] = {"size": options.size, "batch": options.batch, "labels": LABELS, "kinds": {}}
    for number, kind in enumerate(options.kinds):
        result["kinds"][kind] = compare_on(kind, options, device)
        if number == 0 and device.type == "cpu":
            add_peaks(result["kinds"][kind], options)
        print_losses(kind, result)
    return result


def compare_on(kind: str, options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    probability, target = data(kind, options.batch, options.size, device)
    found: dict[str, tuple[Tensor, Tensor | None]] = {}

    def look(name: str, result: tuple[Tensor, Tensor]) -> None:
        value, gradient = result
        equal = name in (MONAI, MONAI_LOG) or name.startswith((PARITY, PARITY_LOG))
        found[name] = value, gradient.cpu() if equal else None

    runs = {name: bound(loss, probability, target) for name, loss in contestants(device).items()}
    measures = round_robin(runs, options.rounds, device, look=look)
    compared = "wall_s" if device.type == "cuda" else "cpu_s"
    results: dict[str, Any] = {}
    for name, measured in measures.items():
        results[name] = {key: spread(measured[key]) for key in ("cpu_s", "wall_s")}
        results[name]["times_faster_than_monai"] = ratios(measures[MONAI][compared], measured[compared])
        results[name]["value"] = found[name][0].item()
        if name.startswith((PARITY, PARITY_LOG)):
            theirs = found[MONAI_LOG if name == PARITY_LOG else MONAI][1]
            results[name]["max_relative_gradient_difference"] = rounded(relative_difference(found[name][1], theirs))
        if "peak_bytes" in measured:
            results[name]["peak_of_fp32_probabilities"] = rounded(max(measured["peak_bytes"]) / size_of(probability))
    return results


def terms(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """CPU seconds of every term but the slow surrogates, and as multiples of the base loss of the CNN's output."""
    ours = {"base loss": base, "distance": under(_any_backend, hausdorff_distance_loss)}
    ours |= {
        "conditioned": under(_any_backend, hausdorff_conditioned_loss),
        "signed distance": under(_any_backend, signed_distance_loss),
        "generalised surface": under(_any_backend, generalized_surface_loss),
        "region-wise": under(_any_backend, region_wise_loss),
    }
    ours |= of_lesions()
    result: dict[str, Any] = {"size": options.size, "batch": options.batch, "labels": LABELS, "kinds": {}}
    for kind in options.kinds:
        probability, target = data(kind, options.batch, options.size, device)
        measures = round_robin(
            {name: bound(loss, probability, target) for name, loss in ours.items()}, options.rounds, device
        )
        compared = "wall_s" if device.type == "cuda" else "cpu_s"
        result["kinds"][kind] = {
            name: {
                compared: spread(measured[compared]),
                "times_the_base_loss": ratios(measured[compared], measures["base loss"][compared]),
            }
            for name, measured in measures.items()
        }
        rows = [[name, *(shown(value) for value in row.values())] for name, row in result["kinds"][kind].items()]
        title = f"{kind}, {options.batch} x {LABELS} x {options.size}^3, forward and backward"
        print_table(title, ["", compared, "x base loss"], rows)
    return result


def base(logits: Tensor, target: Tensor) -> Tensor:
    """Dice and cross-entropy of the full-resolution output; as logits any numbers will do."""
    return torch.stack(list(region_loss(logits, target).values())).sum()


def bound(loss: Loss, probability: Tensor, target: Tensor) -> Run:
    return lambda: forward_backward(loss, probability, target)


def size_of(probability: Tensor) -> int:
    return 4 * probability.numel()


def relative_difference(ours: Tensor | None, theirs: Tensor | None) -> float:
    """Largest over the elements; 0 where both are 0."""
    assert ours is not None
    assert theirs is not None
    apart = (ours.double() - theirs).abs()
    return float((apart / theirs.double().abs()).nan_to_num(0.0, posinf=float("inf")).max())


def add_peaks(results: dict[str, Any], options: argparse.Namespace) -> None:
    """One process a contestant: allocators keep what they free, and a second one would find it."""
    flags = ["--device", options.device, "--size", str(options.size), "--batch", str(options.batch)]
    for name, result in results.items():
        added = peak_in_subprocess(name, *flags, "--kinds", options.kinds[0])
        values = 4 * options.batch * LABELS * options.size**3
        result["peak_of_fp32_probabilities"] = None if added is None else rounded(added / values)


def peak(loss: Loss, options: argparse.Namespace) -> int | None:
    device = torch.device("cpu")
    # What compiling and importing take does not count.
    forward_backward(loss, *data("organ", 1, 16, device))
    probability, target = data(options.kinds[0], options.batch, options.size, device)
    return resident_added(bound(loss, probability, target))


def print_losses(kind: str, result: dict[str, Any]) -> None:
    header = ["", "CPU s", "wall s", "x MONAI", "peak", "value", "gradient difference"]
    rows = []
    for name, of_loss in result["kinds"][kind].items():
        memory, apart = (of_loss.get(key) for key in ("peak_of_fp32_probabilities", "max_relative_gradient_difference"))
        row = [name, shown(of_loss["cpu_s"]), shown(of_loss["wall_s"]), shown(of_loss["times_faster_than_monai"])]
        row += ["-" if memory is None else f"{memory:.2f} x", f"{of_loss['value']:.7g}"]
        rows.append([*row, "" if apart is None else f"{apart:.1e}"])
    print_table(f"{kind}, {result['batch']} x {LABELS} x {result['size']}^3, forward and backward", header, rows)


def step(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Milliseconds of a training step without and with the distance loss, of that loss alone, and of its fields alone.

    The decoder-mode network as the settings have it by default, bf16 autocast, AdamW; its strides want multiples of 32
    from 64 on.
    """
    probability, target = data(options.kinds[0], options.batch, options.size, device)
    train = trainer(target, device)
    runs: dict[str, Run] = {
        "step": lambda: train(False),
        "step with the loss": lambda: train(True),
        "the loss alone": bound(lambda p, g: hausdorff_distance_loss(p, g).mean(), probability, target),
        "its fields alone": lambda: distance.distance_to_other_class(
            torch.stack([target, probability > 0.5], 1), squared=True
        ),
    }
    measures = round_robin(runs, options.rounds, device, warm_up=2)
    seconds = {name: measured.get("event_s", measured["wall_s"]) for name, measured in measures.items()}
    whole = seconds["step with the loss"]
    result = {
        "size": options.size,
        "batch": options.batch,
        "ms": {name: spread([1000 * value for value in values]) for name, values in seconds.items()},
        "share_of_step": spread([a / b for a, b in zip(seconds["the loss alone"], whole, strict=True)]),
        "step_longer_by": spread([a / b - 1 for a, b in zip(whole, seconds["step"], strict=True)]),
        "peak_mib": {name: rounded(max(m["peak_bytes"]) / MIB) for name, m in measures.items() if "peak_bytes" in m},
    }
    rows = [[name, shown(values), f"{result['peak_mib'].get(name, '-')}"] for name, values in result["ms"].items()]
    print_table(f"{options.batch} x {LABELS} x {options.size}^3", ["", "ms", "MiB added at the peak"], rows)
    print(f"the loss alone / step with the loss: {shown(result['share_of_step'])}")
    print(f"step with the loss / step - 1: {shown(result['step_longer_by'])}")
    return result


def trainer(target: Tensor, device: torch.device) -> Callable[[bool], Tensor]:
    torch.manual_seed(0)
    network = build(Model(), in_channels=4, target=Target(), patch=target.shape[2:]).to(device)
    optimizer = optim.build(network, Optim())
    image = torch.randn(len(target), 4, *target.shape[2:], device=device)

    def train(with_distance: bool) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            output = network(image)
            loss = torch.stack(list(base_loss(output, target).values())).sum()
            if with_distance:
                loss = loss + hausdorff_distance_loss(output.probabilities, target).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return train


def leak(device: torch.device) -> dict[str, Any]:
    probability, target = data("small-lesions", 2, LEAK_SIZE, device)
    memory: dict[int, float] = {}
    for call in range(1, LEAK_CALLS + 1):
        forward_backward(lambda p, g: hausdorff_distance_loss(p, g).mean(), probability, target)
        if call in (LEAK_FROM, LEAK_CALLS):
            memory[call] = rounded(resident_bytes() / MIB)
    print(f"distance loss at 2 x {LABELS} x {LEAK_SIZE}^3, resident MiB after calls: {memory}")
    return {"size": LEAK_SIZE, "resident_mib_after_calls": memory}


if __name__ == "__main__":
    main()
