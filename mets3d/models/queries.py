"""Defines the query decoder: learned queries attend to CNN feature maps, each where its own mask is, and become masks.

Masked attention of Mask2Former (arXiv 2112.01527) in 3D with the dimensions of 3D TransUNet (arXiv 2310.07781):
cross-attention, self-attention, feed-forward, post-norm. The maps are visited in turn, coarse first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mets3d.models.blocks import Attention, LayerScaleForm, layer_scale
from mets3d.models.memory import Axes, Memory, MemoryAttention, projected
from mets3d.ops.voxels import Shape3
from mets3d.shapes import PixelEmbedding, QueryOutput, raised


class QueryDecoder(nn.Module):
    """The query decoder: feature maps to one prediction from the raw queries and one after every layer.

    memory_channels: channels of the maps that queries attend to, coarse to fine. pixel_channels: channels of the
    full-resolution map. classes: without "no object". fuse: the maps are projected, brought to (X/2, Y/4, Z/4), joined
    and projected to one memory; the sizes are the original's. A single map is projected without a norm, as there.
    no_object_prior: probability of "no object" at the start, None: as drawn.
    """

    def __init__(
        self,
        memory_channels: Sequence[int],
        pixel_channels: int,
        classes: int,
        *,
        queries: int,
        no_object_prior: float | None = None,
        width: int,
        layers: int,
        heads: int,
        mlp: int,
        layer_scale: LayerScaleForm,
        masked_attention: bool,
        position_encoding: bool,
        attention_fp32: bool,
        fuse: bool,
    ):
        super().__init__()
        self.masked_attention = masked_attention
        self.position_encoding = position_encoding
        normed = fuse or len(memory_channels) > 1
        self.memory = nn.ModuleList(_projection(channels, width, normed) for channels in memory_channels)
        self.fuse = nn.Conv3d(width * len(memory_channels), width, 1) if fuse else None
        levels = 1 if fuse else len(memory_channels)
        self.pixels = PixelProjection(pixel_channels, width)
        self.query_content = nn.Parameter(torch.randn(queries, width))
        self.query_position = nn.Parameter(torch.randn(queries, width))
        self.level_embedding = nn.Parameter(torch.randn(levels, width))
        self.layers = nn.ModuleList(QueryLayer(width, heads, mlp, layer_scale, attention_fp32) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.class_head = nn.Linear(width, classes + 1)
        if no_object_prior is not None:
            _start_at(self.class_head, no_object_prior)
        self.mask_head = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)
        )
        # A map that no layer visits would leave its projection without a gradient.
        for unvisited in () if fuse else self.memory[layers:]:
            unvisited.requires_grad_(False)

    def forward(
        self, maps: Sequence[Tensor], features: Float[Tensor, "B C X Y Z"]
    ) -> tuple[tuple[QueryOutput, ...], PixelEmbedding]:
        """Returns the predictions and the pixel embedding; `maps` go with memory_channels, `features` are full size."""
        pixels = self.pixels(features)
        memories = self._memories(maps, features)
        coarse_pixels = [_at_size(pixels, memory.size) for memory in memories] if self.masked_attention else []

        position = self.query_position.expand(len(features), -1, -1)
        queries = self.query_content.expand(len(features), -1, -1)
        outputs = [self._predict(queries)]
        for index, layer in enumerate(self.layers):
            level = index % len(memories)
            allowed = None
            if self.masked_attention:
                allowed = where_masked(coarse_pixels[level], outputs[-1].mask_embedding)
            queries = layer(queries, position, memories[level], allowed)
            outputs.append(self._predict(queries))
        return tuple(outputs), pixels

    def _memories(self, maps: Sequence[Tensor], features: Tensor) -> list[Memory]:
        """Returns what the queries attend to, in fp32 where the features are of a half type."""
        if self.fuse is not None:
            x, y, z = features.shape[2:]
            size = (x // 2, y // 4, z // 4)
            dense = [project(features) for project, features in zip(self.memory, maps, strict=True)]
            resized = [F.interpolate(memory, size=size, mode="trilinear", align_corners=False) for memory in dense]
            fused = raised(self.fuse(torch.cat(resized, dim=1)))
            return [Memory(fused, None, self.level_embedding.expand(len(fused), -1), self._encoding(fused))]
        memories = []
        with torch.autocast(features.device.type, enabled=False):
            for project, visited, level in zip(
                self.memory, maps[: len(self.layers)], self.level_embedding, strict=False
            ):
                memories.append(projected(raised(visited), project, level, self._encoding(visited)))
        return memories

    def _encoding(self, memory: Tensor) -> Axes | None:
        if not self.position_encoding:
            return None
        x, y, z = memory.shape[2:]
        dtype, device = self.level_embedding.dtype, memory.device
        width = self.level_embedding.shape[-1]
        along_x, along_y, along_z = axis_encodings((x, y, z), width, device=device)
        return along_x.to(dtype), along_y.to(dtype), along_z.to(dtype)

    def _predict(self, queries: Tensor) -> QueryOutput:
        normed = self.norm(queries)
        return QueryOutput(self.class_head(normed), self.mask_head(normed))


class QueryLayer(nn.Module):
    """A layer of cross-attention, self-attention and feed-forward, each x = norm(x + branch(x)).

    With LayerScale gamma multiplies the branch of self-attention and feed-forward (`correct`); in the original the
    feed-forward's gamma multiplies the sum before the norm (`reference`). Cross-attention has none in either.
    """

    def __init__(self, width: int, heads: int, mlp: int, form: LayerScaleForm, fp32: bool):
        super().__init__()
        self.form = form
        self.cross_attention = MemoryAttention(width, heads, fp32=fp32)
        self.cross_norm = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads, fp32=fp32)
        self.self_scale = layer_scale(width, form)
        self.self_norm = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, mlp)
        self.mlp_out = nn.Linear(mlp, width)
        self.mlp_scale = layer_scale(width, form)
        self.mlp_norm = nn.LayerNorm(width)
        self._init_weights()

    def forward(
        self,
        queries: Float[Tensor, "B Q E"],
        position: Float[Tensor, "B Q E"],
        memory: Memory,
        allowed: Bool[Tensor, "B 1 Q N"] | None,
    ) -> Float[Tensor, "B Q E"]:
        queries = self.cross_norm(queries + self.cross_attention(queries + position, memory, allowed))
        placed = queries + position
        attended = self.self_attention(placed, placed, queries)
        queries = self.self_norm(queries + (attended if self.self_scale is None else self.self_scale * attended))
        fed = self.mlp_out(F.relu(self.mlp_in(queries)))
        if self.mlp_scale is None:
            joined = queries + fed
        elif self.form == "reference":
            joined = self.mlp_scale * (queries + fed)
        else:
            joined = queries + self.mlp_scale * fed
        result: Tensor = self.mlp_norm(joined)
        return result

    def _init_weights(self) -> None:
        for attention in (self.cross_attention, self.self_attention):
            for layer in (attention.query, attention.key, attention.value):
                # The three are one packed matrix [3E, E] in the original: fan-in + fan-out is 4E, not 2E.
                nn.init.xavier_uniform_(layer.weight, gain=2**-0.5)
                nn.init.zeros_(layer.bias)
            nn.init.zeros_(attention.out.bias)
        for layer in (self.mlp_in, self.mlp_out):
            nn.init.xavier_uniform_(layer.weight)


class PixelProjection(nn.Module):
    """The 1x1x1 convolution behind the pixel embedding, returned as its parts and not applied.

    The parts are clones: the output needs them later, when a sharding wrapper may have released the parameters.
    """

    def __init__(self, channels: int, width: int):
        super().__init__()
        bound = 1 / math.sqrt(channels)  # PyTorch's default for a convolution with this fan-in
        self.weight = nn.Parameter(torch.empty(width, channels).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(width).uniform_(-bound, bound))

    def forward(self, features: Float[Tensor, "B C X Y Z"]) -> PixelEmbedding:
        return PixelEmbedding(features, self.weight.clone(), self.bias.clone())


@torch.no_grad()
def where_masked(pixels: PixelEmbedding, mask_embedding: Float[Tensor, "B Q E"]) -> Bool[Tensor, "B 1 Q N"]:
    """Returns the voxels that each query may look at: those of its mask, probability at least 0.5, or else all.

    `pixels` is at the memory's size, see `_at_size`. One mask for all heads.
    """
    inside = pixels.product(mask_embedding).flatten(2).sigmoid() >= 0.5
    nowhere = ~inside.any(-1, keepdim=True)
    return (inside | nowhere)[:, None]


def axis_encodings(shape: Shape3, width: int, *, device: torch.device | None = None) -> Axes:
    """Returns the sine encoding of the positions along each axis, [n, width] in fp32; a voxel's is their sum.

    Each axis has a third of the channels, X first, and is 0 in the others. With F = width / 3 channels an axis and n
    voxels along it, channel i of voxel k = 1..n is sin or cos (i even or odd) of 2 pi k / (n + 1e-6) /
    10000^(3 floor(i / 3) / F). Frequencies change every 3 channels while sine and cosine alternate every 2: the
    original does so, and its weights rely on it.

    Raises ValueError unless width is a multiple of 6.
    """
    if width % 6:
        raise ValueError(
            f"position encoding: expected a width that is a multiple of 6 (sin and cos for 3 axes), got {width}"
        )
    share = width // 3
    channel = torch.arange(share, device=device)
    period = 10000.0 ** (3 * (channel // 3) / share)
    x, y, z = (_waves(voxels, channel, period) for voxels in shape)
    return F.pad(x, (0, 2 * share)), F.pad(y, (share, share)), F.pad(z, (2 * share, 0))


def _waves(voxels: int, channel: Tensor, period: Tensor) -> Float[Tensor, "n F"]:
    position = torch.arange(1, voxels + 1, device=channel.device, dtype=torch.float32) / (voxels + 1e-6) * (2 * math.pi)
    angle = position[:, None] / period
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos())


@torch.no_grad()
def _start_at(class_head: nn.Linear, prior: float) -> None:
    """Sets the bias to the logarithms of the classes' probabilities: `prior` for "no object", the rest shared.

    The weights become a tenth of what was drawn, or the queries, which the layers make alike, would all start beside
    it; they stay apart.
    """
    if not 0 < prior < 1:
        raise ValueError(f"no_object_prior is {prior}; expected a probability between 0 and 1, or None")
    *others, none = class_head.bias
    for bias in others:
        bias.fill_(math.log((1 - prior) / len(others)))
    none.fill_(math.log(prior))
    class_head.weight.mul_(0.1)


def _projection(channels: int, width: int, normed: bool) -> nn.Sequential:
    projection = nn.Sequential(nn.Conv3d(channels, width, 1))
    if normed:
        # 32 groups as in the original where the width allows it; narrow networks get the most that divide both.
        projection.append(nn.GroupNorm(math.gcd(32, width), width))
    return projection


def _at_size(pixels: PixelEmbedding, size: torch.Size) -> PixelEmbedding:
    """Resamples the pixel embedding to a coarser grid, without gradient.

    Trilinear resampling (align_corners False, no antialias) acts on each channel alone, so the mask logits of resampled
    features are the resampled mask logits, at the price of the few feature channels instead of all queries.
    """
    features = F.interpolate(pixels.features.detach(), size=size, mode="trilinear", align_corners=False)
    return PixelEmbedding(features, pixels.weight.detach(), pixels.bias.detach())
