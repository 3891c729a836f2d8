"""Computes the query decoder's loss: a Hungarian match of queries to target masks, then losses on classes and masks.

Mask2Former's set loss (arXiv 2112.01527) with the weights, dense masks and mean over predictions of 3D TransUNet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from mets3d.losses.value import count_masks
from mets3d.ops.keyed import keyed_uniform, random_keys, stream_of
from mets3d.shapes import Keys, PixelEmbedding, QueryOutput, SegOutput, raised

TargetMasks = Bool[Tensor, "B R X Y Z"] | Float[Tensor, "B R X Y Z"]
Normaliser = Float[Tensor, ""] | float | int | None
Pairing = Literal["reference", "correct"]

# PointRend (arXiv 1912.08193): candidates a point, and the share of points that are the least certain candidates.
OVERSAMPLING = 3
IMPORTANCE = 0.75


def query_loss(
    output: SegOutput,
    target: TargetMasks,
    *,
    masks: Normaliser = None,
    class_weight: float = 2.0,
    bce_weight: float = 5.0,
    dice_weight: float = 5.0,
    no_object_weight: float | None = None,
    points: int = 0,
    keys: Keys | None = None,
    pairing: Pairing = "reference",
) -> Float[Tensor, ""]:
    """Returns the Hungarian loss of all predictions of `output`, (final + mean of the earlier ones) / 2.

    Arguments and errors are those of `query_parts`, whose sum this is.
    """
    parts = query_parts(
        output,
        target,
        masks=masks,
        class_weight=class_weight,
        bce_weight=bce_weight,
        dice_weight=dice_weight,
        no_object_weight=no_object_weight,
        points=points,
        keys=keys,
        pairing=pairing,
    )
    return torch.stack(list(parts.values())).sum()


def query_parts(
    output: SegOutput,
    target: TargetMasks,
    *,
    masks: Normaliser = None,
    class_weight: float = 2.0,
    bce_weight: float = 5.0,
    dice_weight: float = 5.0,
    no_object_weight: float | None = None,
    points: int = 0,
    keys: Keys | None = None,
    pairing: Pairing = "reference",
) -> dict[str, Float[Tensor, ""]]:
    """Returns the parts `query_class`, `query_bce` and `query_dice`, weighted so that their sum is the loss.

    A prediction's loss is (class_weight CE + bce_weight BCE + dice_weight Dice) / 10. CE is over all B x Q queries; an
    unmatched one has the class "no object" with weight no_object_weight (None: 1). BCE (mean over voxels) and Dice,
    1 - (2 sum pt + 1) / (sum p + sum t + 1), are summed over matched queries and divided by the number of masks. A
    target channel with any voxel above 0 is a mask; an empty channel is matched to nothing. In label mode the
    background is a channel like any other.

    masks: that number. None is max(masks in this batch, 1). For a batch that is split over processes and accumulation
    steps, hand in max(masks in the global batch, 1) / number of parts: the mean of the parts' losses is then that of
    the whole. The class term's denominator is masks + (B Q - masks) no_object_weight.
    points: positions sampled per mask for BCE and Dice as in PointRend; 0 takes every voxel. Matching always does.
    keys: of the samples. The points of a sample follow from its key and the number of the prediction, not from what
    lies beside it in the batch; without keys they follow from torch's global generator.
    pairing: `correct` trains each query towards the mask it was matched to. `reference` does as the original: of the
    match only the set of queries is kept, and in ascending order they are given the present channels in ascending
    order. Both agree where the match is in that order.

    Without any mask the loss is the class term alone, and all other parameters have a gradient of zero. Raises
    ValueError for an output without queries and for a target with another number of channels or another size.
    """
    pixels = _checked(output, target)
    with torch.autocast(target.device.type, enabled=False):
        pixels = replace(pixels, features=raised(pixels.features))  # once, not once a prediction
        target = target.to(pixels.features.dtype)  # fp32, or fp64
        weights = (class_weight, bce_weight, dice_weight)
        assigned = match(output.queries, pixels, target, weights=weights, pairing=pairing)
        number = count_masks(target).clamp(min=1) if masks is None else masks
        parts = []
        for index, (prediction, query_of_mask) in enumerate(zip(output.queries, assigned, strict=True)):
            entropy = _class_loss(prediction.class_logits, query_of_mask, number, no_object_weight)
            sample = None
            if points:
                keys = random_keys(len(target), target.device) if keys is None else keys
                sample = partial(_sampled, points=points, keys=keys, stream=stream_of(f"points/{index}"))
            bce, dice = _mask_losses(prediction, pixels, target, query_of_mask, number, sample)
            terms = zip(weights, (entropy, bce, dice), strict=True)
            parts.append(torch.stack([weight * term for weight, term in terms]) / 10)
        *earlier, final = parts
        total = (final + torch.stack(earlier).mean(0)) / 2 if earlier else final
    return dict(zip(("query_class", "query_bce", "query_dice"), total, strict=True))


# ---------------------------------------------------------------- matching


@torch.no_grad()
def match(
    predictions: tuple[QueryOutput, ...],
    pixels: PixelEmbedding,
    target: Float[Tensor, "B R X Y Z"],
    *,
    weights: tuple[float, float, float] = (2.0, 5.0, 5.0),
    pairing: Pairing = "correct",
) -> list[Integer[Tensor, "B R"]]:
    """Returns for each prediction the query matched to each target channel, -1 for an empty channel.

    weights: of class, BCE and Dice in the cost; pairing: see `query_parts`. Dense, in fp32. The costs of all
    predictions go to the host together, so that there is one wait a step.
    """
    present = (target > 0).flatten(2).any(-1)
    costs = [_costs(prediction, pixels, target, weights) for prediction in predictions]
    together = torch.cat([torch.stack(costs).flatten(), present.flatten().float()]).cpu().numpy()
    shape = (len(predictions), *costs[0].shape)
    cost = together[: int(np.prod(shape))].reshape(shape)
    on_host = _assign(cost, together[cost.size :].reshape(present.shape) > 0, pairing)
    return list(torch.from_numpy(on_host).to(target.device))


def _costs(
    prediction: QueryOutput,
    pixels: PixelEmbedding,
    target: Tensor,
    weights: tuple[float, float, float],
) -> Float[Tensor, "B Q R"]:
    """Returns the cost of matching each query to each channel: `weights` times -class probability, BCE and Dice.

    BCE(x, t) = softplus(x) - x t, so that its sums over voxels, like those of Dice, are one matrix product.
    """
    probability = raised(prediction.class_logits).softmax(-1)[..., :-1]
    logits = pixels.product(prediction.mask_embedding).flatten(2)
    masks = target.flatten(2).transpose(1, 2)
    bce = (F.softplus(logits).sum(-1, keepdim=True) - logits @ masks) / logits.shape[-1]
    inside = logits.sigmoid()
    sizes = inside.sum(-1, keepdim=True) + masks.sum(1, keepdim=True)
    dice = 1 - (2 * inside @ masks + 1) / (sizes + 1)
    of_class, of_bce, of_dice = weights
    return (of_dice * dice + of_bce * bce - of_class * probability).float()


def _assign(cost: np.ndarray, present: np.ndarray, pairing: Pairing) -> np.ndarray:
    """Assigns queries to the present channels: [P, B, Q, R] costs and [B, R] flags to [P, B, R], -1 for no query."""
    from scipy.optimize import linear_sum_assignment

    # A non-finite loss is for the training loop to skip; the assignment must not be what fails.
    cost = np.nan_to_num(cost, nan=1e9, posinf=1e9, neginf=-1e9)
    assigned = np.full((len(cost), *present.shape), -1, dtype=np.int64)
    for prediction, of_samples in enumerate(cost):
        for sample, (of_queries, is_present) in enumerate(zip(of_samples, present, strict=True)):
            channels = np.flatnonzero(is_present)
            query, column = linear_sum_assignment(of_queries[:, channels])
            if pairing == "reference":
                column.sort()  # `query` ascends already
            assigned[prediction, sample, channels[column]] = query
    return assigned


# ---------------------------------------------------------------- losses of one prediction


def _class_loss(
    class_logits: Float[Tensor, "B Q K"],
    query_of_mask: Integer[Tensor, "B R"],
    number: Tensor | float,
    no_object_weight: float | None,
) -> Float[Tensor, ""]:
    batch, queries, classes = class_logits.shape
    no_object = classes - 1
    weight_of_none = 1.0 if no_object_weight is None else no_object_weight
    # An empty channel writes its class to a query beyond the last, which is cut off.
    slot = torch.where(query_of_mask < 0, queries, query_of_mask)
    wanted = torch.full((batch, queries + 1), no_object, device=class_logits.device)
    wanted = wanted.scatter(1, slot, torch.arange(no_object, device=slot.device).expand_as(slot))[:, :queries]
    logits = raised(class_logits)
    weights = torch.ones(classes, dtype=logits.dtype, device=logits.device)
    weights[no_object] = weight_of_none
    total = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), weights, reduction="sum")
    return total / (number + (batch * queries - number) * weight_of_none)


def _mask_losses(
    prediction: QueryOutput,
    pixels: PixelEmbedding,
    target: Tensor,
    query_of_mask: Integer[Tensor, "B R"],
    number: Tensor | float,
    sample: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Returns BCE and Dice of the matched queries, at the points that `sample` takes, or at every voxel.

    Only their mask logits are made, one a target channel; those of empty channels count with weight 0, which keeps the
    shapes fixed and gives every parameter a gradient without any mask.
    """
    matched = (query_of_mask >= 0).to(target.dtype)
    index = query_of_mask.clamp(min=0)[..., None].expand(-1, -1, prediction.mask_embedding.shape[-1])
    logits = pixels.product(prediction.mask_embedding.gather(1, index))
    if sample is not None:
        logits, target = sample(logits, target)
    logits, target = logits.flatten(2), target.flatten(2)
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(-1)
    inside = logits.sigmoid()
    dice = 1 - (2 * (inside * target).sum(-1) + 1) / (inside.sum(-1) + target.sum(-1) + 1)
    return (matched * bce).sum() / number, (matched * dice).sum() / number


def _sampled(
    logits: Float[Tensor, "B R X Y Z"], target: Float[Tensor, "B R X Y Z"], *, points: int, keys: Keys, stream: int
) -> tuple[Float[Tensor, "B R P"], Float[Tensor, "B R P"]]:
    """Samples logits and target at `points` positions per mask.

    Three quarters are where the logits are nearest to 0, among three times as many uniform candidates; a quarter is
    uniform.
    """
    least_certain = int(IMPORTANCE * points)
    drawn = [OVERSAMPLING * points, points - least_certain]
    with torch.no_grad():
        # Uniform in [-1, 1], the corners of the volume.
        positions = 2 * keyed_uniform(keys, stream, (logits.shape[1], sum(drawn), 3)).to(logits) - 1
        candidates, others = torch.split(positions, drawn, dim=2)
        nearest = _at(logits, candidates).abs().topk(least_certain, dim=-1, largest=False).indices
        chosen = candidates.gather(2, nearest[..., None].expand(-1, -1, -1, 3))
        chosen = torch.cat([chosen, others], dim=2)
    return _at(logits, chosen), _at(target, chosen)


def _at(volume: Tensor, positions: Tensor) -> Tensor:
    batch, channels = volume.shape[:2]
    grid = positions.flatten(0, 1)[:, :, None, None]
    values = F.grid_sample(volume.flatten(0, 1)[:, None], grid, padding_mode="border", align_corners=False)
    return values.view(batch, channels, -1)


def _checked(output: SegOutput, target: Tensor) -> PixelEmbedding:
    if not output.queries or output.pixels is None:
        raise ValueError("the query loss needs an output with queries; network modes `decoder` and `both` have them")
    pixels = output.pixels
    batch, _, *size = pixels.features.shape
    wanted = (batch, output.queries[-1].class_logits.shape[-1] - 1, *size)
    if tuple(target.shape) != wanted:
        raise ValueError(
            f"the query loss expected target masks [B, R, X, Y, Z] of shape {wanted}, got {tuple(target.shape)}; "
            "R is the number of classes without `no object`, the background included in label mode"
        )
    return pixels
