"""Makes label maps as people draw them: boundaries a voxel off in places, small lesions not marked."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from mets3d.ops.voxels import Spacing, bounding_box
from mets3d.regions import BACKGROUND, ET, NETC, RC, SNFH, TC, WT

Labels = UInt8[np.ndarray, "X Y Z"]
Mask = Bool[np.ndarray, "X Y Z"]

SMALL_MM3 = 27.0
HAND_VOXELS = 1.5  # over about this distance a hand stays on one side of the boundary


def annotated(rng: np.random.Generator, labels: Labels, brain: Mask, spacing_mm: Spacing, noise: float) -> Labels:
    """Returns a label map as it is drawn by hand; `noise` is 0 (the truth) to 1.

    It is the share of each region's boundary that is one voxel off, as often outwards as inwards, and the share of
    tumours below 27 mm3 that are not marked. No tumour vanishes by its boundary alone, and nothing is drawn outside the
    brain. Raises ValueError for another noise.
    """
    check_noise(noise)
    box = bounding_box(labels != BACKGROUND, margin=2)
    if noise == 0 or box is None:
        return labels
    from scipy.ndimage import gaussian_filter

    true = labels[box]
    hand = gaussian_filter(rng.standard_normal(true.shape, dtype=np.float32), HAND_VOXELS)
    hand /= hand.std()
    marked = _without_some(rng, true, math.prod(spacing_mm), noise)
    outer, core, enhancing, cavity = (
        _redrawn(region.mask(marked), hand, noise) & brain[box] for region in (WT, TC, ET, RC)
    )
    drawn = labels.copy()
    inside = drawn[box]
    inside[:] = BACKGROUND
    inside[outer] = SNFH
    inside[cavity] = RC.decoded_as
    inside[core] = NETC
    inside[core & enhancing] = ET.decoded_as
    return drawn


def check_noise(noise: float) -> None:
    """Raises ValueError unless the noise is from 0 to 1."""
    if not 0 <= noise <= 1:
        raise ValueError(f"annotation noise: expected a number from 0 to 1, found {noise}")


def _without_some(rng: np.random.Generator, labels: Labels, voxel_mm3: float, share: float) -> Labels:
    """Takes away a share of the tumours below 27 mm3; what was tumour becomes what lies around it."""
    from mets3d.ops.components import components

    tumours = components(TC.mask(labels))
    sizes = np.bincount(tumours.ravel())
    gone = (sizes * voxel_mm3 < SMALL_MM3) & (rng.random(len(sizes)) < share)
    gone[0] = False
    if not gone.any():
        return labels
    from scipy.ndimage import binary_dilation

    left = labels.copy()
    for number in np.flatnonzero(gone):
        own = tumours == number
        around = labels[binary_dilation(own) & ~own]
        left[own] = SNFH if np.mean(around == SNFH) > 0.5 else BACKGROUND
    return left


def _redrawn(mask: Mask, hand: Float32[np.ndarray, "X Y Z"], share: float) -> Mask:
    """Moves a boundary by a voxel, out where the hand is high and in where it is low, over a share of its length."""
    from scipy.ndimage import binary_dilation, binary_erosion

    from mets3d.ops.components import components

    limit = NormalDist().inv_cdf(1 - share / 2)
    drawn: Mask = np.where(hand > limit, binary_dilation(mask), np.where(hand < -limit, binary_erosion(mask), mask))
    parts = components(mask)
    kept = np.zeros(int(parts.max()) + 1, dtype=bool)
    kept[parts[drawn]] = True
    result: Mask = drawn | (mask & ~kept[parts])
    return result
