"""Draws how many metastases a patient has and how large they are: the laws of BraTS-METS 2025's training set.

Its 10,119 lesions have volumes of 2.6, 39.7 and 2,678 mm3 at 5, 50 and 95 %, 41 % of them are below 27 mm3, and the
largest has 96,130. One log-normal law does not fit: with median 40 and 40 % below 27 mm3 its 95 % lie at 510 mm3. Here
the logarithm is normal with one spread below the median and another above.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

MEDIAN_MM3 = 40.0
SPREAD_BELOW = 1.55  # of the natural logarithm: 40 % below 27 mm3
SPREAD_ABOVE = 2.4  # 95 % below 2,000 mm3, one in 1,000 above 60,000 mm3
SMALLEST_MM3, LARGEST_MM3 = 1.0, 100_000.0

MOST_LESIONS = 40
WITHOUT = 0.05  # share of patients without a metastasis
BLOCK = 20  # so many patients in a row cover the law of the number evenly, one of them without any
MEDIAN_LESIONS, SPREAD_LESIONS = 4.3, 1.1  # of patients with some: median 4 and 17 at 90 % of all patients


def place_in_block(seed: int, index: int, block: int, purpose: int) -> int:
    """Returns a number below `block` that each of `block` patients in a row has once, in random order.

    Small sets are as mixed as large ones by it, though each patient depends on seed and index alone.
    """
    order = np.random.default_rng([seed, index // block, purpose, block]).permutation(block)
    return int(order[index % block])


def lesion_count(rng: np.random.Generator, position: int) -> int:
    """Draws a patient's number of metastases, 0 to 40, from the part of the law at its position in a block."""
    share = (position + float(rng.random())) / BLOCK
    if share < WITHOUT:
        return 0
    deviations = NormalDist().inv_cdf(min((share - WITHOUT) / (1 - WITHOUT) + 1e-9, 1 - 1e-9))
    return min(MOST_LESIONS, max(1, round(MEDIAN_LESIONS * math.exp(SPREAD_LESIONS * deviations))))


def lesion_volume(rng: np.random.Generator, largest_mm3: float) -> float:
    """Draws the volume in mm3 of a metastasis without its oedema, 1 to `largest_mm3`."""
    while True:
        deviations = float(rng.standard_normal())
        volume = MEDIAN_MM3 * math.exp(deviations * (SPREAD_BELOW if deviations < 0 else SPREAD_ABOVE))
        if SMALLEST_MM3 <= volume <= largest_mm3:
            return volume
