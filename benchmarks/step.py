"""A training step: samples a second, memory at the peak, and the share of it that is not the convolutional network.

    .venv/bin/python benchmarks/step.py [--modes cnn encoder decoder both] [--size 64] [--batch 1] [--rounds 5]
    .venv/bin/python benchmarks/step.py --device cuda --size 128 --batch 2 --precision bf16 --rounds 10
    .venv/bin/python benchmarks/step.py --values plain compile recompute    # what is chosen for speed or memory
    .venv/bin/python benchmarks/step.py --naive                  # against the same network written down plainly
    .venv/bin/python benchmarks/step.py --loop                   # the real loop on phantoms: waiting for data

A step is augmentation by the defaults, forward, base loss, backward, clipping and AdamW. `the CNN alone` is forward and
backward of the convolutions of the same network with given gradients. All contestants take turns, on one thread of a
CPU. Writes benchmarks/results/step.json, a section a device and option; prints medians (least - largest).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from harness import (
    MIB,
    Run,
    peak_in_subprocess,
    print_table,
    ratios,
    resident_added,
    round_robin,
    rounded,
    save,
    shown,
    spread,
)
from naive import naive_loss
from torch import Tensor

from mets3d import augment, models
from mets3d.augment.changes import augment as apply
from mets3d.data.loader import generator
from mets3d.losses.total import base_loss
from mets3d.models.transunet import TransUNet
from mets3d.regions import Target
from mets3d.settings import Augment, Model, Optim
from mets3d.training import optim
from mets3d.training.deterministic import deterministic as only_deterministic

PRECISIONS = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}
VALUES: dict[str, dict[str, Any]] = {
    "plain": {},
    "channels_last": {"channels_last": True},
    "compile": {"compile": True},
    "compile, channels_last": {"compile": True, "channels_last": True},
    "compile, loss too": {"compile": True, "compile_loss": True},
    "recompute 1": {"recompute": 1},
    "recompute 2": {"recompute": 2},
    "recompute all": {"recompute": 9},
    "deterministic": {"deterministic": True},
}
Step = Callable[[], Tensor]


def main() -> None:
    options = arguments()
    torch.set_num_threads(1)
    device = torch.device(options.device)
    if options.peak:
        run = contestants(options, device)[options.peak]
        run()  # optimizer state and caches are there from the first step on
        print(resident_added(run))
        return
    if options.loop:
        save("step", f"{device.type} loop", loop(options, device), device)
        return
    measures = round_robin(contestants(options, device), options.rounds, device, warm_up=2)
    name = f"{device.type} {options.precision}{' naive' if options.naive else ''}{' values' if options.values else ''}"
    save("step", name, summary(measures, options, device), device)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modes", nargs="+", default=["cnn", "encoder", "decoder", "both"])
    parser.add_argument("--size", type=int, default=64, help="side of the patch; a multiple of 32 from 64 on")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5, help="counted ones; two more warm up")
    parser.add_argument("--precision", choices=PRECISIONS, default="no")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--values", nargs="*", choices=VALUES, help="compare these, by default all, in the last mode")
    parser.add_argument("--naive", action="store_true", help="compare with the network written down plainly")
    parser.add_argument("--loop", action="store_true", help="run the real loop on phantoms instead")
    parser.add_argument("--no-peaks", action="store_true", help="leave out memory on a CPU, a process a contestant")
    parser.add_argument("--peak", metavar="CONTESTANT", help="only print the bytes that one call of it adds")
    return parser.parse_args()


def contestants(options: argparse.Namespace, device: torch.device) -> dict[str, Run]:
    """The runs to compare; each has a network of its own, made when it is first called."""
    runs: dict[str, Run] = {}
    if options.values is not None:
        for name in options.values or VALUES:
            runs[name] = Later(partial(step, options, device, options.modes[-1], **VALUES[name]))
        return runs
    for mode in options.modes:
        runs[mode] = Later(partial(step, options, device, mode))
        runs[f"{mode}, the CNN alone"] = Later(partial(cnn_alone, options, device, mode))
        if options.naive:
            runs[f"{mode}, naive"] = Later(partial(step, options, device, mode, naive=True))
    return runs


class Later:
    """A run whose setting up belongs to the first call, so that one peak holds one network."""

    def __init__(self, make: Callable[[], Step]):
        self.make = make
        self.run: Step | None = None

    def __call__(self) -> Tensor:
        if self.run is None:
            self.run = self.make()
        return self.run()


def scene(options: argparse.Namespace, device: torch.device) -> tuple[Tensor, Tensor]:
    """An image with a brain in the middle, and labels: lesions of some voxels' radius in it."""
    size, batch = options.size, options.batch
    axis = torch.arange(size) - size / 2
    far = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).sqrt()
    image = torch.randn(batch, 4, size, size, size, generator=torch.Generator().manual_seed(0)) * (far < 0.45 * size)
    labels = torch.zeros(batch, size, size, size, dtype=torch.uint8)
    for sample in range(batch):
        for radius, label in ((8, 2), (6, 1), (4, 3)):
            labels[sample][far < radius] = label
    return image.to(device), labels.to(device)


def network_and_optimizer(
    options: argparse.Namespace, device: torch.device, mode: str
) -> tuple[TransUNet, torch.optim.Optimizer]:
    torch.manual_seed(0)
    network = models.build(Model(mode=mode), in_channels=4, target=Target(), patch=(options.size,) * 3).to(device)
    return network, optim.build(network, Optim())


def step(
    options: argparse.Namespace,
    device: torch.device,
    mode: str,
    *,
    naive: bool = False,
    channels_last: bool = False,
    compile: bool = False,  # noqa: A002 - the setting's name
    compile_loss: bool = False,
    recompute: int = 0,
    deterministic: bool = False,
) -> Step:
    network, optimizer = network_and_optimizer(options, device, mode)
    if channels_last:
        network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    network.recompute(recompute)
    forward = torch.compile(network) if compile else network
    loss = torch.compile(base_loss) if compile_loss else base_loss
    image, labels = scene(options, device)
    draw = augment.build(Augment(), sequences=4)
    target, number = Target(), iter(range(10**9))

    def run() -> Tensor:
        key = next(number)
        drawn = [draw(partial(generator, 0, key, index)) for index in range(len(image))]
        x, y = apply(image.unbind(), labels.unbind(), drawn, (options.size,) * 3)
        masks = torch.stack(target.masks(y), dim=1)
        if channels_last:
            x = x.contiguous(memory_format=torch.channels_last_3d)
        autocast = torch.autocast(device.type, PRECISIONS[options.precision], enabled=options.precision != "no")
        with autocast, only_deterministic(deterministic):
            if naive:
                value = naive_loss(network, x, masks)
            else:
                value = torch.stack(list(loss(forward(x), masks).values())).sum()
        network.zero_grad(set_to_none=True)
        with only_deterministic(deterministic):
            value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 12.0)
        optimizer.step()
        return value.detach()

    return run


def cnn_alone(options: argparse.Namespace, device: torch.device, mode: str) -> Step:
    """Forward and backward of the convolutions alone, with given gradients of every map that the rest reads."""
    network, _ = network_and_optimizer(options, device, mode)
    image, _ = scene(options, device)

    def run() -> Tensor:
        with torch.autocast(device.type, PRECISIONS[options.precision], enabled=options.precision != "no"):
            *skips, bottleneck = network.encoder(image)
            maps = [bottleneck, *network.decoder(bottleneck, skips)]
            outputs = [maps[-1], *(head(m) for head, m in zip(network.deep_heads, maps[-2:0:-1], strict=False))]
            if network.query_decoder is not None:
                outputs += [maps[level] for level in network.memory_levels]
            elif network.head is not None:
                outputs[0] = network.head(maps[-1])
        torch.autograd.backward(outputs, [torch.ones_like(output) for output in outputs])
        network.zero_grad(set_to_none=True)
        main: Tensor = outputs[0]
        return main.detach()

    return run


def summary(
    measures: dict[str, dict[str, list[float]]], options: argparse.Namespace, device: torch.device
) -> dict[str, Any]:
    which = "event_s" if device.type == "cuda" else "cpu_s"
    seconds = {name: measured[which] for name, measured in measures.items()}
    result: dict[str, Any] = {
        "size": options.size,
        "batch": options.batch,
        "precision": options.precision,
        "seconds": {name: spread(values) for name, values in seconds.items()},
        "samples_per_second": {name: spread([options.batch / v for v in values]) for name, values in seconds.items()},
        "peak_mib": peaks(measures, options, device),
    }
    for mode, whole_steps in seconds.items():
        if f"{mode}, the CNN alone" in seconds:
            alone = seconds[f"{mode}, the CNN alone"]
            shares = [1 - cnn / whole for cnn, whole in zip(alone, whole_steps, strict=True)]
            result.setdefault("outside_the_cnn", {})[mode] = spread(shares)
        if f"{mode}, naive" in seconds:
            result.setdefault("times_faster_than_naive", {})[mode] = ratios(seconds[f"{mode}, naive"], whole_steps)
    outside, faster = result.get("outside_the_cnn", {}), result.get("times_faster_than_naive", {})
    rows = [
        [
            name,
            shown(values, scale=1000),
            shown(result["samples_per_second"][name]),
            f"{result['peak_mib'].get(name) or '-'}",
            shown(outside[name]) if name in outside else "",
            shown(faster[name]) if name in faster else "",
        ]
        for name, values in result["seconds"].items()
    ]
    kind = "ms" if device.type == "cuda" else "CPU ms"
    heads = ["", kind, "samples / s", "MiB added at the peak", "share outside the CNN", "times faster than naive"]
    print_table(f"{options.batch} x 4 x {options.size}^3, {options.precision}", heads, rows)
    return result


def peaks(measures: dict[str, Any], options: argparse.Namespace, device: torch.device) -> dict[str, float | None]:
    if device.type == "cuda":
        return {name: rounded(max(measured["peak_bytes"]) / MIB) for name, measured in measures.items()}
    if options.no_peaks:
        return {}
    words = [word for word in sys.argv[1:] if word != "--peak"]
    found = {name: peak_in_subprocess(name, *words) for name in measures if "CNN alone" not in name}
    return {name: None if added is None else rounded(added / MIB) for name, added in found.items()}


# ---------------------------------------------------------------- the real loop


def loop(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """Runs `fit` on phantoms and measures how long the loop waits for its batches."""
    import yaml

    import train as script
    from mets3d.__main__ import main as mets3d
    from mets3d.training import loop as training_loop

    side, waits, steps = options.size, [], []
    with tempfile.TemporaryDirectory() as folder:
        shape = [str(side + 16)] * 3
        settings = {
            "name": "run",
            "output": f"{folder}/runs",
            "data": {"store": f"{folder}/store", "patch": [side] * 3, "folds": 2},
            "preprocess": {"spacing_mm": [2.0] * 3},
            "model": {"mode": options.modes[-1]},
            "precision": options.precision,
            "train": {"steps": options.rounds + 5, "batch_size": options.batch, "checkpoint_every": 10**6},
            "validate": {"every": 10**6, "cases": 1},
            "track": {"wandb": "disabled"},
        }
        Path(folder, "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
        mets3d(["synth", f"{folder}/data", "--cases", "4", "--shape", *shape, "--spacing", "2"])
        mets3d(["preprocess", f"{folder}/data", f"{folder}/store", "--config", f"{folder}/config.yaml"])
        given = training_loop._steps

        def timed(session: Any) -> Any:
            arrived = time.perf_counter()
            for step_and_batches in given(session):
                now = time.perf_counter()
                waits.append(now - arrived)
                yield step_and_batches
                if device.type == "cuda":
                    torch.cuda.synchronize()
                arrived = time.perf_counter()
                steps.append(arrived - now)

        words = ["train.py", "--config", f"{folder}/config.yaml"]
        with mock.patch.object(training_loop, "_steps", timed), mock.patch.object(sys, "argv", words):
            script.main()
    counted = slice(4, len(steps) - 1)  # the first ones start the workers, the last one ends with a checkpoint
    shares = [wait / (wait + step) for wait, step in zip(waits[counted], steps[counted], strict=False)]
    result = {
        "mode": options.modes[-1],
        "size": side,
        "batch": options.batch,
        "precision": options.precision,
        "wait_s": spread(waits[counted]),
        "step_s": spread(steps[counted]),
        "waiting": spread(shares),
    }
    print(
        f"waiting for data: {shown(result['wait_s'], scale=1000)} ms of {shown(result['step_s'], scale=1000)} ms a step"
    )
    return result


if __name__ == "__main__":
    main()
