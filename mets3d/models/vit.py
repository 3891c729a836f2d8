"""Defines the ViT at the bottleneck: each voxel of the coarsest feature map is a token.

Pre-norm blocks as in arXiv 2010.11929 (LayerNorm eps 1e-6, exact GELU), no class token. The result replaces the feature
map; there is no residual around the whole.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from mets3d.models.blocks import Attention, Dropout, LayerScaleForm, layer_scale
from mets3d.ops.voxels import Shape3
from mets3d.shapes import Keys


class ViTBottleneck(nn.Module):
    """The ViT: feature map [B, C, X, Y, Z] to one of the same shape.

    The learned position embedding lives on `grid`, the bottleneck's size for the patch the network is made for; on
    another size it is interpolated trilinearly.
    """

    def __init__(
        self,
        channels: int,
        grid: Shape3,
        *,
        width: int,
        depth: int,
        mlp: int,
        heads: int,
        dropout: float,
        layer_scale: LayerScaleForm,
    ):
        super().__init__()
        self.embed = nn.Conv3d(channels, width, 1)
        self.position = nn.Parameter(torch.zeros(1, width, *grid))
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(ViTBlock(width, mlp, heads, dropout, layer_scale) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.project = nn.Conv3d(width, channels, 1)

    def forward(self, features: Float[Tensor, "B C X Y Z"], keys: Keys | None = None) -> Float[Tensor, "B C X Y Z"]:
        grid = features.shape[2:]
        position: Tensor = self.position
        if position.shape[2:] != grid:
            position = F.interpolate(position, size=grid, mode="trilinear", align_corners=False)
        embedded = self.embed(features) + position
        tokens: Tensor = self.dropout(embedded.flatten(2).transpose(1, 2), keys)
        for block in self.blocks:
            tokens = block(tokens, keys)
        tokens = self.norm(tokens)
        result: Tensor = self.project(tokens.transpose(1, 2).reshape(embedded.shape))
        return result


class ViTBlock(nn.Module):
    """A block: x = join(x, attention(norm(x))), then x = join(x, mlp(norm(x))).

    join(x, branch) is x + branch; with LayerScale x + gamma branch (`correct`), or gamma x + branch as in the original
    3D TransUNet (`reference`, needed for its weights).
    """

    def __init__(self, width: int, mlp: int, heads: int, dropout: float, form: LayerScaleForm):
        super().__init__()
        self.form = form
        self.attention_norm = nn.LayerNorm(width, eps=1e-6)
        self.attention = Attention(width, heads)
        self.attention_scale = layer_scale(width, form)
        self.mlp_norm = nn.LayerNorm(width, eps=1e-6)
        self.mlp_in = nn.Linear(width, mlp)
        self.mlp_out = nn.Linear(mlp, width)
        self.mlp_scale = layer_scale(width, form)
        self.hidden_dropout = Dropout(dropout)
        self.dropout = Dropout(dropout)
        for layer in (self.mlp_in, self.mlp_out):
            nn.init.xavier_uniform_(layer.weight)

    def forward(self, tokens: Float[Tensor, "B N E"], keys: Keys | None = None) -> Float[Tensor, "B N E"]:
        normed = self.attention_norm(tokens)
        tokens = self._join(tokens, self.attention(normed, normed, normed), self.attention_scale)
        hidden = self.hidden_dropout(F.gelu(self.mlp_in(self.mlp_norm(tokens))), keys)
        return self._join(tokens, self.dropout(self.mlp_out(hidden), keys), self.mlp_scale)

    def _join(self, tokens: Tensor, branch: Tensor, gamma: Tensor | None) -> Tensor:
        if gamma is None:
            return tokens + branch
        return gamma * tokens + branch if self.form == "reference" else tokens + gamma * branch
