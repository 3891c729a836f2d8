"""Defines the convolutional U-Net: nnU-Net's topology with strided convolutions down and transposed convolutions up.

Isensee et al., Nature Methods 2021. Two blocks a stage, features doubled per level up to a cap.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, cat, nn

from mets3d.models.blocks import ConvBlock
from mets3d.ops.voxels import Shape3
from mets3d.shapes import Keys


class CNNEncoder(nn.Module):
    """The way down: image [B, C, X, Y, Z] to one feature map a stage, full resolution first, the bottleneck last."""

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        strides: Sequence[Shape3],
        kernels: Sequence[Shape3],
        dropout: float = 0.0,
    ):
        super().__init__()
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
        for stage in self.stages:
            features = _through(stage, features, keys)
            maps.append(features)
        return maps


class CNNDecoder(nn.Module):
    """The way up: bottleneck and skips to one feature map a level, coarse to fine.

    Level u (0 is the deepest) is upsampled by its stride, joined with its skip as (upsampled, skip), and convolved with
    kernels[-(u + 1)]. That is nnU-Net v1's rule and not the mirror image of the encoder, whose stage at that resolution
    has kernels[-(u + 2)]; it is kept so that original weights of anisotropic networks fit.
    """

    def __init__(
        self, channels: Sequence[int], strides: Sequence[Shape3], kernels: Sequence[Shape3], dropout: float = 0.0
    ):
        super().__init__()
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
        for upsample, stage, skip in zip(self.upsample, self.stages, reversed(skips), strict=True):
            features = _through(stage, cat((upsample(features), skip), dim=1), keys)
            maps.append(features)
        return maps


def _through(stage: nn.Module, features: Tensor, keys: Keys | None) -> Tensor:
    for block in stage.children():
        features = block(features, keys)
    return features


def stage_channels(levels: int, features: int, max_features: int) -> list[int]:
    """Returns the channels of each stage from full resolution to the bottleneck."""
    return [min(features * 2**level, max_features) for level in range(levels + 1)]


def he_init(module: nn.Module) -> None:
    """Initialises a convolution: Kaiming-normal weights for a LeakyReLU of slope 0.01, zero biases."""
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
