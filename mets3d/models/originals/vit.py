"""Loads pretrained ViT weights in Google's npz layout (ViT-B/16 and its hybrids) into the network's ViT."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

import torch
import torch.nn.functional as F
from torch import Tensor

from mets3d.models.transunet import TransUNet

_NPZ_NAMES = [
    (r"norm\.weight", "encoder_norm/scale"),
    (r"norm\.bias", "encoder_norm/bias"),
    (r"blocks\.(\d+)\.attention_norm\.weight", r"encoderblock_\1/LayerNorm_0/scale"),
    (r"blocks\.(\d+)\.attention_norm\.bias", r"encoderblock_\1/LayerNorm_0/bias"),
    (r"blocks\.(\d+)\.attention\.(\w+)\.weight", r"encoderblock_\1/MultiHeadDotProductAttention_1/\2/kernel"),
    (r"blocks\.(\d+)\.attention\.(\w+)\.bias", r"encoderblock_\1/MultiHeadDotProductAttention_1/\2/bias"),
    (r"blocks\.(\d+)\.mlp_norm\.weight", r"encoderblock_\1/LayerNorm_2/scale"),
    (r"blocks\.(\d+)\.mlp_norm\.bias", r"encoderblock_\1/LayerNorm_2/bias"),
    (r"blocks\.(\d+)\.mlp_in\.weight", r"encoderblock_\1/MlpBlock_3/Dense_0/kernel"),
    (r"blocks\.(\d+)\.mlp_in\.bias", r"encoderblock_\1/MlpBlock_3/Dense_0/bias"),
    (r"blocks\.(\d+)\.mlp_out\.weight", r"encoderblock_\1/MlpBlock_3/Dense_1/kernel"),
    (r"blocks\.(\d+)\.mlp_out\.bias", r"encoderblock_\1/MlpBlock_3/Dense_1/bias"),
    (r"position", "posembed_input/pos_embedding"),
]


def load_vit_npz(network: TransUNet, path: Path) -> None:
    """Loads the blocks and norms of a ViT in Google's npz layout into the network's ViT.

    The first `vit_depth` blocks are taken; the token embedding stays as it is, since its input differs. The file's
    position embedding is that of a 2-D image: the class token is dropped, the square grid is resampled bilinearly to
    the bottleneck's X and Y and repeated along Z (the original stretches the flat list of 196 tokens instead, which
    keeps no neighbourhood). LayerScale gammas are not in such files and keep their values.

    Raises FileNotFoundError, and ValueError for a network without a ViT or a file that does not fit it.
    """
    import numpy as np

    if network.vit is None:
        raise ValueError(f"{path}: the network has no ViT (mode {network.arguments['mode']}); use mode encoder or both")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected ViT weights as .npz in Google's layout")
    try:
        with np.load(path) as archive:
            found = {key: torch.from_numpy(np.asarray(archive[key], dtype=np.float32)) for key in archive.files}
    except (ValueError, AttributeError, TypeError, EOFError, BadZipFile):
        raise ValueError(f"{path}: expected an .npz archive of arrays (ViT weights in Google's layout)") from None
    own = {key: value for key, value in network.vit.state_dict().items() if _npz_name(key)}
    names = {key: str(_npz_name(key)) for key in own}
    missing = [name for name in names.values() if name not in found]
    if missing:
        raise ValueError(
            f"{path}: {len(missing)} of the {len(own)} arrays for {len(network.vit.blocks)} blocks are missing "
            f"({', '.join(missing[:3])} ...); expected ViT weights in Google's layout with at least as many blocks"
        )
    loaded = {key: _from_npz(key, found[names[key]], network.vit.position.shape[2:]) for key in own}
    misshapen = [
        f"{names[key]} is {tuple(found[names[key]].shape)}, which makes {tuple(loaded[key].shape)}; "
        f"the network needs {tuple(value.shape)}"
        for key, value in own.items()
        if loaded[key].shape != value.shape
    ]
    if misshapen:
        raise ValueError(f"{path}: sizes differ from vit_width or vit_mlp: {'; '.join(misshapen[:3])}")
    network.vit.load_state_dict(loaded, strict=False)


def _npz_name(own: str) -> str | None:
    """Returns Google's name of a tensor of our ViT, None if such a file does not hold it."""
    for pattern, name in _NPZ_NAMES:
        match = re.fullmatch(pattern, own)
        if match:
            return "Transformer/" + match.expand(name)
    return None


def _from_npz(own: str, value: Tensor, grid: Sequence[int]) -> Tensor:
    """Brings an array to our shape: kernels [in, out], [in, heads, d] or [heads, d, out] become [out, in]."""
    if own == "position":
        return _on_grid(value, grid)
    if own.endswith(".out.weight"):
        return value.flatten(0, -2).T
    if own.endswith(".weight") and value.ndim > 1:
        return value.flatten(1).T
    return value.flatten()


def _on_grid(value: Tensor, grid: Sequence[int]) -> Tensor:
    tokens = value.shape[1]
    side = math.isqrt(tokens)
    if tokens - side * side > 1:
        raise ValueError(
            f"ViT weights: a position embedding of {tokens} tokens; expected a square, or one more (class)"
        )
    square = value[:, -(side * side) :].transpose(1, 2).reshape(1, -1, side, side)
    plane = F.interpolate(square, size=tuple(grid[:2]), mode="bilinear", align_corners=False)
    return plane[..., None].expand(*plane.shape, grid[2])
