"""Puts the whole loss of a step together: the base loss of every head, and the boundary term times its weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mets3d.losses.matching import start_matching
from mets3d.losses.queries import query_parts
from mets3d.losses.region import dice_sums, downsampled, region_loss
from mets3d.losses.value import LossValue, Scalar, StepContext
from mets3d.ops.distance import SpacingLike
from mets3d.ops.voxels import Spacing
from mets3d.shapes import Lesions, Masks, SegOutput

Parts = dict[str, Scalar]
# Masks of all channels and the size of a coarser grid to the masks there.
Coarse = Callable[[Masks, torch.Size], Masks]
# Output, target masks and the numbers of the step to the parts of the base loss.
BaseLoss = Callable[[SegOutput, Masks, StepContext], Parts]
# Probabilities and target [B, R, X, Y, Z], spacing in mm, of all items or of each, and the predicted masks where they
# are not probability > 0.5, and the lesions of the target where they are known, to the loss of each item and channel.
BoundaryLoss = Callable[[Tensor, Tensor, SpacingLike, Tensor | None, Lesions | None], Tensor]

# Share of the deep heads' Dice and cross-entropy that counts beside queries, as published; nnU-Net's is 1.
DEEP_BESIDE_QUERIES = 0.5


@dataclass(frozen=True)
class TotalLoss:
    """The loss of a run: `base`, and from some step on `term` times its weight.

    needs_mask_count: whether the base loss is normalised by the number of masks in the global batch.
    needs_dice_sums: whether its Dice is that of the global batch.
    coarse: makes the targets of the deep heads, the same function as in `base`.
    needs_lesions: whether the term looks at the target's lesions one by one.
    """

    base: BaseLoss
    term: BoundaryTerm | None
    weight: BoundaryWeight
    needs_mask_count: bool
    needs_dice_sums: bool
    coarse: Coarse = downsampled
    needs_lesions: bool = False

    @property
    def needs_ratio(self) -> bool:
        """Returns whether the weight of the boundary term is multiplied by the running ratio."""
        return self.term is not None and self.weight.balanced

    def compiled(self) -> TotalLoss:
        """Returns the same loss, compiled by torch.compile on its first call."""
        term = None if self.term is None else replace(self.term, loss=torch.compile(self.term.loss))
        return replace(self, base=torch.compile(self.base), term=term)

    def dice_sums(self, output: SegOutput, target: Masks, /) -> Float[Tensor, "H 3 K"]:
        """Returns sum pg, sum p and sum g over a micro-batch of each head with a region loss."""
        heads = _heads(output, target, self.coarse)
        return torch.stack([dice_sums(*head, exclusive=output.activation == "softmax") for head in heads])

    def __call__(self, output: SegOutput, target: Masks, context: StepContext, /) -> LossValue:
        """Returns the loss of a micro-batch. Raises ValueError where a number that it needs is missing."""
        if self.needs_dice_sums and context.dice is None:
            raise ValueError("dice: expected the sums over the global batch that loss.batch_dice needs, found None")
        if self.needs_mask_count and context.masks is None:
            raise ValueError("masks: expected the mask count of the global batch that the query loss needs, found None")
        parts = self.base(output, target, context)
        value = torch.stack(list(parts.values())).sum()
        base = {name: part.detach() for name, part in parts.items()}
        share = self.weight.share(context.step)
        if self.term is None or share == 0:
            return LossValue(value, base)
        boundary, by_label = self.term(output, target, context.spacing_mm, context.lesions)
        weight = torch.full_like(value.detach(), self.weight.peak * share)
        if self.weight.balanced:
            if context.ratio is None:
                raise ValueError("ratio: expected the running ratio that the balanced schedule needs, found None")
            weight = weight * context.ratio
        return LossValue(value + weight * boundary, base, boundary.detach(), by_label, weight)


@dataclass(frozen=True)
class BoundaryTerm:
    """A boundary loss on the full-resolution probabilities of all regions or labels, combined into one number.

    names: of the channels. reduction: sum or mean over channels, weighted by label_weights where given (the mean by
    their sum). In label mode the background is left out and the predicted mask is the argmax.
    """

    loss: BoundaryLoss
    names: Sequence[str]
    reduction: Literal["mean", "sum"] = "mean"
    label_weights: Sequence[float] | None = None

    def __call__(
        self,
        output: SegOutput,
        target: Masks,
        spacing_mm: Sequence[Spacing] | None,
        lesions: Lesions | None = None,
    ) -> tuple[Scalar, Parts]:
        """Returns the term without its weight, and the detached value of each channel by name.

        lesions: of the target's channels, the background left out. spacing_mm: of each sample. Its numbers stay on the
        host, so nothing waits for the device. Raises ValueError where it is None.
        """
        exclusive = output.activation == "softmax"
        first = 1 if exclusive else 0
        predicted = _argmax(output.probabilities.detach())[:, first:] if exclusive else None
        size_mm = _spacing(spacing_mm)
        per_item = self.loss(output.probabilities[:, first:], target[:, first:], size_mm, predicted, lesions)
        per_label = per_item.mean(0)
        weights = torch.tensor([1.0] * len(per_label) if self.label_weights is None else list(self.label_weights))
        if self.reduction == "mean":
            weights = weights / weights.sum()
        term = (per_label * weights.to(per_label.device, non_blocking=True)).sum()
        return term, dict(zip(self.names[first:], per_label.detach(), strict=True))


@dataclass(frozen=True)
class BoundaryWeight:
    """The weight of the boundary term over a run of `steps` steps.

    peak: the weight, before a balanced one is multiplied by the running ratio. ramp: shares of the run at which it
    leaves 0 and reaches `peak`; None: `peak` from step 0.
    """

    peak: float
    steps: int
    ramp: tuple[float, float] | None = None
    balanced: bool = False

    def share(self, step: int) -> float:
        """Returns the share of `peak` at a step: 0 up to start x steps, linear to 1 at end x steps.

        The term cannot come first: at the start nearly all of its gradient says "background everywhere".
        """
        if self.ramp is None:
            return 1.0
        start, end = self.ramp
        position = step / self.steps
        if position <= start:
            return 0.0
        return min(1.0, (position - start) / (end - start)) if end > start else 1.0


def _spacing(spacing_mm: Sequence[Spacing] | None) -> SpacingLike:
    """Returns three numbers where the samples are alike, else a row for each sample."""
    if spacing_mm is None:
        raise ValueError("spacing_mm: expected the voxel size of each sample, which a boundary term needs, found None")
    first, *others = spacing_mm
    return first if all(other == first for other in others) else tuple(spacing_mm)


def base_loss(
    output: SegOutput,
    target: Masks,
    context: StepContext | None = None,
    *,
    dice_weight: float = 1.0,
    ce_weight: float = 1.0,
    batch_dice: bool = False,
    query_class: float = 2.0,
    query_bce: float = 5.0,
    query_dice: float = 5.0,
    no_object_weight: float | None = None,
    query_points: int = 0,
    query_pairing: Literal["correct", "reference"] = "correct",
    query_predictions: Literal["all", "final"] = "all",
    coarse: Coarse = downsampled,
) -> Parts:
    """Returns the parts whose sum is the loss without a boundary term.

    The full-resolution prediction has the region loss, or in the query modes the query loss, with weight 1; the deep
    heads at 1/2, 1/4, ... have the region loss with weights 1/2, 1/4, ...; all are divided by the sum of the weights,
    as in nnU-Net. Beside queries the deep heads have half of their region loss, and the CNN's full-resolution head has
    no loss, both as in the original.

    context: None where the batch is the global batch. query_predictions: of the query decoder in the loss, all or the
    final one alone. coarse: makes the targets of the deep heads.
    """
    context = StepContext(0) if context is None else context
    exclusive, weights = output.activation == "softmax", {"dice_weight": dice_weight, "ce_weight": ce_weight}
    if query_predictions == "final":
        output = replace(output, queries=output.queries[-1:], _mask_logits={})
    matching = None
    if output.pixels is not None:
        # Started first: the host solves it while the device is busy with the deep heads.
        of_query = (query_class, query_bce, query_dice)
        matching = start_matching(output.queries, output.pixels, target, weights=of_query, pairing=query_pairing)
    losses = []
    for head, (logits, masks) in enumerate(_heads(output, target, coarse)):
        sums = dice_sums(logits, masks, exclusive=exclusive) if batch_dice else None
        if sums is not None and context.dice is not None:
            sums = _with_gradient_of(sums, context.dice[head], context.parts)
        losses.append(region_loss(logits, masks, exclusive=exclusive, sums=sums, **weights))
    if matching is not None:
        parts = query_parts(
            output,
            target,
            masks=context.masks,
            keys=context.keys,
            class_weight=query_class,
            bce_weight=query_bce,
            dice_weight=query_dice,
            no_object_weight=no_object_weight,
            points=query_points,
            pairing=query_pairing,
            matching=matching,
        )
    else:
        parts = losses.pop(0)
    return _weighed(parts, losses, 1.0 if matching is None else DEEP_BESIDE_QUERIES)


def _weighed(finest: Parts, deep: Sequence[Parts], of_deep: float) -> Parts:
    """Returns the parts times their weights: 1 of the finest, `of_deep` times 1/2, 1/4, ..., over 1 + 1/2 + ..."""
    shares = [0.5**level for level in range(1 + len(deep))]
    parts = {name: shares[0] / sum(shares) * part for name, part in finest.items()}
    weighted = [
        of_deep * share / sum(shares) * part
        for share, head in zip(shares[1:], deep, strict=True)
        for part in head.values()
    ]
    return parts | ({"deep": torch.stack(weighted).sum()} if weighted else {})


def _heads(output: SegOutput, target: Masks, coarse: Coarse) -> list[tuple[Tensor, Tensor]]:
    """Returns logits and masks of every head with a region loss, finest first."""
    full = [] if output.queries else [output.logits]
    heads = [logits for logits in (*full, *output.deep) if logits is not None]
    return [(logits, target if logits.shape == target.shape else coarse(target, logits.shape[2:])) for logits in heads]


def _with_gradient_of(own: Tensor, whole: Tensor, parts: int) -> Tensor:
    """Returns the sums of the global batch with `parts` times the gradient of this part's own.

    The mean over the parts' gradients, which accumulation and DDP take, is then the gradient of one process.
    """
    return whole + parts * (own - own.detach())


def _argmax(probabilities: Float[Tensor, "B R X Y Z"]) -> Masks:
    channels = torch.arange(probabilities.shape[1], device=probabilities.device)
    return probabilities.argmax(1, keepdim=True) == channels[:, None, None, None]
