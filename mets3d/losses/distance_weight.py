"""Computes the weight of each voxel in the Hausdorff distance loss from the distances to target and prediction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mets3d.losses.volumes import any_voxel, checked_positive, diagonal_mm, per_voxel
from mets3d.ops.distance import distance_to_other_class

Sides = Literal["both", "target", "directed"]
Absent = float | int | Literal["diagonal", "zero", "skip"]


@dataclass(frozen=True)
class DistanceWeight:
    """The choices that make the weight w of a voxel; `hausdorff_distance_loss` describes each of them."""

    alpha: float | int
    sides: Sides
    normalise: bool
    absent: Absent
    cap_mm: float | int | None
    class_balanced: bool

    def __post_init__(self) -> None:
        checked_positive("alpha", self.alpha)
        if self.cap_mm is not None:
            checked_positive("cap_mm", self.cap_mm)
        if self.sides not in get_args(Sides):
            raise ValueError(f"sides: expected both, target or directed, found {self.sides!r}")
        if not isinstance(self.absent, str):
            checked_positive("absent", self.absent)
        elif self.absent not in ("diagonal", "zero", "skip"):
            raise ValueError(f"absent: expected diagonal, zero, skip or a length in mm, found {self.absent!r}")

    def field(self, truth: Tensor, mask: Tensor, spacing: Float[np.ndarray, "N 3"]) -> Tensor:
        """Returns w of each voxel, fp32 [B, R, X, Y, Z]; `mask` is the predicted one.

        All lengths are in the unit of the result, those of the transform too, so that no pass over the voxels goes into
        a division.
        """
        diagonal = diagonal_mm(truth.shape, spacing)
        unit = diagonal if self.normalise else np.ones(len(spacing))
        constant = np.broadcast_to(self._absent_mm(diagonal) / unit, (len(truth),))
        cap = None if self.cap_mm is None else self.cap_mm / unit
        weight = self._distances(truth, mask, spacing / unit[:, None], constant, cap)
        if self.absent != "zero":
            capped = constant if cap is None else np.minimum(constant, cap)
            weight = _on_false_positives(weight, truth, mask, capped**self.alpha)
        if self.class_balanced:
            weight *= _class_shares(truth)
        if self.absent == "skip":
            weight *= any_voxel(truth)
        return weight

    def _absent_mm(self, diagonal: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
        if self.absent in ("diagonal", "skip"):
            return diagonal
        return np.full(len(diagonal), 0.0 if self.absent == "zero" else float(self.absent))

    def _distances(
        self,
        truth: Tensor,
        mask: Tensor,
        spacing: Float[np.ndarray, "N 3"],
        constant: Float[np.ndarray, "B"],
        cap: Float[np.ndarray, "N"] | None,
    ) -> Tensor:
        """Returns d_g^alpha and d_p^alpha, combined as `sides` says; `constant` is the distance of an absent label."""
        masks = torch.stack([truth, mask] if self.sides != "target" else [truth], 1)
        # An empty or full prediction gets 0, a distance that no voxel of two classes has, and is found by it below.
        absent = np.stack([constant, np.zeros_like(constant)], 1)[:, : masks.shape[1], None]
        field = distance_to_other_class(
            masks, np.broadcast_to(spacing, (len(truth), 3)), squared=True, absent_mm=absent
        )
        d_g = _power(field[:, 0], self.alpha, cap)
        if self.sides == "target":
            return d_g
        d_p = field[:, 1]
        alone = d_p[..., :1, :1, :1] == 0
        # On the CPU a look at the flags can save a pass over the voxels; on a GPU it would make the host wait.
        if alone.device.type != "cpu" or alone.any():
            d_p = torch.where(alone & truth, per_voxel(constant**2, d_p), d_p)
        d_p = _power(d_p, self.alpha, cap)
        return torch.where(truth, d_p, d_g) if self.sides == "directed" else d_g.add_(d_p)


def _power(squared: Tensor, alpha: float, cap: Float[np.ndarray, "N"] | None) -> Tensor:
    """Returns min(d, cap)^alpha, given d^2, which it may overwrite; no root is taken where alpha is 2."""
    if cap is not None:
        squared = torch.minimum(squared, per_voxel(cap**2, squared))
    return squared if alpha == 2 else squared.pow_(alpha / 2)


def _on_false_positives(weight: Tensor, truth: Tensor, mask: Tensor, constant: Float[np.ndarray, "N"]) -> Tensor:
    """Moves the weight onto the predicted voxels where the target lacks the label.

    There the predicted voxels have the weight `constant` and their d_p^alpha. All others together have as much of
    `constant` as they, or as one voxel where nothing is predicted. The others outnumber a false positive thousands of
    times, and d_p grows away from it: without this most of the gradient would be on background that is right.
    """
    lacking = ~any_voxel(truth)
    if weight.device.type == "cpu" and not lacking.any():
        return weight
    predicted = mask.sum((-3, -2, -1), keepdim=True)
    rest = math.prod(mask.shape[-3:]) - predicted
    # At least one voxel's share: a first false positive must not lower the loss.
    share = (predicted.clamp_min(1) / rest.clamp_min(1)).clamp_max(1)
    return torch.where(lacking & ~mask, share * per_voxel(constant, weight), weight)


def _class_shares(truth: Tensor) -> Tensor:
    """Returns factors that turn a mean over all voxels into the mean of two: of target voxels and of the others."""
    n = math.prod(truth.shape[-3:])
    inside = truth.sum((-3, -2, -1), keepdim=True)
    return torch.where(truth, n / (2 * inside.clamp_min(1)), n / (2 * (n - inside).clamp_min(1)))
