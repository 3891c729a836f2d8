"""Losses: `SegOutput` and target masks to a scalar and its named parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    from mets3d.config import Loss
    from mets3d.regions import Target
    from mets3d.shapes import SegOutput


@runtime_checkable
class LossFunction(Protocol):
    """What the training loop calls."""

    def __call__(
        self,
        output: SegOutput,
        target_masks: Tensor,
        /,
        *,
        step: int,
        masks: Tensor | None,
        ratio: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The scalar to minimise at optimizer step `step`, and its detached parts for the log.

        Parts named `boundary...` are of the boundary term, unweighted, and `boundary_weight` is its weight; the others
        add up to the base loss. ratio: base loss over boundary term, for the balanced schedule.
        """
        ...


def build(settings: Loss, *, target: Target, spacing_mm: tuple[float, float, float], steps: int) -> LossFunction:
    """The loss that the settings describe, for a run of `steps` optimizer steps on voxels of `spacing_mm`."""
    import torch

    from mets3d.losses.total import base_loss, boundary_term, ramp

    def loss(
        output: SegOutput,
        target_masks: Tensor,
        /,
        *,
        step: int,
        masks: Tensor | None,
        ratio: Tensor | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        parts = base_loss(
            output,
            target_masks,
            masks=masks,
            dice_weight=settings.dice_weight,
            ce_weight=settings.ce_weight,
            query_class=settings.query_class,
            query_bce=settings.query_bce,
            query_dice=settings.query_dice,
            no_object_weight=settings.no_object_weight,
            query_points=settings.query_points,
            query_pairing=settings.query_pairing,
        )
        value = torch.stack(list(parts.values())).sum()
        share = 1.0 if settings.boundary_schedule == "constant" else ramp(step, steps, *settings.boundary_ramp)
        if settings.boundary != "none" and share > 0:
            boundary = boundary_term(
                output,
                target_masks,
                kind=settings.boundary,
                names=target.names,
                spacing_mm=spacing_mm,
                reduction=settings.boundary_reduction,
                label_weights=settings.boundary_label_weights,
                alpha=settings.boundary_alpha,
                sides=settings.boundary_sides,
                absent=settings.boundary_absent,
                cap_mm=settings.boundary_cap_mm,
                class_balanced=settings.boundary_class_balanced,
                erosions=settings.boundary_erosions,
                radii_mm=settings.boundary_radii_mm,
            )
            weight = torch.full_like(value.detach(), settings.boundary_weight * share)
            if settings.boundary_schedule == "balanced":
                if ratio is None:
                    raise ValueError("ratio: expected the running ratio that the balanced schedule needs, found None")
                weight = weight * ratio
            value = value + weight * boundary["boundary"]
            parts |= boundary | {"boundary_weight": weight}
        return value, {name: part.detach() for name, part in parts.items()}

    return loss
