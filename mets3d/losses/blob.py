"""Computes the blob loss: soft Dice of every lesion by itself, so that a small one counts as much as a large one.

F. Kofler et al., IPMI 2023 (arXiv 2205.08209): for each connected component of the target the voxels of all the others
are left out, and the losses of the components are averaged.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from mets3d.losses.volumes import checked
from mets3d.ops.components import components
from mets3d.ops.distance import SpacingLike
from mets3d.ops.uncompiled import uncompiled
from mets3d.shapes import raised


def blob_loss(
    probability: Shaped[Tensor, "..."],
    target: Shaped[Tensor, "..."],
    spacing_mm: SpacingLike = (1.0, 1.0, 1.0),
    *,
    smooth: float = 1.0,
) -> Float[Tensor, "B R"]:
    """Returns the mean Dice loss of the target's components, 1 - (2 P_l + s) / (P_l + P_0 + |l| + s) for component l.

    Components are 26-connected. P_l is the sum of the probability over component l, P_0 that over the background: a
    false positive lowers the Dice of every lesion. Without a component the loss is 1 - s / (P_0 + s).

    On a GPU the step waits: the target travels to the host, where its components are numbered, and one index per
    lesion voxel comes back. The spacing is checked and otherwise unused. Types and errors as `hausdorff_distance_loss`.
    """
    truth, _ = checked(probability, target, spacing_mm)
    with torch.autocast(probability.device.type, enabled=False):
        exact = raised(probability).flatten(0, 1)
        background = (exact * ~truth.flatten(0, 1)).sum((-3, -2, -1))
        masks = truth.flatten(0, 1).cpu().numpy()
        losses = [
            _one(volume.flatten(), mask, outside, smooth)
            for volume, mask, outside in zip(exact, masks, background, strict=True)
        ]
        return torch.stack(losses).view(probability.shape[:2])


@uncompiled
def _one(
    probability: Float[Tensor, "V"], mask: Shaped[np.ndarray, "X Y Z"], outside: Float[Tensor, ""], smooth: float
) -> Float[Tensor, ""]:
    numbers = components(mask).ravel()
    voxels = np.flatnonzero(numbers)
    if not len(voxels):
        return 1 - smooth / (outside + smooth)
    order = np.argsort(numbers[voxels], kind="stable")
    sizes = np.bincount(numbers[voxels])[1:]
    device = probability.device
    of_lesions = probability[torch.from_numpy(voxels[order]).to(device, non_blocking=True)]
    lengths = torch.from_numpy(sizes).to(device, non_blocking=True)
    # A segmented sum, and not a scatter, which would add in another order at every call on a GPU.
    inside = torch.segment_reduce(of_lesions, "sum", lengths=lengths, unsafe=True)
    return (1 - (2 * inside + smooth) / (inside + outside + lengths + smooth)).mean()
