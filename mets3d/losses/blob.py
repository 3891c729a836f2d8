"""Computes the blob loss: a loss of every lesion by itself, so that a small one counts as much as a large one.

F. Kofler et al., IPMI 2023 (arXiv 2205.08209): for each connected component of the target the voxels of all the others
are left out, and the losses of the components are averaged. With P_l the sum of the probability over lesion l, P_0 that
over the background, and V the number of voxels of the volume:

    Dice_l = 1 - (2 P_l + s) / (P_l + P_0 + |l| + s)
    CE_l   = (sum over l of -log p + sum over the background of -log(1 - p)) / V

They add both at weight 1, and the whole blob loss at half the weight of the Dice and cross-entropy of the volume.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from mets3d.losses.lesions import checked_inside, numbered
from mets3d.losses.volumes import checked
from mets3d.ops.cross_entropy import segment_entropies
from mets3d.ops.distance import SpacingLike
from mets3d.ops.segments import segment_sizes, segment_sums
from mets3d.shapes import Lesions, raised

SMOOTH_OF_KOFLER = 1e-5


def blob_loss(
    probability: Shaped[Tensor, "..."],
    target: Shaped[Tensor, "..."],
    spacing_mm: SpacingLike = (1.0, 1.0, 1.0),
    *,
    inside: Literal["dice", "dice_ce"] = "dice",
    smooth: float = 1.0,
    parity: Literal["kofler"] | None = None,
    lesions: Lesions | None = None,
) -> Float[Tensor, "B R"]:
    """Returns the mean loss of the target's lesions, Dice_l or Dice_l + CE_l, of each item and channel.

    A false positive lowers the Dice of every lesion. Without a lesion the loss is 1 - s / (P_0 + s), plus the
    mean cross-entropy with `dice_ce`.

    inside: `dice_ce` adds CE_l; see `mets3d.ops.cross_entropy` for its bound.
    parity="kofler": s is 1e-5, and an item without a lesion is left out of the mean over items: it is 0, and the others
    are larger by as much as makes the mean over the items theirs. In that an item depends on those beside it.
    lesions: the lesion of each voxel of the target, of which a patch may show a part or several. None: the lesions are
    the target's 26-connected components; on a GPU the step then waits, for they are numbered on the host.
    The spacing is checked and otherwise unused. Types and errors as `hausdorff_distance_loss`; ValueError for an
    unknown `inside` or `parity`.
    """
    truth, _ = checked(probability, target, spacing_mm)
    checked_inside(inside)
    if parity not in (None, "kofler"):
        raise ValueError(f"parity: expected kofler or None, found {parity!r}")
    smooth = SMOOTH_OF_KOFLER if parity == "kofler" else smooth
    numbers, most = numbered(truth) if lesions is None else lesions
    with torch.autocast(probability.device.type, enabled=False):
        exact, of_target = (volumes.flatten(0, 1).flatten(1) for volumes in (raised(probability), truth))
        # The background comes after the lesions.
        segments = torch.where(of_target, numbers.int().flatten(0, 1).flatten(1), most + 1)
        sizes = segment_sizes(segments, most + 1)[:, :-1]
        entropies = torch.zeros((), device=exact.device)
        if inside == "dice":
            sums = segment_sums(exact, segments, most + 1)
        else:
            sums, total = segment_entropies(exact, of_target, segments, most + 1)
            entropies = total / math.prod(truth.shape[-3:])
        of_lesions, outside = sums[:, :-1], sums[:, -1:]
        each = 1 - (2 * of_lesions + smooth) / (of_lesions + outside + sizes + smooth)
        none = 1 - smooth / (outside[:, 0] + smooth)
        if inside == "dice_ce":
            each, none = each + entropies[:, :-1] + entropies[:, -1:], none + entropies[:, -1]
        there = sizes > 0
        mean = torch.where(there, each, 0.0).sum(1) / there.sum(1).clamp_min(1)
        found = there.any(1).view(probability.shape[:2])
        if parity == "kofler":
            return mean.view(found.shape) * (len(found) / found.sum(0).clamp_min(1))
        return torch.where(found, mean.view(found.shape), none.view(found.shape))
