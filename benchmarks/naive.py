"""The same network and loss written down plainly, as published code computes them; only imported, for comparisons.

The pixel embedding is a volume of `width` channels; every prediction has the mask logits of all its queries at full
resolution; attention masks are these, brought to the memory's size; keys and values are projected volumes; the loss
matches and scores one prediction after the other. Parameters are those of a `TransUNet`, and so are the results.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mets3d.losses.region import downsampled, region_loss
from mets3d.models.blocks import Attention
from mets3d.models.queries import QueryDecoder, QueryLayer, axis_encodings
from mets3d.models.transunet import TransUNet
from mets3d.shapes import raised

WEIGHTS = (2.0, 5.0, 5.0)  # of class, BCE and Dice


def naive_loss(network: TransUNet, image: Tensor, target: Tensor) -> Tensor:
    """The base loss of a batch, as `base_loss` of `network(image)`."""
    *skips, bottleneck = network.encoder(image)
    if network.vit is not None:
        bottleneck = network.vit(bottleneck)
    maps = [bottleneck, *network.decoder(bottleneck, skips)]
    deep = [head(features) for head, features in zip(network.deep_heads, maps[-2:0:-1], strict=False)]
    if network.query_decoder is None:
        assert network.head is not None
        main = torch.stack(list(region_loss(network.head(maps[-1]), target).values())).sum()
    else:
        predictions = decode(network.query_decoder, [maps[level] for level in network.memory_levels], maps[-1])
        main = query_loss(predictions, target)
    shares = [0.5**level for level in range(1 + len(deep))]
    of_deep = 1.0 if network.query_decoder is None else 0.5
    total = main * shares[0]
    for share, logits in zip(shares[1:], deep, strict=True):
        parts = region_loss(logits, downsampled(target, logits.shape[2:]))
        total = total + share * of_deep * torch.stack(list(parts.values())).sum()
    return total / sum(shares)


def decode(decoder: QueryDecoder, maps: list[Tensor], features: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Class logits [B, Q, R + 1] and mask logits [B, Q, X, Y, Z] of every prediction."""
    embedding = F.conv3d(features, decoder.pixels.weight[:, :, None, None, None], decoder.pixels.bias)
    values, keys = [], []
    for project, visited, level in zip(decoder.memory, maps, decoder.level_embedding, strict=True):
        memory = project(visited)
        x, y, z = axis_encodings(tuple(memory.shape[2:]), memory.shape[1], device=memory.device)
        values.append(memory.flatten(2).transpose(1, 2) + level)
        keys.append(values[-1] + (x[:, None, None] + y[:, None] + z).flatten(0, 2))
    position = decoder.query_position.expand(len(features), -1, -1)
    queries = decoder.query_content.expand(len(features), -1, -1)
    predictions = [predict(decoder, queries, embedding)]
    for index, layer in enumerate(cast("Iterable[QueryLayer]", decoder.layers)):
        level = index % len(maps)
        with torch.no_grad():
            size = maps[level].shape[2:]
            coarse = F.interpolate(raised(predictions[-1][1]), size=size, mode="trilinear", align_corners=False)
            allowed = coarse.flatten(2).sigmoid() >= 0.5
            allowed = allowed | ~allowed.any(-1, keepdim=True)
        queries = attend(layer, queries, position, keys[level], values[level], allowed[:, None])
        predictions.append(predict(decoder, queries, embedding))
    return predictions


def predict(decoder: QueryDecoder, queries: Tensor, embedding: Tensor) -> tuple[Tensor, Tensor]:
    normed = decoder.norm(queries)
    return decoder.class_head(normed), torch.einsum("bqe,bexyz->bqxyz", decoder.mask_head(normed), embedding)


def attend(layer: QueryLayer, queries: Tensor, position: Tensor, key: Tensor, value: Tensor, allowed: Tensor) -> Tensor:
    seen = Attention.forward(layer.cross_attention, queries + position, key, value, allowed)
    queries = layer.cross_norm(queries + seen)
    placed = queries + position
    queries = layer.self_norm(queries + layer.self_attention(placed, placed, queries))
    normed: Tensor = layer.mlp_norm(queries + layer.mlp_out(F.relu(layer.mlp_in(queries))))
    return normed


def query_loss(predictions: list[tuple[Tensor, Tensor]], target: Tensor) -> Tensor:
    target = target.to(raised(predictions[-1][1]).dtype)
    losses = [of_prediction(raised(classes), raised(masks), target) for classes, masks in predictions]
    return (losses[-1] + torch.stack(losses[:-1]).mean()) / 2


def of_prediction(classes: Tensor, masks: Tensor, target: Tensor) -> Tensor:
    number = max(int((target.flatten(2).amax(-1) > 0).sum()), 1)
    wanted = torch.full(classes.shape[:2], classes.shape[-1] - 1, device=classes.device)
    bce, dice = masks.sum() * 0, masks.sum() * 0
    for sample in range(len(target)):
        channels = [channel for channel in range(target.shape[1]) if target[sample, channel].any()]
        if not channels:
            continue
        queries, columns = assign(classes[sample].detach(), masks[sample].detach().flatten(1), target[sample], channels)
        for query, column in zip(queries, columns, strict=True):
            wanted[sample, query] = channels[column]
            logits, truth = masks[sample, query], target[sample, channels[column]]
            inside = logits.sigmoid()
            bce = bce + F.binary_cross_entropy_with_logits(logits, truth)
            dice = dice + 1 - (2 * (inside * truth).sum() + 1) / (inside.sum() + truth.sum() + 1)
    entropy = F.cross_entropy(classes.flatten(0, 1), wanted.flatten(), reduction="sum") / wanted.numel()
    of_class, of_bce, of_dice = WEIGHTS
    return (of_class * entropy + of_bce * bce / number + of_dice * dice / number) / 10


def assign(classes: Tensor, logits: Tensor, target: Tensor, channels: list[int]) -> tuple[list[int], list[int]]:
    truth = target[channels].flatten(1).t()
    positive, negative = F.softplus(-logits), F.softplus(logits)
    bce = (positive @ truth + negative @ (1 - truth)) / logits.shape[-1]
    inside = logits.sigmoid()
    dice = 1 - (2 * inside @ truth + 1) / (inside.sum(-1, keepdim=True) + truth.sum(0) + 1)
    of_class, of_bce, of_dice = WEIGHTS
    cost = of_bce * bce + of_dice * dice - of_class * classes.softmax(-1)[:, channels]
    queries, columns = linear_sum_assignment(cost.cpu().numpy())
    return queries.tolist(), columns.tolist()
