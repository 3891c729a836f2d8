"""The whole loss of a step and its named parts: base loss of every head, and the boundary term with its ramp."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mets3d.losses.hausdorff import hausdorff_distance_loss
from mets3d.losses.queries import query_parts
from mets3d.losses.region import downsampled, region_loss
from mets3d.shapes import SegOutput

Parts = dict[str, Float[Tensor, ""]]


def base_loss(
    output: SegOutput,
    target: Bool[Tensor, "B R X Y Z"],
    *,
    masks: Float[Tensor, ""] | float | None = None,
    dice_weight: float = 1.0,
    ce_weight: float = 1.0,
    query_class: float = 2.0,
    query_bce: float = 5.0,
    query_dice: float = 5.0,
    no_object_weight: float | None = None,
    query_points: int = 0,
    query_pairing: Literal["correct", "reference"] = "correct",
) -> Parts:
    """Parts whose sum is the loss without a boundary term.

    The full-resolution prediction has the region loss, or in the query modes the query loss, with weight 1; the deep
    heads at 1/2, 1/4, ... the region loss with 1/2, 1/4, ...; all divided by the sum of the weights, as in nnU-Net.
    The CNN's head beside a query decoder has no loss, as in the original.
    """
    exclusive = output.activation == "softmax"
    shares = [0.5**level for level in range(1 + len(output.deep))]
    total = sum(shares)
    if output.queries:
        parts = query_parts(
            output,
            target,
            masks=masks,
            class_weight=query_class,
            bce_weight=query_bce,
            dice_weight=query_dice,
            no_object_weight=no_object_weight,
            points=query_points,
            pairing=query_pairing,
        )
    else:
        assert output.logits is not None
        parts = region_loss(output.logits, target, exclusive=exclusive, dice_weight=dice_weight, ce_weight=ce_weight)
    parts = {name: part / total for name, part in parts.items()}
    deep = [
        share / total * head_loss
        for share, logits in zip(shares[1:], output.deep, strict=True)
        for head_loss in region_loss(
            logits,
            downsampled(target, logits.shape[2:]),
            exclusive=exclusive,
            dice_weight=dice_weight,
            ce_weight=ce_weight,
        ).values()
    ]
    return parts | ({"deep": torch.stack(deep).sum()} if deep else {})


def boundary_term(
    output: SegOutput,
    target: Bool[Tensor, "B R X Y Z"],
    *,
    kind: Literal["hausdorff_distance"],
    names: Sequence[str],
    spacing_mm: tuple[float, float, float],
    alpha: float,
    reduction: Literal["mean", "sum"],
) -> Parts:
    """The boundary term of the full-resolution probabilities, unweighted: `boundary`, and `boundary/NAME` per channel.

    In label mode the background is left out and the predicted mask is the argmax.
    """
    exclusive = output.activation == "softmax"
    first = 1 if exclusive else 0
    probabilities = output.probabilities
    predicted = None
    if exclusive:
        winner = probabilities.detach().argmax(1, keepdim=True)
        channels = torch.arange(first, probabilities.shape[1], device=winner.device)
        predicted = winner == channels[:, None, None, None]
    match kind:
        case "hausdorff_distance":
            per_item = hausdorff_distance_loss(
                probabilities[:, first:], target[:, first:], spacing_mm, alpha=alpha, predicted=predicted
            )
    per_label = per_item.mean(0)
    term = per_label.mean() if reduction == "mean" else per_label.sum()
    return {"boundary": term} | {
        f"boundary/{name}": value.detach() for name, value in zip(names[first:], per_label, strict=True)
    }


def ramp(step: int, steps: int, start: float, end: float) -> float:
    """Share of the boundary weight at a step: 0 up to start x steps, linear to 1 at end x steps.

    The term cannot come first: at the start nearly all of its gradient says "background everywhere".
    """
    position = step / steps
    if position <= start:
        return 0.0
    return min(1.0, (position - start) / (end - start)) if end > start else 1.0
