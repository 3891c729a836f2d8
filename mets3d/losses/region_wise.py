"""Computes the region-wise loss with rectified maps of Valverde and Tohka: a linear loss that rewards a lesion's depth.

J. M. Valverde, J. Tohka, Pattern Recognition 136:109208, 2023 (arXiv 2108.01405): the mean over voxels of the product
of probability and a map of the target. In the rectified map the other classes have 1, and the class itself minus its
depth: the distance to the other classes, over the largest one. Maps without that bound, as the boundary loss has them,
were found to train unstably.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from mets3d.losses.volumes import any_voxel, checked
from mets3d.ops.distance import SpacingLike, distance_to_other_class
from mets3d.shapes import raised


def region_wise_loss(
    probability: Shaped[Tensor, "..."],
    target: Shaped[Tensor, "..."],
    spacing_mm: SpacingLike = (1.0, 1.0, 1.0),
    *,
    absent: Literal["one", "skip"] = "one",
    parity: Literal["authors"] | None = None,
) -> Float[Tensor, "B R"]:
    """Returns mean z (p - g) of each item and channel, z the rectified map of the target, in [-1, 1].

    z is 1 outside the target, and inside -d / max d, with d the distance in mm to the nearest voxel outside. The
    constant mean z g, which the authors' code does not subtract, makes the value 0 for p = g and never negative; the
    gradient is the same. A channel stands by itself, of a sigmoid or of a softmax.
    absent: where the target lacks the label z is 1 everywhere, as the authors'; `skip` gives 0 there. A target that
    fills the volume has no boundary: z is -1.
    parity="authors": mean z p, as their code.
    Shapes, types, spacing and errors as `hausdorff_distance_loss`.
    """
    truth, spacing = checked(probability, target, spacing_mm)
    with torch.autocast(probability.device.type, enabled=False):
        exact = raised(probability)
        with torch.no_grad():
            field = distance_to_other_class(truth, np.broadcast_to(spacing, (len(truth), 3)), absent_mm=1.0)
            inside = field.mul_(truth)
            deepest = inside.amax((-3, -2, -1), keepdim=True)
            values = torch.where(truth, -inside / deepest, 1.0)
            if absent == "skip":
                values *= any_voxel(truth)
        compared = exact if parity == "authors" else exact - truth.to(exact.dtype)
        return (values * compared).mean((-3, -2, -1))
