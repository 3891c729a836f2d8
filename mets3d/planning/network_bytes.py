"""Counts the bytes of the network's stages: what each keeps for the backward pass, and what it needs while it runs.

One map means the feature map of a stage: its channels times its voxels over the micro-batch, in the type of the
convolutions. The counts follow the code of `mets3d.models`, with its fused norm, whose input and output are kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mets3d.planning.stages import FP32, MASK, Stage
from mets3d.settings import Model

# Of the maps that a convolution reads and writes: cuDNN copies them into its own layout (measured on an H200).
WORKSPACE = 1.1
DEFAULT_MEMORY_LEVELS = (-4, -3, -2)


@dataclass(frozen=True)
class Sizes:
    """The sizes of a network: `samples` of a micro-batch of `patch`, its channels in and out, bytes of a number."""

    model: Model
    patch: tuple[int, int, int]
    samples: int
    sequences: int
    channels: int
    number: int  # 4 in fp32, 2 under autocast
    recompute: int = 0

    @property
    def half(self) -> bool:
        """Returns whether convolutions run in a half type."""
        return self.number < FP32

    @property
    def levels(self) -> int:
        """Returns the number of times that the network halves the size."""
        return len(self.model.strides)

    def width(self, level: int) -> int:
        """Returns the channels of a level, 0 the finest."""
        doubled: int = self.model.features * 2**level
        return min(doubled, self.model.max_features)

    def voxels(self, level: int) -> int:
        """Returns the voxels of a level over all samples."""
        stride = [math.prod(each[axis] for each in self.model.strides[:level]) for axis in range(3)]
        return self.samples * math.prod(size // step for size, step in zip(self.patch, stride, strict=True))

    def map(self, level: int) -> float:
        """Returns the bytes of a feature map of a level."""
        return float(self.number * self.width(level) * self.voxels(level))

    @property
    def deep(self) -> range:
        """Returns the levels with a head below full resolution."""
        if not self.model.deep_supervision:
            return range(1, 1)
        heads = max(self.levels - 2, 0) if self.model.deep_heads is None else self.model.deep_heads
        return range(1, heads + 1)

    @property
    def attended(self) -> list[int]:
        """Returns the level of each feature map that queries attend to, coarse first."""
        coarsest = -(self.levels + 1)
        if self.model.memory_fpn:
            return [-1 - index for index in range(coarsest, coarsest + self.model.memory_fpn)]
        chosen = self.model.memory_levels
        chosen = tuple(one for one in DEFAULT_MEMORY_LEVELS if one >= coarsest) if chosen is None else chosen
        return [-1 - index for index in chosen]


def network_stages(sizes: Sizes) -> list[Stage]:
    """Returns the stages of the network in the order of its forward pass."""
    levels = range(sizes.levels)
    stages = [_encoder(sizes, level) for level in (*levels, sizes.levels)]
    if sizes.model.has_vit:
        stages.append(_vit(sizes))
    stages += [_decoder(sizes, level) for level in reversed(levels)]
    stages.append(_heads(sizes))
    if sizes.model.has_queries:
        stages.append(_queries(sizes))
    return stages


# ---------------------------------------------------------------- convolutions


def _encoder(sizes: Sizes, level: int) -> Stage:
    """Two blocks, each a convolution and its norm: four maps."""
    one, first = sizes.map(level), level == 0
    recomputed = level < sizes.recompute
    image = sizes.number * sizes.sequences * sizes.voxels(0) if first and sizes.half else 0
    skip = 3 * one if level < sizes.levels else one  # of the joined map, twice as large, and of the next stage
    own, kernel = sizes.width(level), _kernel(sizes, level)
    parameters = _block(sizes.sequences if first else sizes.width(level - 1), own, kernel) + _block(own, own, kernel)
    return Stage(
        f"encoder level {level}",
        kept=(1 if recomputed else 4) * one + (0 if recomputed else image + _weight_copies(sizes, parameters)),
        forward=(2 * WORKSPACE + (2 if recomputed else -1)) * one,
        backward=(2 * WORKSPACE if recomputed else 0) * one,
        gradient=(0 if first else sizes.map(level - 1)) - skip,
        parameters=parameters,
    )


def _decoder(sizes: Sizes, level: int) -> Stage:
    """An upsampled map beside its skip, two maps, and two blocks: six maps. The last is read by the stage behind."""
    one = sizes.map(level)
    recomputed = level < sizes.recompute
    # Only its fp32 copy is kept where queries read the finest map.
    read_raised = level == 0 and sizes.model.has_queries and sizes.half
    inner = 0 if recomputed else 5
    # It takes the kernel of the stage below, see `CNNDecoder`.
    own, kernel = sizes.width(level), _kernel(sizes, level + 1)
    parameters = _block(2 * own, own, kernel) + _block(own, own, kernel)
    parameters += sizes.width(level + 1) * own * math.prod(sizes.model.strides[level])
    # At the worst moment of its backward pass: five maps and the workspace of the second convolution's two, or after
    # that three, the gradient of the joined map, and the workspace of the first one's three.
    most = max(6 + 2 * WORKSPACE, 5 + 3 * WORKSPACE)
    return Stage(
        f"decoder level {level}",
        kept=(inner + (0 if read_raised else 1)) * one + (0 if recomputed else _weight_copies(sizes, parameters)),
        lent=one if read_raised else 0,
        forward=(2 * WORKSPACE + (4 if recomputed else -1)) * one,
        backward=(most - inner - (1 if read_raised else 2)) * one,
        gradient=one + sizes.map(level + 1),
        parameters=parameters,
    )


def _heads(sizes: Sizes) -> Stage:
    """Logits at full resolution, without queries or frozen beside them, and of the deep heads."""
    model = sizes.model
    trained = 0 if model.has_queries else 1
    bias = 0 if model.head_bias is None else 1
    full = sizes.channels * sizes.voxels(0) * (1 if trained or model.frozen_cnn_head else 0)
    logits = sizes.number * (full + sizes.channels * sum(sizes.voxels(level) for level in sizes.deep))
    read = {*sizes.deep, *(sizes.attended if model.has_queries else ())} - {0}
    finest = trained * sizes.map(0)
    return Stage(
        "heads",
        kept=0 if sizes.half else logits,
        lent=logits if sizes.half else 0,
        forward=WORKSPACE * finest,
        backward=(1 + WORKSPACE) * finest,
        gradient=finest + sum(sizes.map(level) for level in read),
        parameters=sum(sizes.channels * (sizes.width(level) + bias) for level in (*range(trained), *sizes.deep)),
    )


def _kernel(sizes: Sizes, stage: int) -> int:
    """Returns the weights of a kernel from one channel to one."""
    return 27 if sizes.model.kernels is None else math.prod(sizes.model.kernels[stage])


def _block(before: int, after: int, kernel: int) -> int:
    """Counts the parameters of a convolution and its norm."""
    return before * after * kernel + 3 * after


def _weight_copies(sizes: Sizes, parameters: int) -> float:
    """Returns the bytes of the weights in the half type of the convolutions, which are kept with the maps."""
    return sizes.number * parameters if sizes.half else 0


# ---------------------------------------------------------------- transformers


def _vit(sizes: Sizes) -> Stage:
    model, tokens = sizes.model, sizes.voxels(sizes.levels)
    width, hidden, channels = model.vit_width, model.vit_mlp, sizes.width(sizes.levels)
    block = 4 * width * (width + 1) + width * hidden * 2 + hidden + width + 4 * width
    block += 2 * width if model.vit_layer_scale != "off" else 0
    position = width * tokens // sizes.samples
    parameters = 2 * channels * width + width + channels + position + 2 * width + model.vit_depth * block
    # A block keeps its input, the tokens between its halves, what queries, keys and values are made of and they
    # themselves, what they attended to, and the hidden layer before and behind its activation.
    half_copies = 2 if sizes.half else 0  # the normed tokens are cast once for each of the three
    numbers = width * (6 + half_copies) * sizes.number + 2 * width * FP32 + 2 * hidden * sizes.number
    dropped = (width + hidden) * MASK if model.vit_dropout else 0
    ends = 2 * (width * (FP32 + sizes.number))
    return Stage(
        "ViT",
        kept=tokens * (model.vit_depth * (numbers + dropped) + ends) + _weight_copies(sizes, parameters),
        forward=3.0 * tokens * hidden * FP32,
        backward=3.0 * tokens * hidden * FP32,
        parameters=parameters,
    )


def _queries(sizes: Sizes) -> Stage:
    """Attention weights of every layer, [heads x queries, voxels], and fp32 copies of the maps attended to."""
    model, width = sizes.model, sizes.model.width
    rows = model.decoder_heads * model.queries
    weight = FP32 if model.attention_fp32 or not sizes.half else FP32 + sizes.number
    attended = sizes.attended
    visited = [sizes.voxels(level) for level in attended]
    maps = 0.0
    if model.memory_fpn:
        # Each map is projected, resampled to (X/2, Y/4, Z/4), joined and projected once more.
        dense = sum(visited) * width * (sizes.number + FP32)
        visited = [sizes.voxels(0) // 32]
        maps = dense + visited[0] * width * FP32 * (2 * model.memory_fpn + 1)
    else:
        for level in attended[: model.decoder_layers]:
            raised = FP32 if sizes.half else 0
            centred = FP32 if len(attended) > 1 else 0
            maps += sizes.width(level) * sizes.voxels(level) * (raised + centred)
    layers = [visited[index % len(visited)] for index in range(model.decoder_layers)]
    # The gradient of a map comes with that of the weights.
    widest = [width if model.memory_fpn else sizes.width(level) for level in attended]
    gradients = max(n * (2 * rows * weight + FP32 * wide) for n, wide in zip(visited, widest, strict=False))
    masks = model.queries * MASK if model.masked_attention else 0
    tokens = sizes.samples * model.queries * (20 * width + 2 * (model.decoder_mlp or 8 * width)) * FP32
    coarse = sizes.number * sizes.width(0) * sum(visited) if model.masked_attention else 0
    return Stage(
        "attention of the queries",
        kept=maps + sum(layers) * (rows * weight + masks) + model.decoder_layers * tokens,
        lent=coarse,
        forward=float(max(layers) * rows * weight),
        backward=float(gradients),
        parameters=_query_parameters(sizes),
    )


def _query_parameters(sizes: Sizes) -> int:
    model, width = sizes.model, sizes.model.width
    attended, fused = sizes.attended, bool(model.memory_fpn)
    trained = attended if fused else attended[: model.decoder_layers]
    normed = fused or len(attended) > 1
    memory = sum(sizes.width(level) * width + width + (2 * width if normed else 0) for level in trained)
    memory += (len(attended) * width * width + width) if fused else 0
    mlp = model.decoder_mlp or 8 * width
    attention = 4 * width * (width + 1)
    scales = 2 * width if model.decoder_layer_scale != "off" else 0
    layer = 2 * attention + 6 * width + 2 * width * mlp + mlp + width + scales
    pixels = width * (sizes.width(0) + 1)
    learned = (2 * model.queries + (1 if fused else len(attended))) * width
    ends = 2 * width + (width + 1) * (sizes.channels + 1) + 3 * width * (width + 1)
    return memory + model.decoder_layers * layer + pixels + learned + ends
