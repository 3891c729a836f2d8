"""Defines the convolutional U-Net: nnU-Net's topology with strided convolutions down and transposed convolutions up.

Isensee et al., Nature Methods 2021. Two blocks a stage, features doubled per level up to a cap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, cat, nn
from torch.utils.checkpoint import checkpoint

from mets3d.models.blocks import ConvBlock
from mets3d.ops.voxels import Shape3
from mets3d.shapes import Keys


class CNNEncoder(nn.Module):
    """The way down: image [B, C, X, Y, Z] to one feature map a stage, full resolution first, the bottleneck last.

    recompute: at so many of the finest stages the backward pass computes the activations once more.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        strides: Sequence[Shape3],
        kernels: Sequence[Shape3],
        dropout: float = 0.0,
    ):
        super().__init__()
        self.recompute = 0
        first_strides: list[Shape3] = [(1, 1, 1), *strides]
        self.stages = nn.ModuleList()
        for before, after, stride, kernel in zip(
            (in_channels, *channels[:-1]), channels, first_strides, kernels, strict=True
        ):
            self.stages.append(
                nn.Sequential(
                    ConvBlock(before, after, kernel, stride, dropout), ConvBlock(after, after, kernel, dropout=dropout)
                )
            )
        self.apply(he_init)

    def forward(self, image: Float[Tensor, "B C X Y Z"], keys: Keys | None = None) -> list[Tensor]:
        maps = []
        features = image
        for level, stage in enumerate(self.stages):
            features = _through(stage, features, keys, recompute=level < self.recompute)
            maps.append(features)
        return maps


class CNNDecoder(nn.Module):
    """The way up: bottleneck and skips to one feature map a level, coarse to fine.

    Level u (0 is the deepest) is upsampled by its stride, joined with its skip as (upsampled, skip), and convolved with
    kernels[-(u + 1)]. That is nnU-Net v1's rule and not the mirror image of the encoder, whose stage at that resolution
    has kernels[-(u + 2)]; it is kept so that original weights of anisotropic networks fit.
    recompute: as in the encoder.
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[Shape3], kernels: Sequence[Shape3], dropout: float = 0.0
    ):
        super().__init__()
        self.recompute = 0
        self.upsample = nn.ModuleList()
        self.stages = nn.ModuleList()
        for u, stride in enumerate(reversed(strides)):
            below, skip = channels[-(u + 1)], channels[-(u + 2)]
            kernel = kernels[-(u + 1)]
            self.upsample.append(nn.ConvTranspose3d(below, skip, stride, stride, bias=False))
            self.stages.append(
                nn.Sequential(
                    ConvBlock(2 * skip, skip, kernel, dropout=dropout), ConvBlock(skip, skip, kernel, dropout=dropout)
                )
            )
        self.apply(he_init)

    def forward(
        self, bottleneck: Float[Tensor, "B C X Y Z"], skips: Sequence[Tensor], keys: Keys | None = None
    ) -> list[Tensor]:
        maps = []
        features: Tensor = bottleneck
        levels = range(len(self.stages) - 1, -1, -1)
        for level, upsample, stage, skip in zip(levels, self.upsample, self.stages, reversed(skips), strict=True):
            features = _joined(upsample, stage, features, skip, keys, recompute=level < self.recompute)
            maps.append(features)
        return maps


def _joined(
    upsample: nn.Module, stage: nn.Module, features: Tensor, skip: Tensor, keys: Keys | None, *, recompute: bool
) -> Tensor:
    if recompute and torch.is_grad_enabled():
        return _recomputed(lambda below, beside: _joined(upsample, stage, below, beside, keys, recompute=False))(
            features, skip
        )
    return _through(stage, cat((upsample(features), skip), dim=1), keys, recompute=False)


def _through(stage: nn.Module, features: Tensor, keys: Keys | None, *, recompute: bool) -> Tensor:
    if recompute and torch.is_grad_enabled():
        return _recomputed(lambda before: _through(stage, before, keys, recompute=False))(features)
    for block in stage.children():
        features = block(features, keys)
    return features


def _recomputed(run: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Returns `run` with its inputs kept for the backward pass and nothing else; the rest is computed once more."""
    return lambda *inputs: checkpoint(run, *inputs, use_reentrant=False)


def stage_channels(levels: int, features: int, max_features: int) -> list[int]:
    """Returns the channels of each stage from full resolution to the bottleneck."""
    return [min(features * 2**level, max_features) for level in range(levels + 1)]


def he_init(module: nn.Module) -> None:
    """Initialises a convolution: Kaiming-normal weights for a LeakyReLU of slope 0.01, zero biases."""
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
