"""Sums up the numbers of many cases: medians with quartiles, amounts of each kind, cases that stand apart."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Kind = TypeVar("Kind", bound=Hashable)

FEWEST_FOR_OUTLIERS = 8  # cases: with fewer, quartiles say nothing about what is usual
FAR_OUT = 3.0  # interquartile ranges beyond the quartiles; Tukey, Exploratory Data Analysis, 1977
LEAST_RANGE = 0.05  # of the median: cases that are nearly all alike make no other one an outlier


@dataclass(frozen=True)
class Spread:
    """Median, quartiles, extremes and amount of some values."""

    amount: int
    lowest: float
    q1: float
    median: float
    q3: float
    highest: float


def spread(values: Iterable[float]) -> Spread | None:
    """Returns the spread of the finite values, quartiles interpolated linearly; None without any."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    lowest, q1, median, q3, highest = (float(value) for value in np.percentile(finite, [0, 25, 50, 75, 100]))
    return Spread(len(finite), lowest, q1, median, q3, highest)


def amounts(kinds: Iterable[Kind]) -> list[tuple[Kind, int]]:
    """Returns each kind with its amount, the most frequent first, equal ones in the order of their first."""
    return Counter(kinds).most_common()


def outliers(values: Mapping[str, float]) -> list[str]:
    """Returns the names of values far out: more than three interquartile ranges beyond a quartile, furthest first.

    Ratios count: where all values are above 0 their logarithms are compared. None with fewer than eight values.
    """
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    if len(finite) < FEWEST_FOR_OUTLIERS:
        return []
    positive = all(value > 0 for value in finite.values())
    scaled = {name: math.log(value) if positive else value for name, value in finite.items()}
    q1, median, q3 = (float(value) for value in np.percentile(list(scaled.values()), [25, 50, 75]))
    reach = FAR_OUT * max(q3 - q1, LEAST_RANGE * (1.0 if positive else abs(median)))
    beyond = {name: max(q1 - value, value - q3) for name, value in scaled.items()}
    return sorted((name for name in beyond if beyond[name] > reach), key=lambda name: -beyond[name])


def share(part: float, whole: float) -> float:
    """Returns part / whole; 0 of nothing."""
    return part / whole if whole else 0.0


def at_most_columns(rows: Sequence[Sequence[float]], most: int) -> list[list[float]]:
    """Returns at most `most` rows of the sorted ones given: where there are more, medians of equal groups of them."""
    if len(rows) <= most:
        return [list(row) for row in rows]
    groups = np.array_split(np.asarray(rows, np.float64), most)
    return [np.median(group, axis=0).tolist() for group in groups]
