"""Computes the boundary loss of Kervadec and others, on signed distances of the target.

H. Kervadec et al., Medical Image Analysis 67:101851, 2021 (arXiv 1812.07032): the integral over the region between two
boundaries of the distance to the target's is, up to a constant, mean phi_g p, with phi_g the signed distance of the
target, negative inside.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from mets3d.losses.volumes import checked, checked_positive, diagonal_mm, per_voxel
from mets3d.ops.distance import SpacingLike, distance_to_other_class
from mets3d.shapes import raised


def signed_distance_loss(
    probability: Shaped[Tensor, "..."],
    target: Shaped[Tensor, "..."],
    spacing_mm: SpacingLike = (1.0, 1.0, 1.0),
    *,
    normalise: bool = True,
    absent: float | int | Literal["diagonal", "zero"] = "diagonal",
    parity: Literal["kervadec"] | None = None,
) -> Float[Tensor, "B R"]:
    """Returns mean phi_g (p - g) of each item and channel, [B, R, X, Y, Z] to [B, R].

    The constant mean phi_g g, which the authors drop, is kept: the value is 0 for p = g and never negative. phi_g is
    the distance in mm to the nearest voxel of the other class, divided by D0, the diagonal, with `normalise`. Where the
    target lacks the label or fills the volume, phi_g is `absent` outside and -`absent` inside: D0, a length in mm, or
    zero. The loss is one-sided and linear in p: it penalises a false positive by its distance, and a missed lesion by
    its depth alone.

    parity="kervadec": as their SurfaceLoss: distances in mm, inside -(d - 1), 0 without a boundary, the constant
    dropped. Types, spacing and errors as `hausdorff_distance_loss`.
    """
    truth, spacing = checked(probability, target, spacing_mm)
    if parity not in (None, "kervadec"):
        raise ValueError(f"parity: expected kervadec or None, found {parity!r}")
    if parity == "kervadec":
        normalise, absent = False, "zero"
    diagonal = diagonal_mm(truth.shape, spacing)
    if isinstance(absent, str):
        if absent not in ("diagonal", "zero"):
            raise ValueError(f"absent: expected diagonal, zero or a length in mm, found {absent!r}")
        absent_mm = diagonal if absent == "diagonal" else np.zeros(len(spacing))
    else:
        absent_mm = np.full(len(spacing), float(checked_positive("absent", absent)))
    unit = diagonal if normalise else np.ones(len(spacing))
    with torch.autocast(probability.device.type, enabled=False):
        exact = raised(probability)
        with torch.no_grad():
            field = distance_to_other_class(truth, np.broadcast_to(spacing / unit[:, None], (len(truth), 3)))
            field = torch.where(torch.isinf(field), per_voxel(absent_mm / unit, field), field)
            inside = (field - 1 if parity else field) * (field > 0)
            signed = torch.where(truth, -inside, field)
        compared = exact if parity else exact - truth.to(exact.dtype)
        return (signed * compared).mean((-3, -2, -1))
