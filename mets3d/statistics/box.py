"""Computes the five numbers of a box plot, and the share of values at one place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

REACH = 1.5  # heights of the box, to the end of a whisker at most


@dataclass(frozen=True)
class Box:
    """Median and quartiles of some values, and the ends of the whiskers."""

    low: float
    q1: float
    median: float
    q3: float
    high: float


def box(values: Sequence[float]) -> Box:
    """Returns the box of at least one value; quartiles are interpolated linearly.

    A whisker ends at the last value within 1.5 heights of the box, or at the box where there is none beyond it.
    Source: Tukey, Exploratory Data Analysis, 1977.
    """
    array = np.asarray(values, np.float64)
    q1, median, q3 = (float(value) for value in np.percentile(array, [25, 50, 75]))
    reach = REACH * (q3 - q1)
    low, high = array[array >= q1 - reach].min(), array[array <= q3 + reach].max()
    return Box(min(float(low), q1), q1, median, q3, max(float(high), q3))


def share_of(values: Sequence[float], wanted: float) -> float:
    """Returns the share of the values that equal `wanted`; 0 where there are none."""
    return sum(value == wanted for value in values) / len(values) if values else 0.0
