"""Holds the settings of the loss: the base loss, and the boundary term that is added to it."""

from __future__ import annotations

import math
from typing import Literal, get_args

from pydantic import Field, field_validator, model_validator

from mets3d.settings.kinds import Length, Range, Section

BoundaryName = Literal[
    "hausdorff_distance",
    "hausdorff_log",
    "hausdorff_erosion",
    "hausdorff_convolution",
    "hausdorff_conditioned",
    "signed_distance",
    "generalized_surface",
    "region_wise",
    "blob",
    "cc_dice",
    "focal_tversky",
    "top_k",
]

USUAL_WEIGHT = 0.1
# Shares of the base loss's gradient at the logits, chosen on the inner split of docs/study.md: 0.03, 0.1, 0.3 or 1, on
# phantoms, one seed each (benchmarks/results/study/weights.json). Terms that are not here have USUAL_WEIGHT.
FOUND_WEIGHTS: dict[str, float] = {
    "hausdorff_distance": 1.0,
    "hausdorff_log": 0.3,
    "hausdorff_erosion": 0.1,
    "hausdorff_convolution": 0.3,
    "hausdorff_conditioned": 0.3,
    "signed_distance": 1.0,
    "blob": 0.3,
    "cc_dice": 1.0,
}


class Loss(Section):
    """What is minimised: the base loss and the boundary term."""

    dice_weight: float = Field(1.0, ge=0, description="weight of soft Dice in the base loss")
    ce_weight: float = Field(1.0, ge=0, description="weight of cross-entropy in the base loss (BCE on regions)")
    batch_dice: bool = Field(
        False, description="Dice of the global batch, not of each sample; the queries' Dice is of each mask in any case"
    )
    deep_targets: Literal["nearest", "max"] = Field(
        "nearest",
        description="masks of the deep heads: the nearest voxel, or any voxel of the region, for small lesions",
    )
    query_class: float = Field(
        2.0, ge=0, description="matching cost and, divided by 10, loss weight of the query's class"
    )
    query_bce: float = Field(5.0, ge=0, description="the same for the mask's cross-entropy")
    query_dice: float = Field(5.0, ge=0, description="the same for the mask's Dice")
    query_pairing: Literal["correct", "reference"] = Field(
        "correct", description="each mask with its own matched query, or in the order of both, as published by mistake"
    )
    query_predictions: Literal["all", "final"] = Field(
        "all",
        description="predictions of the query decoder in the loss: (final + mean of the earlier) / 2, or the final one",
    )
    no_object_weight: float | None = Field(None, gt=0, description="class weight of `no object`; none: 1")
    query_points: int = Field(0, ge=0, description="sampled points per mask in the mask loss; 0: every voxel")
    boundary: str = Field(
        "none",
        description="term added to the base loss, or several joined by +; docs/losses.md has names and formulas",
    )
    boundary_shares: tuple[float, ...] | None = Field(
        None, description="weight of each term joined by +; none: all alike"
    )
    boundary_schedule: Literal["constant", "ramp", "balanced", "gradient"] = Field(
        "balanced",
        description="its weight: constant, ramped, or ramped and times a running ratio base / term, of values or "
        "of gradients at the logits",
    )
    boundary_weight: float | None = Field(
        USUAL_WEIGHT,
        ge=0,
        description="its weight; balanced, gradient: multiples of the base loss, 1 as published; none, with gradient: "
        "as docs/study.md found",
    )
    boundary_ramp: Range = Field(
        (0.1, 0.5), description="shares of the run at which the weight leaves 0 and reaches its full value"
    )
    boundary_reduction: Literal["mean", "sum"] = Field("mean", description="how the term's labels are combined")
    boundary_label_weights: tuple[float, ...] | None = Field(
        None, description="weight of each region or label in it, background left out; none: all alike"
    )
    boundary_alpha: float | None = Field(
        None, gt=0, description="exponent of a Hausdorff term's distance, depth or radius; none: 2, conditioned 1"
    )
    boundary_sides: Literal["both", "target", "directed"] = Field(
        "both", description="distances to target and prediction, to the target alone, or of each to the other"
    )
    boundary_absent: Length | Literal["diagonal", "zero", "skip"] = Field(
        "diagonal", description="distance of an absent label: the patch diagonal, zero or mm; skip: no loss for it"
    )
    boundary_cap_mm: float | None = Field(
        None, gt=0, description="distances above count as this; none: no cap, conditioned 20"
    )
    boundary_class_balanced: bool = Field(
        False, description="mean of the means inside and outside the target, not over all voxels (distance, log)"
    )
    boundary_erosions: int = Field(10, ge=1, description="erosions of hausdorff_erosion")
    boundary_rescale: Literal["fixed", "peak"] = Field(
        "peak", description="how an erosion is brought back to [0, 1]: by a fixed factor, or by its largest value"
    )
    boundary_radii_mm: tuple[Length, ...] = Field(
        (3, 6, 9, 12, 15, 18), min_length=1, description="balls of hausdorff_convolution"
    )
    boundary_inside: Literal["dice", "dice_ce"] = Field(
        "dice_ce", description="loss of each lesion in blob and cc_dice: Dice, or with cross-entropy as published"
    )
    boundary_tversky: tuple[float, float] = Field(
        (0.3, 0.7), description="weights of false positives and of missed voxels in focal_tversky"
    )
    boundary_focus: float = Field(4 / 3, gt=0, description="exponent of focal_tversky is 1 over this")
    boundary_top: float = Field(0.1, gt=0, le=1, description="share of the voxels, the worst, that count in top_k")

    @property
    def weight(self) -> float:
        """Returns the weight of the boundary term or terms; one that is left open is what was found for the term."""
        return FOUND_WEIGHTS.get(self.boundary, USUAL_WEIGHT) if self.boundary_weight is None else self.boundary_weight

    @property
    def boundary_terms(self) -> tuple[str, ...]:
        """Returns the terms that are joined in `boundary`; empty for none."""
        return () if self.boundary == "none" else tuple(self.boundary.split("+"))

    @field_validator("boundary")
    @classmethod
    def _boundary_is_known(cls, value: str) -> str:
        terms = value.split("+")
        known = value == "none" or all(term in get_args(BoundaryName) for term in terms)
        if not known or len(set(terms)) != len(terms):
            raise ValueError(
                f"expected none, one of {', '.join(get_args(BoundaryName))}, or different ones of them joined by +; "
                f"found {value!r}"
            )
        return value

    @model_validator(mode="after")
    def _boundary_fits(self) -> Loss:
        start, end = self.boundary_ramp
        if not 0 <= start <= end <= 1:
            raise ValueError(
                f"boundary_ramp is {self.boundary_ramp}; expected 0 <= start <= end <= 1, shares of the run"
            )
        if self.boundary_weight is None and self.boundary_schedule != "gradient":
            raise ValueError(
                f"boundary_weight is none and boundary_schedule {self.boundary_schedule}; expected a number, or "
                "boundary_schedule gradient, for which weights were found"
            )
        if self.boundary_schedule in ("balanced", "gradient") and self.weight > 10:
            raise ValueError(
                f"boundary_weight is {self.weight:g} and boundary_schedule {self.boundary_schedule}, where 1 "
                "counts as much as the base loss; expected at most 10, or boundary_schedule ramp or constant for a "
                "plain factor"
            )
        weights = self.boundary_label_weights
        if weights is not None and (min(weights, default=0) < 0 or sum(weights) <= 0):
            raise ValueError(f"boundary_label_weights is {weights}; expected numbers from 0, not all of them 0")
        tversky = self.boundary_tversky
        if not (min(tversky) >= 0 and 0 < sum(tversky) < math.inf):
            raise ValueError(f"boundary_tversky is {tversky}; expected two numbers from 0, not both 0")
        shares, terms = self.boundary_shares, self.boundary_terms
        if shares is not None and (len(shares) != len(terms) or min(shares, default=0) <= 0):
            raise ValueError(
                f"boundary_shares is {shares} and boundary {self.boundary}; expected a number above 0 for each term"
            )
        return self
