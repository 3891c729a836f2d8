"""Memory of a training step: what `mets3d.planning.memory` says against what is measured.

    .venv/bin/python benchmarks/memory.py --device cuda
    .venv/bin/python benchmarks/memory.py --device cuda --runs decoder:128x160x96:2:bf16:1:hausdorff_distance cnn:96
    .venv/bin/python benchmarks/memory.py --device cpu       # small networks; counts the tensors that live

A run is mode:patch:batch:precision:recompute:boundary:accumulation, as far as it differs from 2:bf16:0:none:1. It makes
two steps as in training, with the weight of the boundary term at its full value; the second one is measured, which has
the optimizer's state. On CUDA by torch.cuda.max_memory_allocated, and then once more where the allocator may have no
more than the model says; on a CPU by the sizes of all tensors that live at a time, with a norm that makes what the
fused one on CUDA makes, and without the workspace of cuDNN. Prints each line at once and writes
benchmarks/results/memory.json, a section a device.
"""

from __future__ import annotations

import argparse
import gc
import time
import warnings
import weakref
from dataclasses import dataclass
from typing import Any, get_args

import torch
from harness import rounded, save, shape_of
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mets3d import losses, models
from mets3d.config import Config
from mets3d.losses.value import StepContext, count_masks
from mets3d.models import blocks
from mets3d.planning import memory, network_bytes
from mets3d.regions import Target
from mets3d.settings.loss import BoundaryName
from mets3d.training import optim

GB, SEQUENCES, TARGET = 1e9, 4, Target()
TYPES = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}
BOUNDARIES = get_args(BoundaryName)
ON_CUDA = [
    *["decoder:128x160x128:2", "decoder:128x160x128:2:bf16:0:none:2", "both:128x160x128:4:bf16:2:none:2"],
    *["cnn:160x192x160:1", "decoder:160x192x160:1", "decoder:160x192x160:2:bf16:2:hausdorff_distance"],
    *["decoder:64:1", "both:64:2", "cnn:96:4:no:1", "decoder:96x128x96:2:no:2:hausdorff_distance"],
    *[f"{mode}:128:2:{precision}" for precision in ("bf16", "no") for mode in ("cnn", "encoder", "decoder", "both")],
    *[f"{mode}:128:2:bf16:{levels}" for levels in (1, 2, 5) for mode in ("cnn", "decoder")],
    *[f"{mode}:128:2:bf16:0:{boundary}" for mode in ("cnn", "decoder") for boundary in BOUNDARIES],
]
ON_CPU = [
    *[f"{mode}:48:2:{precision}" for precision in ("no", "bf16") for mode in ("cnn", "encoder", "decoder", "both")],
    *[f"{mode}:48x32x48:2:no:{levels}" for levels in (1, 3) for mode in ("cnn", "decoder")],
    *[f"{mode}:48:1:no:0:{boundary}" for mode in ("cnn", "decoder") for boundary in BOUNDARIES],
    "both:32:4:no:0:none:2",
]
# A CPU has no cuDNN, and is slow: a network that is small but has every part.
SMALL = {
    "model": {
        "strides": [[2, 2, 2]] * 3,
        "features": 8,
        "max_features": 32,
        "queries": 6,
        "width": 48,
        "decoder_mlp": 64,
        "vit_depth": 2,
        "vit_width": 48,
        "vit_mlp": 96,
        "vit_heads": 4,
    },
    "loss": {"boundary_radii_mm": [3, 6]},
}


def _as_one_operation(features: Tensor, norm: nn.Module, activation: nn.LeakyReLU) -> Tensor:  # noqa: ARG001
    made: Tensor = NormLeaky.apply(features, norm.weight, norm.bias)  # type: ignore[no-untyped-call]
    return made


def main() -> None:
    options = arguments()
    device = torch.device(options.device)
    warnings.filterwarnings("ignore", category=FutureWarning)
    if device.type == "cpu":
        network_bytes.WORKSPACE = 0.0
        # As one operation, as the GPU's kernel is.
        blocks.norm_and_activate = _as_one_operation  # type: ignore[attr-defined]
    rows: dict[str, dict[str, Any]] = {}
    print(f"{'run':58}predicted  measured  ratio  worst moment by the model", flush=True)
    for text in options.runs or (ON_CUDA if device.type == "cuda" else ON_CPU):
        started = time.perf_counter()
        run = Run.of(text)
        config = configuration(run, {} if device.type == "cuda" else SMALL)
        predicted = memory.need(config, sequences=SEQUENCES, channels=TARGET.channels)
        measured = measure(config, device)
        ratio = predicted.peak / measured["bytes"]
        fits = runs_within(config, device, predicted.peak * (1 + memory.PIECES)) if device.type == "cuda" else None
        rows[text] = {
            "predicted_gb": rounded(predicted.peak / GB),
            "ratio": rounded(ratio),
            "where": predicted.where,
            "runs_in_what_the_model_says": fits,
            **{f"{name}_gb": rounded(value / GB) for name, value in measured.items()},
        }
        more = "".join(f", {name} {value / GB:.2f}" for name, value in measured.items() if name != "bytes")
        more += "" if fits is None else f", runs in {predicted.peak * (1 + memory.PIECES) / GB:.2f}: {fits}"
        print(
            f"{text:58}{predicted.peak / GB:9.3f} {measured['bytes'] / GB:9.3f} {ratio:6.3f}  {predicted.where}{more} "
            f"({time.perf_counter() - started:.1f} s)",
            flush=True,
        )
    ratios = [row["ratio"] for row in rows.values()]
    print(f"predicted / measured: {min(ratios)} to {max(ratios)}", flush=True)
    save("memory", device.type, {"runs": rows}, device)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--runs", nargs="+", metavar="RUN", help="by default a list that has every part")
    return parser.parse_args()


@dataclass(frozen=True)
class Run:
    """One line of the table."""

    mode: str
    patch: tuple[int, int, int]
    batch: int = 2
    precision: str = "bf16"
    recompute: int = 0
    boundary: str = "none"
    accumulation: int = 1

    @classmethod
    def of(cls, text: str) -> Run:
        mode, patch, *rest = text.split(":")
        kinds = (int, str, int, str, int)
        return cls(mode, shape_of(patch), *(kind(word) for kind, word in zip(kinds, rest, strict=False)))


def configuration(run: Run, small: dict[str, Any]) -> Config:
    return Config.model_validate(
        {
            "precision": run.precision,
            "data": {"patch": run.patch},
            "model": {"mode": run.mode, **small.get("model", {})},
            "loss": {"boundary": run.boundary, "boundary_schedule": "constant", **small.get("loss", {})},
            "train": {"batch_size": run.batch, "accumulation": run.accumulation, "recompute": run.recompute},
        }
    )


def measure(config: Config, device: torch.device) -> dict[str, float]:
    """Bytes at the worst moment of a second step, everything included; on CUDA those beside it, too."""
    if device.type != "cuda":
        with Living() as living:
            steps = two_steps(config, device)
            for _ in steps:
                living.peak = living.now
        gc.collect()
        return {"bytes": living.peak}
    steps = two_steps(config, device)
    next(steps)
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    for _ in steps:
        pass
    free, whole = torch.cuda.mem_get_info(device)
    measured = {
        "bytes": float(torch.cuda.max_memory_allocated()),
        "reserved": float(torch.cuda.max_memory_reserved()),
        "context": float(whole - free - torch.cuda.memory_reserved()),
    }
    del steps
    gc.collect()
    torch.cuda.empty_cache()
    return measured


def runs_within(config: Config, device: torch.device, limit: float) -> bool:
    """Whether two steps run where the allocator may have no more than so many bytes."""
    whole = torch.cuda.mem_get_info(device)[1]
    torch.cuda.set_per_process_memory_fraction(limit / whole)
    try:
        for _ in two_steps(config, device):
            pass
        torch.cuda.synchronize()
    except torch.OutOfMemoryError:
        return False
    finally:
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(1.0)
    return True


def two_steps(config: Config, device: torch.device) -> Any:
    """Makes a step of the training, yields, and makes another."""
    torch.manual_seed(0)
    network = models.build(config.model, in_channels=SEQUENCES, target=TARGET, patch=config.data.patch).to(device)
    network.recompute(config.train.recompute)
    optimizer = optim.build(network, config.optim)
    loss = losses.build(config.loss, target=TARGET, steps=2, queries=network.has_queries)
    half = TYPES[config.precision or "no"]
    for number in range(2):
        parts = [scene(config, device) for _ in range(config.train.accumulation)]
        network.zero_grad(set_to_none=True)
        for image, target in parts:
            with torch.autocast(device.type, half, enabled=half is not None):
                output = network(image)
            masks = count_masks(target).clamp_min(1)
            sizes_mm = [(1.0, 1.0, 1.0)] * len(image)
            context = StepContext(number, masks=masks, ratio=torch.ones_like(masks), spacing_mm=sizes_mm)
            value = loss(output, target, context).total / len(parts)
            del output
            value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.optim.clip_norm)
        optimizer.step()
        del image, target, parts, value
        if number == 0:
            yield


def scene(config: Config, device: torch.device) -> tuple[Tensor, Tensor]:
    """A micro-batch: noise, and three nested boxes as its regions."""
    samples, patch = config.train.batch_size // config.train.accumulation, config.data.patch
    image = torch.randn(samples, SEQUENCES, *patch, device=device)
    target = torch.zeros(samples, TARGET.channels, *patch, dtype=torch.bool, device=device)
    for region, radius in enumerate((8, 6, 4)):
        x, y, z = (slice(max(size // 2 - radius, 1), size // 2 + radius) for size in patch)
        target[:, region, x, y, z] = True
    return image, target


class Living(TorchDispatchMode):
    """Adds up the storage of every tensor that an operation returns, as long as it lives."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sizes: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.add(tensor.untyped_storage())
        return result

    def add(self, storage: Any) -> None:
        if storage._cdata in self.sizes:
            return
        self.sizes[storage._cdata] = storage.nbytes()
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self.forget, storage._cdata)

    def forget(self, key: int) -> None:
        self.now -= self.sizes.pop(key)


class NormLeaky(torch.autograd.Function):
    """The allocations of `mets3d.ops.norm_triton.NormLeaky`, and nearly its values."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        moments = torch.stack(torch.var_mean(x.float(), (2, 3, 4)))
        ctx.save_for_backward(x, weight, bias, moments)
        return torch.nn.functional.instance_norm(x, weight=weight.to(x), bias=bias.to(x)).clamp_(min=0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight, bias, _ = ctx.saved_tensors
        return torch.zeros_like(x).copy_(gradient), torch.zeros_like(weight), torch.zeros_like(bias)


if __name__ == "__main__":
    main()
