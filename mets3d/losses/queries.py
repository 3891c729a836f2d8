"""Computes the query decoder's loss: a Hungarian match of queries to target masks, then losses on classes and masks.

Mask2Former's set loss (arXiv 2112.01527) with the weights, dense masks and mean over predictions of 3D TransUNet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Integer
from torch import Tensor

from mets3d.losses.gradients import Sizes, note
from mets3d.losses.matching import Matching, Pairing, TargetMasks, start_matching
from mets3d.losses.value import BASE, count_masks
from mets3d.ops.keyed import keyed_uniform, random_keys, stream_of
from mets3d.ops.points import values_at
from mets3d.shapes import Keys, PixelEmbedding, QueryOutput, SegOutput, raised

Normaliser = Float[Tensor, ""] | float | int | None
Sampler = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

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
    matching: Matching | None = None,
    sizes: Sizes | None = None,
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
    matching: the one of this output and target, started before with the same weights and pairing; None: it starts here.
    sizes: where the backward pass adds the sum of |dL/dz| over the final prediction's mask logits.

    Without any mask the loss is the class term alone, and all other parameters have a gradient of zero. Raises
    ValueError for an output without queries and for a target with another number of channels or another size.
    """
    pixels = _checked(output, target)
    weights = (class_weight, bce_weight, dice_weight)
    if matching is None:
        matching = start_matching(output.queries, pixels, target, weights=weights, pairing=pairing)
    with torch.autocast(target.device.type, enabled=False):
        pixels = replace(pixels, features=raised(pixels.features))
        target = target.to(pixels.features.dtype)  # fp32, or fp64
        number = count_masks(target).clamp(min=1) if masks is None else masks
        assigned = torch.stack(matching.assigned())
        sample = None
        if points:
            sample = partial(
                _sampled, points=points, keys=random_keys(len(target), target.device) if keys is None else keys
            )
        entropy = _class_losses(output.queries, assigned, number, no_object_weight)
        bce, dice = _mask_losses(output.queries, pixels, target, assigned, sample, sizes)
        each = torch.stack([class_weight * entropy, bce_weight * bce / number, dice_weight * dice / number]) / 10
        total = (each[:, -1] + each[:, :-1].mean(1)) / 2 if len(assigned) > 1 else each[:, -1]
    return dict(zip(("query_class", "query_bce", "query_dice"), total, strict=True))


# ---------------------------------------------------------------- losses of the P predictions


def _class_losses(
    predictions: Sequence[QueryOutput],
    assigned: Integer[Tensor, "P B R"],
    number: Tensor | float,
    no_object_weight: float | None,
) -> Float[Tensor, " P"]:
    logits = torch.stack([raised(one.class_logits) for one in predictions])
    count, batch, queries, classes = logits.shape
    no_object = classes - 1
    weight_of_none = 1.0 if no_object_weight is None else no_object_weight
    # An empty channel writes its class to a query beyond the last, which is cut off.
    slot = torch.where(assigned < 0, queries, assigned)
    wanted = torch.full((count, batch, queries + 1), no_object, device=logits.device)
    wanted = wanted.scatter(2, slot, torch.arange(no_object, device=slot.device).expand_as(slot))[..., :queries]
    weights = torch.ones(classes, dtype=logits.dtype, device=logits.device)
    weights[no_object:].fill_(weight_of_none)  # an assignment would copy the number from the host and wait
    each = F.cross_entropy(logits.flatten(0, 2), wanted.flatten(), weights, reduction="none")
    return each.view(count, -1).sum(1) / (number + (batch * queries - number) * weight_of_none)


def _mask_losses(
    predictions: Sequence[QueryOutput],
    pixels: PixelEmbedding,
    target: Float[Tensor, "B R X Y Z"],
    assigned: Integer[Tensor, "P B R"],
    sample: Sampler | None,
    sizes: Sizes | None,
) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
    """Returns BCE and Dice summed over the matched queries, at the points that `sample` takes, or at every voxel.

    Only their mask logits are made, one a prediction and target channel; those of empty channels count with weight 0,
    which keeps the shapes fixed and gives every parameter a gradient without any mask.
    """
    embeddings = torch.stack([one.mask_embedding for one in predictions])
    index = assigned.clamp(min=0)[..., None].expand(-1, -1, -1, embeddings.shape[-1])
    # All predictions in one product: its gradient is added to the features once, not once a prediction.
    chosen = embeddings.gather(2, index).transpose(0, 1).flatten(1, 2)
    logits = torch.unflatten(pixels.product(chosen), 1, (len(predictions), -1))
    if sizes is not None and logits.requires_grad:
        note(logits, sizes, BASE, lambda gradient: gradient[:, -1])
    targets = target[:, None].expand_as(logits)
    if sample is not None:
        logits, targets = sample(logits, targets)
    logits, targets = logits.flatten(3), targets.flatten(3)
    bce = F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(-1)
    inside = logits.sigmoid()
    dice = 1 - (2 * (inside * targets).sum(-1) + 1) / (inside.sum(-1) + targets.sum(-1) + 1)
    matched = (assigned >= 0).to(bce.dtype).transpose(0, 1)
    return (matched * bce).sum((0, 2)), (matched * dice).sum((0, 2))


def _sampled(
    logits: Float[Tensor, "B P R X Y Z"], target: Float[Tensor, "B P R X Y Z"], *, points: int, keys: Keys
) -> tuple[Float[Tensor, "B P R n"], Float[Tensor, "B P R n"]]:
    """Samples each prediction's logits and target at its own points, a stream a prediction."""
    pairs = [
        _at_points(logits[:, index], target[:, index], points=points, keys=keys, stream=stream_of(f"points/{index}"))
        for index in range(logits.shape[1])
    ]
    return torch.stack([pair[0] for pair in pairs], dim=1), torch.stack([pair[1] for pair in pairs], dim=1)


def _at_points(
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
        nearest = values_at(logits, candidates).abs().topk(least_certain, dim=-1, largest=False).indices
        chosen = candidates.gather(2, nearest[..., None].expand(-1, -1, -1, 3))
        chosen = torch.cat([chosen, others], dim=2)
    return values_at(logits, chosen), values_at(target, chosen)


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
