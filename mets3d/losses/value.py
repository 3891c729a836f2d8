"""Defines what the loop gives a loss (`StepContext`) and gets back (`LossValue`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mets3d.log_names import (
    BOUNDARY,
    BOUNDARY_WEIGHT,
    GRADIENT_SHARE,
    LOSS,
    VALUE_SHARE,
    boundary_name,
    of_term,
    part_name,
)
from mets3d.losses.gradients import Sizes
from mets3d.ops.voxels import Spacing
from mets3d.shapes import Keys, Lesions

Scalar = Float[Tensor, ""]
BASE = "base"  # the base loss among the losses whose gradients are measured


@dataclass(frozen=True)
class StepContext:
    """The numbers of an optimizer step that a loss cannot work out from its own micro-batch.

    step: the optimizer step, counted from 0.
    masks: max(masks in the global batch, 1) / (processes x accumulation), for losses with `needs_mask_count`.
    ratio: the running ratio of the base loss and each boundary term, or one for all, for losses with `needs_ratio`.
    dice: sum pg, sum p and sum g of each head and channel over the global batch, for losses with `needs_dice_sums`.
    keys: of the micro-batch's samples, from which a loss draws; None: from torch's global generator.
    parts: processes x accumulation, into which the global batch is split.
    lesions: of each channel of the micro-batch's target, for losses with `needs_lesions`; None: its components.
    spacing_mm: voxel size of each of the micro-batch's samples, for losses with a boundary term.
    sizes: where the backward pass adds the size of the base loss's gradient at mask logits; None: nowhere.
    """

    step: int
    masks: Scalar | None = None
    ratio: Float[Tensor, "*T"] | None = None
    dice: Float[Tensor, "H 3 K"] | None = None
    keys: Keys | None = None
    parts: int = 1
    spacing_mm: Sequence[Spacing] | None = None
    lesions: Lesions | None = None
    sizes: Sizes | None = None


@dataclass(frozen=True)
class TermValue:
    """A boundary term at a step, detached.

    value: in its unit, without its weight. weight: at this step. by_label: the value of each region or label by name.
    """

    value: Scalar
    weight: Scalar
    by_label: dict[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True)
class LossValue:
    """The loss of one micro-batch; every number but `total` is detached.

    total: the scalar to minimise. Its value is the sum of `base` plus each term times its weight, and so is its
    gradient. base: the weighted parts of the base loss by name; they add up to it. terms: by name; empty at a step
    without one. sizes: the sum of |dL/dz| at the logits of the base loss, named BASE, and of each term without its
    weight. The backward pass of `total` fills it.
    """

    total: Scalar
    base: dict[str, Scalar]
    terms: dict[str, TermValue] = field(default_factory=dict)
    sizes: Sizes = field(default_factory=dict)

    def named(self) -> dict[str, Scalar]:
        """Returns the detached numbers under their names in metrics.jsonl."""
        numbers = {LOSS: self.total.detach()} | {part_name(name): part for name, part in self.base.items()}
        several = len(self.terms) > 1
        for name, term in self.terms.items():
            of = name if several else None
            numbers[of_term(BOUNDARY, of)] = term.value
            numbers |= {boundary_name(label, of): value for label, value in term.by_label.items()}
        for name, term in self.terms.items():
            of = name if several else None
            numbers[of_term(BOUNDARY_WEIGHT, of)] = term.weight
            numbers[of_term(VALUE_SHARE, of)] = term.weight * term.value / self.base_value
            if BASE in self.sizes:
                numbers[of_term(GRADIENT_SHARE, of)] = term.weight * self.sizes[name] / self.sizes[BASE]
        return numbers

    @property
    def base_value(self) -> Scalar:
        """Returns the base loss, the sum of its parts."""
        return torch.stack(list(self.base.values())).sum()

    def as_row(self, scale: Tensor | float = 1.0) -> Float[Tensor, " n"]:
        """Returns all numbers side by side in fp32, so that one reduction averages them over processes.

        scale: what the total was multiplied by before its backward pass; the gradients' sizes are divided by it.
        """
        nothing = torch.zeros_like(self.total.detach())
        every = [self.total.detach(), *self.base.values()]
        for term in self.terms.values():
            every += [term.value, term.weight, *term.by_label.values()]
        every += [self.sizes.get(name, nothing) / scale for name in self._measured]
        return torch.stack([number.float() for number in every])

    def with_numbers(self, row: Float[Tensor, " n"]) -> LossValue:
        """Returns a value of the same parts with the numbers of `row`, in the order of `as_row`."""
        numbers = iter(row.unbind())
        return LossValue(
            total=next(numbers),
            base={name: next(numbers) for name in self.base},
            terms={
                name: TermValue(next(numbers), next(numbers), {label: next(numbers) for label in term.by_label})
                for name, term in self.terms.items()
            },
            sizes={name: next(numbers) for name in self._measured},
        )

    @property
    def _measured(self) -> list[str]:
        return [BASE, *self.terms] if self.terms else []


def count_masks(target: Bool[Tensor, "B R X Y Z"] | Float[Tensor, "B R X Y Z"]) -> Scalar:
    """Counts the target channels over all samples that have any voxel above 0; the count stays on the device."""
    return (target > 0).flatten(2).any(-1).sum().float()
