"""Turns stored numbers into the values that they mean."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Num

from mets3d.data.nifti.formats import Voxels
from mets3d.data.nifti.orientation import in_ras_order, laid_out


def float32_in_ras(voxels: Voxels) -> Float32[np.ndarray, "X Y Z"]:
    """Returns a volume's values as float32 in RAS+. Beside the result one plane is held in another number type."""
    stored = in_ras_order(voxels.stored, voxels.grid)
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is infinite
        if voxels.scaling == (1.0, 0.0):
            return laid_out(stored, "C", np.float32)
        values = np.empty(stored.shape, np.float32)
        for y in range(stored.shape[1]):
            values[:, y] = scaled(stored[:, y], voxels.scaling)
        return values


def scaled(stored: Num[np.ndarray, "*axes"], scaling: tuple[float, float]) -> Num[np.ndarray, "*axes"]:
    """Returns slope times the stored numbers plus intercept, in float64; the numbers as they are without scaling."""
    from nibabel.volumeutils import apply_read_scaling

    if scaling == (1.0, 0.0):
        return stored
    slope, inter = scaling
    return np.asarray(apply_read_scaling(stored, np.float64(slope), np.float64(inter)))
