"""Computes the blob loss: soft Dice of every lesion by itself, so that a small one counts as much as a large one.

F. Kofler et al., IPMI 2023 (arXiv 2205.08209): for each connected component of the target the voxels of all the others
are left out, and the losses of the components are averaged.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from mets3d.losses.volumes import checked
from mets3d.ops.components import components
from mets3d.ops.distance import SpacingLike
from mets3d.ops.segments import segment_sizes, segment_sums
from mets3d.ops.uncompiled import uncompiled
from mets3d.shapes import Lesions, raised


def blob_loss(
    probability: Shaped[Tensor, "..."],
    target: Shaped[Tensor, "..."],
    spacing_mm: SpacingLike = (1.0, 1.0, 1.0),
    *,
    smooth: float = 1.0,
    lesions: Lesions | None = None,
) -> Float[Tensor, "B R"]:
    """Returns the mean Dice loss of the target's lesions, 1 - (2 P_l + s) / (P_l + P_0 + |l| + s) for lesion l.

    P_l is the sum of the probability over lesion l, P_0 that over the background: a false positive lowers the Dice of
    every lesion. Without a lesion the loss is 1 - s / (P_0 + s).

    lesions: the lesion of each voxel of the target, of which a patch may show a part or several. None: the lesions are
    the target's 26-connected components; on a GPU the step then waits, for they are numbered on the host.
    The spacing is checked and otherwise unused. Types and errors as `hausdorff_distance_loss`.
    """
    truth, _ = checked(probability, target, spacing_mm)
    numbers, most = _numbered(truth) if lesions is None else lesions
    with torch.autocast(probability.device.type, enabled=False):
        exact = raised(probability).flatten(0, 1).flatten(1)
        of_voxels = numbers.flatten(0, 1).flatten(1)
        outside = (exact * ~truth.flatten(0, 1).flatten(1)).sum(1, keepdim=True)
        inside, sizes = segment_sums(exact, of_voxels, most), segment_sizes(of_voxels, most)
        there = sizes > 0
        each = 1 - (2 * inside + smooth) / (inside + outside + sizes + smooth)
        mean = torch.where(there, each, 0.0).sum(1) / there.sum(1).clamp_min(1)
        none = 1 - smooth / (outside[:, 0] + smooth)
        return torch.where(there.any(1), mean, none).view(probability.shape[:2])


@uncompiled
def _numbered(truth: Bool[Tensor, "B R X Y Z"]) -> Lesions:
    """Numbers the 26-connected components of each volume from 1, on the host."""
    on_host = truth.cpu().numpy()
    numbers = torch.zeros(truth.shape, dtype=torch.int32)
    for item, channels in enumerate(on_host):
        for channel, mask in enumerate(channels):
            numbers[item, channel] = torch.from_numpy(components(mask).astype("int32"))
    return Lesions(numbers.to(truth.device, non_blocking=True), int(numbers.max()))
