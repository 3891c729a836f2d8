"""Builds the loss that the settings describe: from a network's output and target masks to a `LossValue`.

A new boundary loss is a function in a file of its own, one line in `_boundary_losses` below, one in `_units` if it is
not of order one, and one literal of `loss.boundary` in the settings.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from mets3d.config import Loss
    from mets3d.losses.boundary import BoundaryLoss
    from mets3d.losses.total import Coarse
    from mets3d.losses.units import Unit
    from mets3d.losses.value import LossValue, StepContext
    from mets3d.regions import Target
    from mets3d.shapes import SegOutput


# Terms that look at the lesions of the target one by one.
LOOK_AT_LESIONS = frozenset({"blob", "cc_dice"})


@runtime_checkable
class LossFunction(Protocol):
    """A loss as the training loop sees it: what it needs to be given at a step, and the call."""

    @property
    def needs_mask_count(self) -> bool:
        """Returns whether `StepContext.masks` must be given."""
        ...

    @property
    def needs_ratio(self) -> bool:
        """Returns whether `StepContext.ratio` must be given, one for each boundary term."""
        ...

    @property
    def needs_dice_sums(self) -> bool:
        """Returns whether `StepContext.dice`, the sum of `dice_sums` over the global batch, must be given."""
        ...

    @property
    def needs_lesions(self) -> bool:
        """Returns whether `StepContext.lesions` is used; without it the lesions are numbered on the host."""
        ...

    def compiled(self) -> LossFunction:
        """Returns the same loss, compiled by torch.compile on its first call."""
        ...

    def dice_sums(self, output: SegOutput, target: Tensor, /) -> Tensor:
        """Returns the sums behind Dice over a batch, of each head and channel of a micro-batch."""
        ...

    def __call__(self, output: SegOutput, target: Tensor, context: StepContext, /) -> LossValue:
        """Returns the loss of a micro-batch: the scalar to minimise and its detached parts."""
        ...


def build(settings: Loss, *, target: Target, steps: int, queries: bool) -> LossFunction:
    """Builds the loss that the settings describe, for a run of `steps` optimizer steps.

    queries: whether the network has a query decoder, whose loss is normalised by the masks of the global batch.
    """
    from mets3d.losses.boundary import BoundaryTerm, BoundaryWeight
    from mets3d.losses.total import TotalLoss, base_loss
    from mets3d.losses.units import unity

    weights = settings.model_dump(
        include={
            *("dice_weight", "ce_weight", "batch_dice", "query_class", "query_bce", "query_dice"),
            *("no_object_weight", "query_points", "query_pairing", "query_predictions"),
        }
    )
    coarse = _deep_targets(settings, target)
    functions, units = _boundary_losses(settings), _units(settings)
    combined = target.names, settings.boundary_reduction, settings.boundary_label_weights
    return TotalLoss(
        base=partial(base_loss, coarse=coarse, **weights),
        terms={
            name: BoundaryTerm(functions[name], *combined, unit=units.get(name, unity))
            for name in settings.boundary_terms
        },
        weight=BoundaryWeight(
            settings.weight,
            steps,
            ramp=None if settings.boundary_schedule == "constant" else settings.boundary_ramp,
            balanced=settings.boundary_schedule in ("balanced", "gradient"),
            shares=settings.boundary_shares,
        ),
        needs_mask_count=queries,
        needs_dice_sums=settings.batch_dice,
        coarse=coarse,
        needs_lesions=not LOOK_AT_LESIONS.isdisjoint(settings.boundary_terms) and target.kind == "regions",
    )


def _deep_targets(settings: Loss, target: Target) -> Coarse:
    """Returns the function that makes the targets of the deep heads."""
    from mets3d.losses.region import downsampled, maximum

    if settings.deep_targets == "nearest":
        return downsampled
    outside_in = [target.labels.index(region.decoded_as) for region in target.regions]
    return partial(maximum, outside_in=outside_in if target.kind == "labels" else None)


def _boundary_losses(settings: Loss) -> Mapping[str, BoundaryLoss]:
    """Returns the function behind each term of `loss.boundary`, the only place where the two meet.

    Each takes probabilities p, target masks g, the spacing in mm, the predicted masks (None: p > 0.5) and the lesions
    of the target where they are known.
    """
    from mets3d.losses.blob import blob_loss
    from mets3d.losses.cc_dice import cc_dice_loss
    from mets3d.losses.focal_tversky import focal_tversky_loss
    from mets3d.losses.generalized_surface import generalized_surface_loss
    from mets3d.losses.hausdorff import (
        hausdorff_convolution_loss,
        hausdorff_distance_loss,
        hausdorff_erosion_loss,
        hausdorff_log_loss,
    )
    from mets3d.losses.hausdorff_conditioned import hausdorff_conditioned_loss
    from mets3d.losses.region_wise import region_wise_loss
    from mets3d.losses.signed_distance import signed_distance_loss
    from mets3d.losses.top_k import top_k_loss

    alpha = 2.0 if settings.boundary_alpha is None else settings.boundary_alpha
    absent = settings.boundary_absent
    distance: dict[str, Any] = {
        "alpha": alpha,
        "sides": settings.boundary_sides,
        "absent": absent,
        "cap_mm": settings.boundary_cap_mm,
        "class_balanced": settings.boundary_class_balanced,
    }
    conditioned = partial(
        hausdorff_conditioned_loss,
        alpha=1.0 if settings.boundary_alpha is None else settings.boundary_alpha,
        cap_mm=20.0 if settings.boundary_cap_mm is None else settings.boundary_cap_mm,
        absent="cap" if absent == "diagonal" else absent,
    )
    erosion = partial(
        hausdorff_erosion_loss, alpha=alpha, erosions=settings.boundary_erosions, rescale=settings.boundary_rescale
    )
    convolution = partial(hausdorff_convolution_loss, alpha=alpha, radii_mm=settings.boundary_radii_mm)
    # Without a distance a term that is linear in it leaves the label out.
    signed = partial(signed_distance_loss, absent="zero" if absent == "skip" else absent)
    # A length makes no difference to maps that are divided by their largest value.
    of_map: Literal["one", "skip"] = "skip" if absent in ("zero", "skip") else "one"
    inside = settings.boundary_inside
    tversky = partial(focal_tversky_loss, weights=settings.boundary_tversky, focus=settings.boundary_focus)
    return {
        "hausdorff_distance": lambda p, g, mm, mask, _: hausdorff_distance_loss(p, g, mm, predicted=mask, **distance),
        "hausdorff_log": lambda p, g, mm, mask, _: hausdorff_log_loss(p, g, mm, predicted=mask, **distance),
        "hausdorff_erosion": lambda p, g, mm, *_: erosion(p, g, mm),
        "hausdorff_convolution": lambda p, g, mm, *_: convolution(p, g, mm),
        "hausdorff_conditioned": lambda p, g, mm, mask, _: conditioned(p, g, mm, predicted=mask),
        "signed_distance": lambda p, g, mm, *_: signed(p, g, mm),
        "generalized_surface": lambda p, g, mm, *_: generalized_surface_loss(p, g, mm, absent=of_map),
        "region_wise": lambda p, g, mm, *_: region_wise_loss(p, g, mm, absent=of_map),
        "blob": lambda p, g, mm, _, lesions: blob_loss(p, g, mm, inside=inside, lesions=lesions),
        "focal_tversky": lambda p, g, mm, *_: tversky(p, g, mm),
        "top_k": lambda p, g, mm, *_: top_k_loss(p, g, mm, top=settings.boundary_top),
        "cc_dice": lambda p, g, mm, _, lesions: cc_dice_loss(p, g, mm, inside=inside, lesions=lesions),
    }


def _units(settings: Loss) -> Mapping[str, Unit]:
    """Returns the unit of each term of `loss.boundary` that is not of order one as published."""
    from mets3d.losses.units import of_balls, of_depths, of_distances, of_log, of_volume

    alpha = 2.0 if settings.boundary_alpha is None else settings.boundary_alpha
    balanced = settings.boundary_class_balanced
    lasting = settings.boundary_rescale == "peak"
    return {
        "hausdorff_distance": partial(of_distances, alpha=alpha, class_balanced=balanced),
        "hausdorff_log": partial(of_log, alpha=alpha, class_balanced=balanced),
        "hausdorff_erosion": partial(of_depths, alpha=alpha, erosions=settings.boundary_erosions, lasting=lasting),
        "hausdorff_convolution": partial(of_balls, alpha=alpha, radii_mm=settings.boundary_radii_mm),
        "signed_distance": partial(of_distances, alpha=1.0),
        "generalized_surface": of_volume,
        "region_wise": of_volume,
    }
