"""Computes the base loss of the CNN heads: soft Dice plus cross-entropy, on regions (sigmoid) or labels (softmax).

Every value is computed per sample and averaged over samples, so that a batch split over processes or accumulation steps
has the loss, and the gradient, of the whole. Only Dice over the batch is not: it needs the sums of the global batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from mets3d.shapes import raised


def soft_dice_loss(
    probability: Float[Tensor, "B R X Y Z"], target: Bool[Tensor, "B R X Y Z"], smooth: float = 1.0
) -> Float[Tensor, ""]:
    """Returns 1 - (2 sum pg + smooth) / (sum p + sum g + smooth), mean over samples and channels.

    The denominator is linear, as in the original 3D TransUNet's query loss. `smooth` 1 gives an empty mask a gradient
    that pushes false positives down; with both empty the loss is 0.
    """
    return _dice_loss(_sums(raised(probability), target), smooth)


def batch_dice_loss(sums: Float[Tensor, "3 R"], smooth: float = 1.0) -> Float[Tensor, ""]:
    """Returns 1 - (2 sum pg + smooth) / (sum p + sum g + smooth), the sums over a whole batch, mean over channels.

    A sample without a region has no term of its own: its false positives count among those of the batch.
    """
    return _dice_loss(sums, smooth)


def dice_sums(
    logits: Float[Tensor, "B R X Y Z"], target: Bool[Tensor, "B R X Y Z"], *, exclusive: bool
) -> Float[Tensor, "3 K"]:
    """Returns sum pg, sum p and sum g of each channel over samples and voxels; without the background of labels."""
    with torch.autocast(logits.device.type, enabled=False):
        probability, mask = _foreground(logits, target, exclusive)
        return _sums(probability, mask).sum(1)


def cross_entropy(
    logits: Float[Tensor, "B R X Y Z"], target: Bool[Tensor, "B R X Y Z"], *, exclusive: bool
) -> Float[Tensor, ""]:
    """Returns cross-entropy, mean over voxels: binary of each channel, or categorical over exclusive channels."""
    logits = raised(logits)
    if exclusive:
        return F.cross_entropy(logits, target.to(logits.dtype))
    return F.binary_cross_entropy_with_logits(logits, target.to(logits.dtype))


def region_loss(
    logits: Float[Tensor, "B R X Y Z"],
    target: Bool[Tensor, "B R X Y Z"],
    *,
    exclusive: bool = False,
    dice_weight: float = 1.0,
    ce_weight: float = 1.0,
    sums: Float[Tensor, "3 K"] | None = None,
) -> dict[str, Float[Tensor, ""]]:
    """Returns the weighted parts `dice` and `bce` (`ce` for labels) of one head; their sum is its loss.

    exclusive: channels are labels with the background first, which Dice leaves out.
    sums: those of `dice_sums` over the batch whose Dice is meant; None: Dice of each sample.
    """
    with torch.autocast(logits.device.type, enabled=False):
        dice = soft_dice_loss(*_foreground(logits, target, exclusive)) if sums is None else batch_dice_loss(sums)
        entropy = cross_entropy(logits, target, exclusive=exclusive)
    return {"dice": dice_weight * dice, "ce" if exclusive else "bce": ce_weight * entropy}


def downsampled(target: Bool[Tensor, "B R X Y Z"], shape: torch.Size) -> Bool[Tensor, "B R x y z"]:
    """Resamples masks to a coarser grid by the nearest voxel, as nnU-Net does for its deep supervision."""
    return F.interpolate(target.to(torch.uint8), size=tuple(shape), mode="nearest-exact").bool()


def maximum(
    target: Bool[Tensor, "B R X Y Z"], shape: torch.Size, *, outside_in: Sequence[int] | None = None
) -> Bool[Tensor, "B R x y z"]:
    """Resamples masks to a coarser grid: a coarse voxel is in a region if any of its voxels is, so no lesion is lost.

    outside_in: where channels exclude each other, those of the foreground from the outermost to the innermost. Of the
    labels in a coarse voxel the innermost wins, and the background has what is left, which is what masks of nested
    regions say too. The grid must divide the masks' size.
    """
    x, y, z = shape
    blocks = torch.unflatten(torch.unflatten(torch.unflatten(target, 4, (z, -1)), 3, (y, -1)), 2, (x, -1))
    found = blocks.any(7).any(5).any(3)
    if outside_in is None:
        return found
    free = torch.ones_like(found[:, 0])
    masks = {}
    for channel in reversed(outside_in):
        masks[channel] = found[:, channel] & free
        free = free & ~found[:, channel]
    masks[0] = free  # the background
    return torch.stack([masks[channel] for channel in sorted(masks)], 1)


def _foreground(logits: Tensor, target: Tensor, exclusive: bool) -> tuple[Tensor, Tensor]:
    """Returns the probabilities and masks that Dice sees."""
    return (raised(logits).softmax(1)[:, 1:], target[:, 1:]) if exclusive else (raised(logits).sigmoid(), target)


def _sums(probability: Float[Tensor, "B R X Y Z"], target: Tensor) -> Float[Tensor, "3 B R"]:
    voxels = (-3, -2, -1)
    sums = (probability * target).sum(voxels), probability.sum(voxels), target.sum(voxels).to(probability.dtype)
    return torch.stack(sums)


def _dice_loss(sums: Float[Tensor, "3 *channels"], smooth: float) -> Float[Tensor, ""]:
    overlap, predicted, real = sums.unbind()
    return (1 - (2 * overlap + smooth) / (predicted + real + smooth)).mean()
