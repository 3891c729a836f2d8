"""The whole loss of a step and its named parts: base loss of every head, and the boundary term with its ramp."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mets3d.losses.blob import blob_loss
from mets3d.losses.hausdorff import (
    Absent,
    Sides,
    hausdorff_convolution_loss,
    hausdorff_distance_loss,
    hausdorff_erosion_loss,
    hausdorff_log_loss,
)
from mets3d.losses.queries import query_parts
from mets3d.losses.region import downsampled, region_loss
from mets3d.losses.signed_distance import signed_distance_loss
from mets3d.shapes import SegOutput

Parts = dict[str, Float[Tensor, ""]]
Kind = Literal[
    "hausdorff_distance", "hausdorff_log", "hausdorff_erosion", "hausdorff_convolution", "signed_distance", "blob"
]


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
    kind: Kind,
    names: Sequence[str],
    spacing_mm: tuple[float, float, float],
    reduction: Literal["mean", "sum"] = "mean",
    label_weights: Sequence[float] | None = None,
    alpha: float = 2.0,
    sides: Sides = "both",
    absent: Absent = "diagonal",
    cap_mm: float | None = None,
    class_balanced: bool = False,
    erosions: int = 10,
    radii_mm: Sequence[float] = (3, 6, 9, 12, 15, 18),
) -> Parts:
    """The boundary term of the full-resolution probabilities, unweighted: `boundary`, and `boundary/NAME` per channel.

    reduction: sum or mean over channels, weighted by label_weights where given (the mean by their sum). In label mode
    the background is left out and the predicted mask is the argmax.
    """
    exclusive = output.activation == "softmax"
    first = 1 if exclusive else 0
    probabilities, truth = output.probabilities[:, first:], target[:, first:]
    distances = {
        "alpha": alpha, "sides": sides, "absent": absent, "cap_mm": cap_mm, "class_balanced": class_balanced,
    }  # fmt: skip
    match kind:
        case "hausdorff_distance" | "hausdorff_log":
            loss = hausdorff_distance_loss if kind == "hausdorff_distance" else hausdorff_log_loss
            predicted = _argmax(output.probabilities.detach())[:, first:] if exclusive else None
            per_item = loss(probabilities, truth, spacing_mm, predicted=predicted, **distances)  # type: ignore[arg-type]
        case "hausdorff_erosion":
            per_item = hausdorff_erosion_loss(probabilities, truth, spacing_mm, alpha=alpha, erosions=erosions)
        case "hausdorff_convolution":
            per_item = hausdorff_convolution_loss(probabilities, truth, spacing_mm, alpha=alpha, radii_mm=radii_mm)
        case "signed_distance":
            # Without a distance a term that is linear in it leaves the label out.
            constant = "zero" if absent == "skip" else absent
            per_item = signed_distance_loss(probabilities, truth, spacing_mm, absent=constant)
        case "blob":
            per_item = blob_loss(probabilities, truth, spacing_mm)
    per_label = per_item.mean(0)
    weights = torch.tensor([1.0] * len(per_label) if label_weights is None else list(label_weights))
    if reduction == "mean":
        weights = weights / weights.sum()
    term = (per_label * weights.to(per_label.device, non_blocking=True)).sum()
    return {"boundary": term} | {
        f"boundary/{name}": value.detach() for name, value in zip(names[first:], per_label, strict=True)
    }


def _argmax(probabilities: Float[Tensor, "B R X Y Z"]) -> Bool[Tensor, "B R X Y Z"]:
    channels = torch.arange(probabilities.shape[1], device=probabilities.device)
    return probabilities.argmax(1, keepdim=True) == channels[:, None, None, None]


def ramp(step: int, steps: int, start: float, end: float) -> float:
    """Share of the boundary weight at a step: 0 up to start x steps, linear to 1 at end x steps.

    The term cannot come first: at the start nearly all of its gradient says "background everywhere".
    """
    position = step / steps
    if position <= start:
        return 0.0
    return min(1.0, (position - start) / (end - start)) if end > start else 1.0
