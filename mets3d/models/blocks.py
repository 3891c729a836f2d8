"""Defines the blocks that several parts of the network have: dropout, convolution block, attention, LayerScale."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mets3d.ops.keyed import keyed_keep, random_keys, stream_of
from mets3d.ops.norm import norm_and_activate
from mets3d.ops.voxels import Shape3
from mets3d.shapes import Keys

LayerScaleForm = Literal["off", "correct", "reference"]

LAYER_SCALE_INIT = 1e-5


class Dropout(nn.Module):
    """Sets each value, or with `channels` each whole channel, to 0 with probability `drop`, and divides by 1 - drop.

    Acts in training alone. The mask of a sample follows from its key and the layer's stream; without keys it follows
    from torch's global generator. `give_streams` tells the layers of a network apart.
    """

    def __init__(self, drop: float, *, channels: bool = False):
        super().__init__()
        self.drop, self.channels = drop, channels
        self.stream = 0

    def forward(self, values: Float[Tensor, "B ..."], keys: Keys | None = None) -> Float[Tensor, "B ..."]:
        if not self.training or self.drop == 0:
            return values
        if keys is None:
            keys = random_keys(len(values), values.device)
        shape = values.shape[1:]
        drawn = [shape[0], *(1 for _ in shape[1:])] if self.channels else shape
        return torch.where(keyed_keep(keys, self.stream, drawn, self.drop), values / (1 - self.drop), 0)

    def extra_repr(self) -> str:
        """Returns what `print(network)` shows of the layer."""
        return f"{self.drop}{', channels' * self.channels}"


def give_streams(network: nn.Module) -> None:
    """Gives every dropout layer a stream of its own, a hash of its name in the network."""
    for name, module in network.named_modules():
        if isinstance(module, Dropout):
            module.stream = stream_of(name)


class Convolution(nn.Conv3d):
    """Convolves as `nn.Conv3d`, on a CPU a single sample by the same kernel as several samples.

    For one sample with C * X * Y up to 20,480 torch takes another kernel on a CPU (ATen's `ConvParams::use_mkldnn`),
    which needs up to 15 times as long and rounds differently. So windows of a volume that are run one by one, and
    processes with a sample each, compute what a batch computes.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: A002, torch's name
        if len(input) == 1 and _by_onednn(input, weight):
            sides = [int(side) for side in self.padding]
            return torch.mkldnn_convolution(input, weight, bias, sides, self.stride, self.dilation, self.groups)
        convolved: Tensor = super()._conv_forward(input, weight, bias)
        return convolved


def _by_onednn(features: Tensor, weight: Tensor) -> bool:
    """Returns whether several such samples would go to oneDNN: eager, in fp32, on a CPU that it knows."""
    return (
        not torch.compiler.is_compiling()  # first: the compiler looks no further
        and type(features) is Tensor  # no tensor that only has a shape
        and features.device.type == "cpu"
        and features.dtype == weight.dtype == torch.float32
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
    )


class ConvBlock(nn.Module):
    """Convolution, InstanceNorm, LeakyReLU(0.01), as in nnU-Net; padding keeps the size where the stride is 1."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: Shape3, stride: Shape3 = (1, 1, 1), dropout: float = 0.0
    ):
        super().__init__()
        x, y, z = kernel
        self.conv = Convolution(in_channels, out_channels, kernel, stride, (x // 2, y // 2, z // 2))
        self.dropout = Dropout(dropout, channels=True)
        self.norm = nn.InstanceNorm3d(out_channels, eps=1e-5, affine=True)
        self.activation = nn.LeakyReLU(0.01, inplace=True)

    def forward(self, features: Float[Tensor, "B C X Y Z"], keys: Keys | None = None) -> Float[Tensor, "B D x y z"]:
        return norm_and_activate(self.dropout(self.conv(features), keys), self.norm, self.activation)


class Attention(nn.Module):
    """Multi-head attention, softmax(q k / sqrt(d)) v per head, without dropout; the weights are never materialised.

    fp32: projections and softmax run with autocast off, whatever the surrounding precision.
    """

    def __init__(self, width: int, heads: int, *, fp32: bool = False):
        super().__init__()
        self.heads = heads
        self.fp32 = fp32
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)

    def forward(
        self,
        query: Float[Tensor, "B Q E"],
        key: Float[Tensor, "B N E"],
        value: Float[Tensor, "B N E"],
        allowed: Bool[Tensor, "B 1 Q N"] | None = None,
    ) -> Float[Tensor, "B Q E"]:
        """Attends; `allowed` is True where a query may look, and every row needs at least one True."""
        if not self.fp32:
            return self._attend(query, key, value, allowed)
        with torch.autocast(query.device.type, enabled=False):
            dtype = self.query.weight.dtype
            return self._attend(query.to(dtype), key.to(dtype), value.to(dtype), allowed)

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, allowed: Tensor | None) -> Tensor:
        query, key, value = self._split(self.query(query)), self._split(self.key(key)), self._split(self.value(value))
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        merged: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return merged

    def _split(self, tokens: Tensor) -> Tensor:
        batch, count, width = tokens.shape
        return tokens.reshape(batch, count, self.heads, width // self.heads).transpose(1, 2)


def layer_scale(width: int, form: LayerScaleForm) -> nn.Parameter | None:
    """Makes the gammas of a LayerScale (arXiv 2103.17239), None where it is off; the block decides where they act."""
    return None if form == "off" else nn.Parameter(torch.full((width,), LAYER_SCALE_INIT))
