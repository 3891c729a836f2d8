"""Defines the feature maps that queries attend to, and attention to them without keys and values ever being made.

Keys and values are linear in a map's channels: a 1x1x1 convolution, a normalisation, the attention's own projections. A
score is then a sum over the map's few channels with weights that are worked out once a query and head, and a position
encoding that is a sum of one term an axis needs no volume at all. With 64 channels and a width of 192 that is a fifth
of the arithmetic; keys and values, three volumes of 192 channels a map, are never stored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mets3d.models.blocks import Attention
from mets3d.products import mix, overlap

Axes = tuple[Float[Tensor, "x E"], Float[Tensor, "y E"], Float[Tensor, "z E"]]


@dataclass(frozen=True)
class Memory:
    """A feature map as queries see it. At each voxel the value is `matrix` times its channels plus `offset`.

    The key is the value plus the sum of the voxel's encodings along the three axes, where there are any.
    matrix None: the features are the values but for the offset.
    """

    features: Float[Tensor, "B C X Y Z"]
    matrix: Float[Tensor, "B E C"] | None
    offset: Float[Tensor, "B E"]
    encoding: Axes | None = None

    @property
    def size(self) -> torch.Size:
        """Returns the number of voxels along X, Y and Z."""
        return self.features.shape[2:]


class MemoryAttention(Attention):
    """Multi-head attention of queries to a memory; parameters and result are those of `Attention` on keys and values.

    The softmax weights, [B, heads x Q, N], are stored once.
    """

    def forward(  # type: ignore[override]
        self, queries: Float[Tensor, "B Q E"], memory: Memory, allowed: Bool[Tensor, "B 1 Q N"] | None = None
    ) -> Float[Tensor, "B Q E"]:
        """Attends; `allowed` is True where a query may look, and every row needs at least one True."""
        device = queries.device.type
        half = not self.fp32 and torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if half else self.query.weight.dtype
        with torch.autocast(device, enabled=False):
            channels = memory.features.flatten(2).to(dtype)
            weights = self._weights(queries.to(dtype), memory, channels, allowed)
            mean = overlap(weights, channels).to(memory.offset.dtype)
            if memory.matrix is not None:
                mean = mean @ memory.matrix.transpose(1, 2)
            # The weights of a query sum to 1, so the offset passes as it is.
            seen = (mean + memory.offset[:, None]).to(dtype)
            seen = torch.unflatten(seen, 1, (self.heads, -1))
            value = _by_head(self.value.weight, self.heads).to(dtype)
            attended = seen @ value.transpose(1, 2) + self.value.bias.to(dtype).view(self.heads, 1, -1)
            return _linear(self.out, attended.transpose(1, 2).flatten(2))

    def _weights(
        self, queries: Tensor, memory: Memory, channels: Float[Tensor, "B C N"], allowed: Tensor | None
    ) -> Float[Tensor, "B H N"]:
        """Returns the softmax over voxels of q k / sqrt(d) for each of the H = heads x Q rows."""
        query = self._split(_linear(self.query, queries)) / math.sqrt(queries.shape[-1] // self.heads)
        # Weights of the key's channels: the query carried back through the key's projection.
        of_key = (query @ _by_head(self.key.weight, self.heads).to(query.dtype)).flatten(1, 2)
        of_bias = (query @ self.key.bias.to(query.dtype).view(self.heads, -1, 1)).flatten(1)
        of_value = of_key.to(memory.offset.dtype)
        constant = of_bias + (of_value @ memory.offset[..., None]).squeeze(-1).to(query.dtype)
        folded = of_key if memory.matrix is None else (of_value @ memory.matrix).to(query.dtype)
        x, y, z = memory.size
        rows = (self.heads, queries.shape[1])
        scores = mix(folded, channels, (*rows, x * y, z))
        plane = constant.view(len(scores), *rows, 1, 1)
        if memory.encoding is not None:
            along_x, along_y, along_z = (of_key @ axis.to(of_key.dtype).transpose(0, 1) for axis in memory.encoding)
            plane = (along_x[..., None] + along_y[..., None, :]).view(len(scores), *rows, x * y, 1) + plane
            scores += along_z.view(len(scores), *rows, 1, z)  # in place: the product itself is not needed again
        scores += plane
        if allowed is not None:
            scores.masked_fill_(~allowed.view(len(scores), 1, rows[1], x * y, z), -math.inf)
        flat = scores.flatten(1, 2).flatten(2)
        return flat.softmax(-1, dtype=torch.promote_types(flat.dtype, torch.float32)).to(flat.dtype)


def projected(
    features: Float[Tensor, "B C X Y Z"], projection: nn.Module, level: Float[Tensor, " E"], encoding: Axes | None
) -> Memory:
    """Returns the memory whose values are `projection` of the features plus the embedding of their level.

    A 1x1x1 convolution, alone or before a GroupNorm, becomes matrix and offset. Any other module is applied, as in an
    exported copy of the network, which has a norm of its own.
    """
    parts = list(projection.children())
    match parts:
        case [nn.Conv3d() as convolution]:
            matrix, offset = _of_convolution(convolution, len(features))
        case [nn.Conv3d() as convolution, nn.GroupNorm() as norm]:
            matrix, offset = _of_normed_convolution(features, convolution, norm)
        case _:
            return Memory(projection(features), None, level.expand(len(features), -1), encoding)
    return Memory(features, matrix, offset + level, encoding)


def _of_convolution(convolution: nn.Conv3d, batch: int) -> tuple[Float[Tensor, "B E C"], Float[Tensor, "B E"]]:
    assert convolution.bias is not None
    return convolution.weight.flatten(1).expand(batch, -1, -1), convolution.bias.expand(batch, -1)


def _of_normed_convolution(
    features: Float[Tensor, "B C X Y Z"], convolution: nn.Conv3d, norm: nn.GroupNorm
) -> tuple[Float[Tensor, "B E C"], Float[Tensor, "B E"]]:
    """Returns matrix and offset of a convolution and the norm behind it, whose scale depends on the sample.

    Mean and variance of every projected channel follow from those of the features: W mu + b, and the diagonal of
    W cov W^T. Those of a group of channels follow from its channels'.
    """
    assert convolution.bias is not None
    weight, bias, groups = convolution.weight.flatten(1), convolution.bias, (norm.num_groups, -1)
    channels = features.flatten(2)
    mean = channels.mean(-1)
    centred = channels - mean[..., None]  # the difference of moments would lose a small variance beside a large mean
    # A view, since the compiler takes no function of one tensor twice.
    covariance = overlap(centred, centred.view_as(centred)) / channels.shape[-1]
    means = torch.unflatten(mean @ weight.t() + bias, 1, groups)
    variances = torch.unflatten(((weight @ covariance) * weight).sum(-1), 1, groups)
    centre = means.mean(-1, keepdim=True)
    variance = (variances + (means - centre).square()).mean(-1, keepdim=True)
    scale = (variance + norm.eps).rsqrt().expand_as(means).flatten(1) * norm.weight
    offset = scale * (torch.unflatten(bias, 0, groups) - centre).flatten(1) + norm.bias
    return scale[..., None] * weight, offset


def _by_head(weight: Float[Tensor, "E F"], heads: int) -> Float[Tensor, "H d F"]:
    return torch.unflatten(weight, 0, (heads, -1))


def _linear(layer: nn.Linear, values: Tensor) -> Tensor:
    return F.linear(values, layer.weight.to(values.dtype), layer.bias.to(values.dtype))
