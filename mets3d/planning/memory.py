"""Models the memory of a training step in bytes: what a configuration needs, in which parts, at its worst moment.

It counts what the code of this package holds: weights, gradients, the optimizer's state, what forward passes keep for
the backward pass, the losses' volumes, and the workspace of the convolutions, in one process, with the default memory
layout and without torch.compile. `benchmarks/memory.py` compares it with what is measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mets3d.config import Config
from mets3d.planning.loss_bytes import loss_stages
from mets3d.planning.network_bytes import Sizes, network_stages
from mets3d.planning.stages import FP32, MASK, Stage, worst_moment

GB = 1e9
# What a GPU's memory holds beside a step: the driver's context with its kernels, and what an allocator loses in pieces:
# with so much the networks of docs/planning.md ran.
CONTEXT_BYTES = 0.85 * GB
PIECES = 0.2


@dataclass(frozen=True)
class Need:
    """The bytes of a training step: `parts` of what is held by name, `peak` at its worst moment, and where that is."""

    parts: dict[str, float]
    peak: float
    where: str

    @property
    def device(self) -> float:
        """Returns the bytes that the device must have for it."""
        return CONTEXT_BYTES + self.peak * (1 + PIECES)


def need(config: Config, *, sequences: int, channels: int) -> Need:
    """Returns the memory of a training step of a configuration, in one process.

    sequences, channels: of the network's input and output. A boundary term counts from the first step.
    """
    train = config.train
    half = config.precision in ("bf16", "fp16")
    samples = train.batch_size // train.accumulation
    sizes = Sizes(
        config.model, config.data.patch, samples, sequences, channels, 2 if half else FP32, recompute=train.recompute
    )
    stages = [*network_stages(sizes), *loss_stages(sizes, config.loss)]
    parameters = sum(stage.parameters for stage in stages)
    several = train.accumulation > 1
    averaged = config.optim.ema is not None
    weights = FP32 * parameters * (1 + config.optim.numbers_kept + averaged + several)
    # All micro-batches of a step wait on the device: image in fp32 and target masks.
    batch = train.batch_size * math.prod(config.data.patch) * (FP32 * sequences + MASK * channels)
    worst = worst_moment(stages, gradients_kept=several)
    kept = {
        "weights and optimizer": float(weights),
        "images and masks": float(batch),
        "feature maps": _kept(stages, "encoder", "decoder"),
        "ViT": _kept(stages, "ViT"),
        "queries": _kept(stages, "attention"),
        "losses": _kept(stages, "heads", "region loss", "query loss", "probabilities", "boundary"),
    }
    parts = {name: size for name, size in kept.items() if size}
    return Need(parts, weights + batch + worst.bytes, worst.where)


def _kept(stages: list[Stage], *names: str) -> float:
    return sum(stage.kept for stage in stages if stage.name.startswith(names))
