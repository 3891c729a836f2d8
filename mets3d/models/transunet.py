"""Defines 3D TransUNet (arXiv 2310.07781): a U-Net with a ViT at its bottleneck, a query decoder, both or neither."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mets3d.models.blocks import LayerScaleForm, give_streams
from mets3d.models.cnn import CNNDecoder, CNNEncoder, he_init, stage_channels
from mets3d.models.queries import QueryDecoder
from mets3d.models.vit import ViTBottleneck
from mets3d.ops.voxels import Shape3
from mets3d.shapes import Image, Keys, SegOutput
from mets3d.wording import counted

Mode = Literal["cnn", "encoder", "decoder", "both"]
Activation = Literal["sigmoid", "softmax"]

VIT_MODES: tuple[Mode, ...] = ("encoder", "both")
QUERY_MODES: tuple[Mode, ...] = ("decoder", "both")
DEFAULT_MEMORY_LEVELS = (-4, -3, -2)


class TransUNet(nn.Module):
    """3D TransUNet in any of its four modes: image [B, C, X, Y, Z] to SegOutput.

    mode: `cnn` a plain U-Net; `encoder` a ViT at its bottleneck; `decoder` learned queries that become masks; `both`.
    activation: `sigmoid` for regions, `softmax` for labels; only handed on in the output.
    patch: the size the network is made for. Any other size divisible by the strides works too; the ViT's position
    embedding is interpolated. has_vit, has_queries: which transformers it has. The other arguments are described in the
    configuration's section `model`.

    In the query modes the CNN's full-resolution head would have no loss: it is built only with `frozen_cnn_head`, and
    frozen, for imported weights that hold one. Of the deep heads the coarsest, which deep supervision gives no weight,
    is built only where `deep_heads` asks for it. memory_levels None is (-4, -3, -2), as far as the network has them.

    head_bias: the probability of each region, or of each label but the background, that the CNN's heads start from, by
    their bias. None is no bias, as in the original; the configuration's default is 0.01. no_object_prior: the
    probability of "no object" that the queries start from, by the bias of their class head; None: as PyTorch draws it.

    Raises ValueError for arguments that do not go together, and for an image whose size the strides do not divide.
    """

    def __init__(
        self,
        mode: Mode,
        *,
        in_channels: int = 4,
        channels: int = 3,
        activation: Activation = "sigmoid",
        patch: Sequence[int] = (128, 128, 128),
        strides: Sequence[Sequence[int]] = ((2, 2, 2),) * 5,
        kernels: Sequence[Sequence[int]] | None = None,
        features: int = 32,
        max_features: int = 320,
        deep_supervision: bool = True,
        deep_heads: int | None = None,
        frozen_cnn_head: bool = False,
        head_bias: float | None = None,
        dropout: float = 0.0,
        vit_depth: int = 12,
        vit_width: int = 768,
        vit_mlp: int = 3072,
        vit_heads: int = 12,
        vit_dropout: float = 0.1,
        vit_layer_scale: LayerScaleForm = "off",
        queries: int = 20,
        no_object_prior: float | None = None,
        width: int = 192,
        decoder_layers: int = 3,
        decoder_heads: int = 8,
        decoder_mlp: int | None = None,
        decoder_layer_scale: LayerScaleForm = "off",
        memory_levels: Sequence[int] | None = None,
        memory_fpn: int = 0,
        masked_attention: bool = True,
        position_encoding: bool = True,
        attention_fp32: bool = True,
    ):
        # Taken from the call itself: a list written out here could miss an argument. `originals` makes settings of it.
        arguments = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__()
        self.arguments: dict[str, Any] = arguments
        _check_choices(arguments)
        self.activation = activation
        self.strides = _triples("strides", strides)
        levels = len(self.strides)
        self.total_stride = [math.prod(stride[axis] for stride in self.strides) for axis in range(3)]
        kernel_sizes = _kernels(kernels, levels)
        self.check_shape(patch)

        widths = stage_channels(levels, features, max_features)
        self.encoder = CNNEncoder(in_channels, widths, self.strides, kernel_sizes, dropout)
        self.decoder = CNNDecoder(widths, self.strides, kernel_sizes, dropout)
        self.has_vit, self.has_queries = mode in VIT_MODES, mode in QUERY_MODES
        bias = _bias(head_bias, channels, activation)
        self.head = _head(widths[0], channels, bias) if frozen_cnn_head or not self.has_queries else None
        if self.head is not None and self.has_queries:
            self.head.requires_grad_(False)
        deep = _deep_head_count(deep_supervision, deep_heads, levels)
        self.deep_heads = nn.ModuleList(_head(width_, channels, bias) for width_ in widths[1 : deep + 1])

        self.vit = None
        if self.has_vit:
            x, y, z = (size // stride for size, stride in zip(patch, self.total_stride, strict=True))
            self.vit = ViTBottleneck(
                widths[-1],
                (x, y, z),
                width=vit_width,
                depth=vit_depth,
                mlp=vit_mlp,
                heads=vit_heads,
                dropout=vit_dropout,
                layer_scale=vit_layer_scale,
            )

        self.query_decoder = None
        if self.has_queries:
            self.memory_levels = _memory_levels(memory_levels, memory_fpn, levels)
            self.query_decoder = QueryDecoder(
                [widths[::-1][level] for level in self.memory_levels],
                widths[0],
                channels,
                queries=queries,
                no_object_prior=no_object_prior,
                width=width,
                layers=decoder_layers,
                heads=decoder_heads,
                mlp=decoder_mlp or 8 * width,
                layer_scale=decoder_layer_scale,
                masked_attention=masked_attention,
                position_encoding=position_encoding,
                attention_fp32=attention_fp32,
                fuse=memory_fpn > 0,
            )
        give_streams(self)

    def forward(self, image: Image, keys: Keys | None = None) -> SegOutput:
        """Predicts; in training dropout draws from the samples' keys, without them from torch's global generator."""
        self.check_shape(image.shape[2:])
        *skips, bottleneck = self.encoder(image, keys)
        if self.vit is not None:
            bottleneck = self.vit(bottleneck, keys)
        maps = [bottleneck, *self.decoder(bottleneck, skips, keys)]  # coarse to fine
        output = SegOutput(
            self.activation,
            logits=None if self.head is None else self.head(maps[-1]),
            deep=tuple(head(features) for head, features in zip(self.deep_heads, maps[-2:0:-1], strict=False)),
        )
        if self.query_decoder is not None:
            visited = [maps[level] for level in self.memory_levels]
            output.queries, output.pixels = self.query_decoder(visited, maps[-1])
        return output

    def recompute(self, levels: int) -> None:
        """Has the backward pass compute the activations of so many of the finest levels once more.

        That saves their memory and costs a second forward pass through them.
        """
        self.encoder.recompute = self.decoder.recompute = levels

    def check_shape(self, shape: Sequence[int]) -> None:
        """Raises ValueError for an image size that the network cannot take."""
        if len(shape) != 3:
            raise ValueError(f"patch: expected three sizes X Y Z, got {tuple(shape)}")
        for axis, size, stride in zip("XYZ", shape, self.total_stride, strict=True):
            if size <= 0 or size % stride:
                raise ValueError(
                    f"the patch is {size} voxels along {axis}, not a multiple of {stride}, the product of the strides "
                    f"there; the next multiple is {(max(size, 0) // stride + 1) * stride}"
                )
        if all(size == stride for size, stride in zip(shape, self.total_stride, strict=True)):
            raise ValueError(
                f"patch {tuple(shape)} with strides {self.strides} leaves one voxel at the bottleneck, which "
                "InstanceNorm cannot normalise; use a larger patch or fewer strides"
            )


def _head(in_channels: int, channels: int, bias: Float[Tensor, " R"] | None) -> nn.Conv3d:
    head = nn.Conv3d(in_channels, channels, 1, bias=False)
    he_init(head)
    if bias is not None:  # put there afterwards, so that all weights are drawn as without one
        head.bias = nn.Parameter(bias.clone())
    return head


def _bias(prior: float | None, channels: int, activation: Activation) -> Float[Tensor, " R"] | None:
    """Returns the logits at which every region has the probability `prior`, or every label but the background.

    Most voxels are background: without it the first steps are spent on learning that, by the features (as in arXiv
    1708.02002).
    """
    if prior is None:
        return None
    rest = 1 - (prior if activation == "sigmoid" else prior * (channels - 1))
    if not (prior > 0 and rest > 0):
        most = "1" if activation == "sigmoid" else f"1 / {channels - 1}, of as many labels,"
        raise ValueError(f"head_bias is {prior}; expected a probability above 0 and below {most} or None")
    if activation == "sigmoid":
        return torch.full((channels,), math.log(prior / rest))
    return torch.tensor([math.log(rest)] + [math.log(prior)] * (channels - 1))


# ---------------------------------------------------------------- arguments


def _check_choices(arguments: dict[str, Any]) -> None:
    choices = {
        "mode": get_args(Mode),
        "activation": get_args(Activation),
        "vit_layer_scale": get_args(LayerScaleForm),
        "decoder_layer_scale": get_args(LayerScaleForm),
    }
    for name, allowed in choices.items():
        if arguments[name] not in allowed:
            raise ValueError(f"{name} is {arguments[name]!r}; expected one of {', '.join(allowed)}")
    if arguments["mode"] in VIT_MODES:
        _check_multiple(arguments, "vit_width", "vit_heads")
    if arguments["mode"] in QUERY_MODES:
        _check_multiple(arguments, "width", "decoder_heads")
        if arguments["width"] % 6:
            raise ValueError(f"width is {arguments['width']}; expected a multiple of 6, sine and cosine for three axes")


def _check_multiple(arguments: dict[str, Any], name: str, divisor: str) -> None:
    if arguments[name] % arguments[divisor]:
        raise ValueError(
            f"{name} is {arguments[name]}; expected a multiple of {divisor}, which is {arguments[divisor]}"
        )


def _triples(name: str, values: Sequence[Sequence[int]]) -> tuple[Shape3, ...]:
    for index, value in enumerate(values):
        if len(value) != 3 or min(value) < 1:
            raise ValueError(f"{name}[{index}] is {tuple(value)}; expected three positive sizes X Y Z")
    return tuple((x, y, z) for x, y, z in values)


def _kernels(kernels: Sequence[Sequence[int]] | None, levels: int) -> tuple[Shape3, ...]:
    if levels == 0:
        raise ValueError("strides is empty; expected one entry a level")
    sizes = _triples("kernels", kernels if kernels is not None else ((3, 3, 3),) * (levels + 1))
    if len(sizes) != levels + 1:
        raise ValueError(
            f"kernels has {counted(len(sizes), 'entry', 'entries')}; expected one more than strides, {levels + 1}"
        )
    for index, kernel in enumerate(sizes):
        if any(size % 2 == 0 for size in kernel):
            raise ValueError(f"kernels[{index}] is {kernel}; expected odd sizes, which keep the size of a feature map")
    return sizes


def _deep_head_count(deep_supervision: bool, deep_heads: int | None, levels: int) -> int:
    if not deep_supervision:
        return 0
    if deep_heads is None:
        return max(levels - 2, 0)
    if not 0 <= deep_heads < levels:
        raise ValueError(
            f"deep_heads is {deep_heads}; {levels} strides have 0 to {levels - 1} heads below full resolution"
        )
    return deep_heads


def _memory_levels(chosen: Sequence[int] | None, fused: int, levels: int) -> tuple[int, ...]:
    """Returns indices into the maps from the bottleneck, -(levels + 1), to full resolution, -1."""
    coarsest = -(levels + 1)
    if fused:
        if fused > levels + 1:
            raise ValueError(f"memory_fpn is {fused}; {levels} strides have {levels + 1} feature maps")
        return tuple(range(coarsest, coarsest + fused))
    if chosen is None:
        return tuple(level for level in DEFAULT_MEMORY_LEVELS if level >= coarsest)
    if not chosen or not all(coarsest <= level <= -1 for level in chosen):
        raise ValueError(
            f"memory_levels is {tuple(chosen)}; {levels} strides have the feature maps {coarsest} (bottleneck) "
            "to -1 (full resolution); name one or more of them, coarse to fine"
        )
    return tuple(chosen)
