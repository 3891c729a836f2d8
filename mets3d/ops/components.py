"""Numbers the connected components of masks. No other module imports cc3d."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Bool, Integer

Mask = Bool[np.ndarray, "X Y Z"]
Numbers = Integer[np.ndarray, "X Y Z"]  # of a mask's components, from 1; 0 in the background

MOST_FILLED = 1 / 8  # of the volume; see `components`


def components(mask: Mask, connectivity: Literal[6, 26] = 26) -> Numbers:
    """Numbers the connected components of a mask from 1 in the order of their first voxels; 0 is the background.

    Voxels are connected over faces, edges and corners (26), or over faces alone (6).
    """
    import cc3d

    if np.count_nonzero(mask) <= MOST_FILLED * mask.size:
        return np.asarray(cc3d.connected_components(mask, connectivity=connectivity))
    # cc3d 4.1 sets aside one number for eight voxels and raises RuntimeError where there are more components, as in a
    # box one voxel wide and high in which every other voxel is set. With a voxel more on each axis there never are.
    padded = np.pad(mask, ((0, 1), (0, 1), (0, 1)))
    return np.asarray(cc3d.connected_components(padded, connectivity=connectivity))[:-1, :-1, :-1]
