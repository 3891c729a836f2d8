"""Puts the whole loss of a step together: the base loss of every head, and each boundary term times its weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mets3d.losses.boundary import BoundaryTerm, BoundaryWeight
from mets3d.losses.gradients import Sizes, measured, weighed
from mets3d.losses.matching import start_matching
from mets3d.losses.queries import query_parts
from mets3d.losses.region import dice_sums, downsampled, region_loss
from mets3d.losses.value import BASE, LossValue, Scalar, StepContext, TermValue
from mets3d.shapes import Masks, SegOutput, raised

Parts = dict[str, Scalar]
# Masks of all channels and the size of a coarser grid to the masks there.
Coarse = Callable[[Masks, torch.Size], Masks]
# Output, target masks and the numbers of the step to the parts of the base loss.
BaseLoss = Callable[[SegOutput, Masks, StepContext], Parts]

# Share of the deep heads' Dice and cross-entropy that counts beside queries, as published; nnU-Net's is 1.
DEEP_BESIDE_QUERIES = 0.5


@dataclass(frozen=True)
class TotalLoss:
    """The loss of a run: `base`, and from some step on the boundary `terms` by their names, each times its weight.

    weight: of all terms together. needs_mask_count: whether the base loss is normalised by the number of masks in the
    global batch. needs_dice_sums: whether its Dice is that of the global batch.
    coarse: makes the targets of the deep heads, the same function as in `base`.
    needs_lesions: whether a term looks at the target's lesions one by one.
    """

    base: BaseLoss
    terms: Mapping[str, BoundaryTerm]
    weight: BoundaryWeight
    needs_mask_count: bool
    needs_dice_sums: bool
    coarse: Coarse = downsampled
    needs_lesions: bool = False

    @property
    def needs_ratio(self) -> bool:
        """Returns whether the weight of each boundary term is multiplied by its running ratio."""
        return bool(self.terms) and self.weight.balanced

    def compiled(self) -> TotalLoss:
        """Returns the same loss, compiled by torch.compile on its first call."""
        terms = {name: replace(term, loss=torch.compile(term.loss)) for name, term in self.terms.items()}
        return replace(self, base=torch.compile(self.base), terms=terms)

    def dice_sums(self, output: SegOutput, target: Masks, /) -> Float[Tensor, "H 3 K"]:
        """Returns sum pg, sum p and sum g over a micro-batch of each head with a region loss."""
        heads = _heads(output, target, self.coarse)
        return torch.stack([dice_sums(*head, exclusive=output.activation == "softmax") for head in heads])

    def __call__(self, output: SegOutput, target: Masks, context: StepContext, /) -> LossValue:
        """Returns the loss of a micro-batch. Raises ValueError where a number that it needs is missing."""
        self._check(context)
        if not self.terms or self.weight.share(context.step) == 0:
            parts = self.base(output, target, context)
            return LossValue(torch.stack(list(parts.values())).sum(), _detached(parts))
        sizes: Sizes = {}
        output = _in_full(output)
        parts = self.base(_seen_by(output, sizes, BASE), target, replace(context, sizes=sizes))
        total = torch.stack(list(parts.values())).sum()
        terms = {}
        for name, weight in zip(self.terms, self._weights(context, total.detach()), strict=True):
            seen = _seen_by(output, sizes, name, weight)
            value, by_label = self.terms[name](seen, target, context.spacing_mm, context.lesions)
            total = total + weighed(value, weight)
            terms[name] = TermValue(value.detach(), weight, by_label)
        return LossValue(total, _detached(parts), terms, sizes)

    def _check(self, context: StepContext) -> None:
        if self.needs_dice_sums and context.dice is None:
            raise ValueError("dice: expected the sums over the global batch that loss.batch_dice needs, found None")
        if self.needs_mask_count and context.masks is None:
            raise ValueError("masks: expected the mask count of the global batch that the query loss needs, found None")
        if self.needs_ratio and context.ratio is None and self.weight.share(context.step):
            raise ValueError("ratio: expected the running ratio that the balanced schedule needs, found None")

    def _weights(self, context: StepContext, like: Scalar) -> list[Scalar]:
        """Returns the weight of each term at a step, on the device."""
        weights = [torch.full_like(like, weight) for weight in self.weight.of_terms(context.step, len(self.terms))]
        if context.ratio is None or not self.needs_ratio:
            return weights
        ratios = context.ratio.expand(len(weights)).unbind()
        return [weight * ratio for weight, ratio in zip(weights, ratios, strict=True)]


def _detached(parts: Parts) -> Parts:
    return {name: part.detach() for name, part in parts.items()}


def _in_full(output: SegOutput) -> SegOutput:
    """Returns the output with logits in fp32: in fp16 the gradient of a loss that is not weighed yet would vanish."""
    return output if output.logits is None else replace(output, logits=raised(output.logits))


def _seen_by(output: SegOutput, sizes: Sizes, name: str, weight: Tensor | None = None) -> SegOutput:
    """Returns the output as one loss sees it: its gradient at the logits is measured there, and for a term weighed.

    These are the logits that the probabilities are made of. The mask logits of the base loss are made within it, of
    the matched queries alone, and measured there; the other queries' have no gradient.
    """
    see = partial(measured, sizes=sizes, name=name, weight=weight)
    if not output.queries:
        return output if output.logits is None else replace(output, logits=see(output.logits))
    *earlier, final = output.queries
    final = replace(final, class_logits=see(raised(final.class_logits)))
    masks = {} if weight is None else {len(earlier): see(output.mask_logits(-1))}
    return replace(output, queries=(*earlier, final), _mask_logits=masks)


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
            sizes=context.sizes,
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
