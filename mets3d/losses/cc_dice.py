"""Computes CC-Dice and CC-DiceCE: a loss for every lesion within its Voronoi cell, averaged over the lesions.

L. Bouteille et al., "Learning to Look Closer", 2025 (arXiv 2511.17146), with the cells of CC-Metrics (A. Jaus et al.,
arXiv 2410.18684). On BraTS-METS 2025: arXiv 2604.24276. For lesion l of the target g, with cell C_l:

    Dice_l = 1 - (2 sum over l of p + s) / (sum over C_l of p + |l| + s)
    CE_l   = mean over C_l of -g log p - (1 - g) log(1 - p)

A voxel belongs to the cell of the lesion that is nearest in mm. So a false positive lowers the Dice of one lesion, and
in the blob loss that of all.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from mets3d.losses.lesions import checked_inside, numbered
from mets3d.losses.volumes import checked
from mets3d.ops.cross_entropy import segment_entropies
from mets3d.ops.distance import SpacingLike
from mets3d.ops.nearest import nearest_label
from mets3d.ops.segments import segment_sizes, segment_sums
from mets3d.shapes import Lesions, raised


def cc_dice_loss(
    probability: Shaped[Tensor, "..."],
    target: Shaped[Tensor, "..."],
    spacing_mm: SpacingLike = (1.0, 1.0, 1.0),
    *,
    inside: Literal["dice", "dice_ce"] = "dice",
    smooth: float = 1.0,
    lesions: Lesions | None = None,
) -> Float[Tensor, "B R"]:
    """Returns the mean over the target's lesions of the soft Dice loss in each one's cell, [B, R, X, Y, Z] to [B, R].

    Cells are exact; a voxel that is equally near to two lesions belongs to the one with the smaller number, of
    components that with the earlier first voxel. Without a lesion the whole volume is one cell: 1 - s / (sum p + s).

    inside: `dice_ce` adds the mean cross-entropy of the cell; see `voxel_cross_entropy` for its bound.
    lesions: the lesion of each voxel of the target, of which a patch may show a part or several. None: the lesions are
    the target's 26-connected components; on a GPU the step then waits, for they are numbered on the host.
    Types and errors as `hausdorff_distance_loss`; ValueError for an unknown `inside`.
    """
    truth, spacing = checked(probability, target, spacing_mm)
    checked_inside(inside)
    numbers, most = numbered(truth) if lesions is None else lesions
    with torch.autocast(probability.device.type, enabled=False):
        exact = raised(probability).flatten(0, 1).flatten(1)
        in_lesion = numbers > 0
        # Cell c is two segments, its lesion 2c - 1 and its background 2c. Without a lesion all is the background of 1.
        cells = nearest_label(numbers, spacing if len(spacing) > 1 else spacing[0], most=most)
        segments = cells.clamp_min_(1).mul_(2).sub_(in_lesion.view(torch.uint8)).flatten(0, 1).flatten(1)
        count = 2 * max(most, 1)
        voxels = torch.unflatten(segment_sizes(segments, count), 1, (-1, 2))
        if inside == "dice":
            sums, entropies = segment_sums(exact, segments, count), None
        else:
            sums, entropies = segment_entropies(exact, in_lesion.flatten(0, 1).flatten(1), segments, count)
        of_lesion, of_rest = torch.unflatten(sums, 1, (-1, 2)).unbind(2)
        each = 1 - (2 * of_lesion + smooth) / (of_lesion + of_rest + voxels[..., 0] + smooth)
        if entropies is not None:
            each = each + torch.unflatten(entropies, 1, (-1, 2)).sum(2) / voxels.sum(2).clamp_min(1)
        there = voxels.sum(2) > 0
        return (torch.where(there, each, 0.0).sum(1) / there.sum(1)).view(probability.shape[:2])
