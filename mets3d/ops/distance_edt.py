"""Computes squared distances to the other class on the CPU by `edt` (LGPL, no dependency), where numba fails.

Its multi-label form gives every voxel the distance to the nearest voxel of another label: with two labels that is the
field, in one pass.
"""

from __future__ import annotations

import edt
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor


def squared_field(
    masks: Bool[Tensor, "N X Y Z"], spacing_mm: Float[np.ndarray, "N 3"], absent: Float[np.ndarray, "N"]
) -> Float[Tensor, "N X Y Z"]:
    """Returns mm^2 to the nearest voxel of the other class; `absent` in volumes of one class."""
    out = torch.empty(masks.shape, dtype=torch.float32)
    for mask, spacing, constant, field in zip(masks, spacing_mm, absent, out, strict=True):
        labels = mask.to(torch.uint8) + 1  # 0 is background to edt, at distance 0
        squared = edt.edtsq(labels.numpy(), anisotropy=tuple(spacing), parallel=torch.get_num_threads())
        field.copy_(torch.from_numpy(squared))
        if mask.all() or not mask.any():
            field.fill_(float(constant))
    return out
