"""Defines what the loop gives a loss (`StepContext`) and gets back (`LossValue`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mets3d.log_names import BOUNDARY, BOUNDARY_WEIGHT, LOSS, boundary_name, part_name
from mets3d.ops.voxels import Spacing
from mets3d.shapes import Keys, Lesions

Scalar = Float[Tensor, ""]


@dataclass(frozen=True)
class StepContext:
    """The numbers of an optimizer step that a loss cannot work out from its own micro-batch.

    step: the optimizer step, counted from 0.
    masks: max(masks in the global batch, 1) / (processes x accumulation), for losses with `needs_mask_count`.
    ratio: the running ratio of base loss and boundary term, for losses with `needs_ratio`.
    dice: sum pg, sum p and sum g of each head and channel over the global batch, for losses with `needs_dice_sums`.
    keys: of the micro-batch's samples, from which a loss draws; None: from torch's global generator.
    parts: processes x accumulation, into which the global batch is split.
    lesions: of each channel of the micro-batch's target, for losses with `needs_lesions`; None: its components.
    spacing_mm: voxel size of each of the micro-batch's samples, for losses with a boundary term.
    """

    step: int
    masks: Scalar | None = None
    ratio: Scalar | None = None
    dice: Float[Tensor, "H 3 K"] | None = None
    keys: Keys | None = None
    parts: int = 1
    spacing_mm: Sequence[Spacing] | None = None
    lesions: Lesions | None = None


@dataclass(frozen=True)
class LossValue:
    """The loss of one micro-batch; every number but `total` is detached.

    total: the scalar to minimise, sum of `base` plus `weight` times `boundary`.
    base: the weighted parts of the base loss by name; they add up to it.
    boundary: the boundary term without its weight; None at a step without one.
    by_label: the boundary term of each region or label by name.
    weight: the weight of the boundary term at this step.
    """

    total: Scalar
    base: dict[str, Scalar]
    boundary: Scalar | None = None
    by_label: dict[str, Scalar] = field(default_factory=dict)
    weight: Scalar | None = None

    def named(self) -> dict[str, Scalar]:
        """Returns the detached numbers under their names in metrics.jsonl."""
        numbers = {LOSS: self.total.detach()} | {part_name(name): part for name, part in self.base.items()}
        if self.boundary is not None:
            numbers[BOUNDARY] = self.boundary
        numbers |= {boundary_name(label): value for label, value in self.by_label.items()}
        if self.weight is not None:
            numbers[BOUNDARY_WEIGHT] = self.weight
        return numbers

    def as_row(self) -> Float[Tensor, " n"]:
        """Returns all numbers side by side in fp32, so that one reduction averages them over processes."""
        every = [self.total.detach(), *self.base.values(), self.boundary, *self.by_label.values(), self.weight]
        return torch.stack([number.float() for number in every if number is not None])

    def with_numbers(self, row: Float[Tensor, " n"]) -> LossValue:
        """Returns a value of the same parts with the numbers of `row`, in the order of `as_row`."""
        numbers = iter(row.unbind())
        return LossValue(
            total=next(numbers),
            base={name: next(numbers) for name in self.base},
            boundary=None if self.boundary is None else next(numbers),
            by_label={label: next(numbers) for label in self.by_label},
            weight=None if self.weight is None else next(numbers),
        )


def count_masks(target: Bool[Tensor, "B R X Y Z"] | Float[Tensor, "B R X Y Z"]) -> Scalar:
    """Counts the target channels over all samples that have any voxel above 0; the count stays on the device."""
    return (target > 0).flatten(2).any(-1).sum().float()
