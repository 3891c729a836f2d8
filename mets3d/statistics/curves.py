"""Makes curves of a training log: the values of a key by step, sums of keys, fewer points by means of neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from mets3d.evaluation.tables import Row

Curve = tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]  # steps, values
ShorterCurve = tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, " m"]]


def curve(rows: Sequence[Row], key: str) -> Curve:
    """Returns steps and values of `key` where it has a finite value."""
    pairs = [(row["step"], row[key]) for row in rows if isinstance(row.get(key), int | float) and np.isfinite(row[key])]
    array = np.array(pairs, float).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def summed_curve(rows: Sequence[Row], keys: Sequence[str]) -> Curve:
    """Returns steps and the sum of `keys`; a key without a value counts 0, a row without any value is left out."""
    sums = [
        {"step": row["step"], "sum": sum(row[key] for key in keys if row.get(key) is not None)}
        for row in rows
        if any(row.get(key) is not None for key in keys)
    ]
    return curve(sums, "sum")


def mean_curve(curves: Sequence[Curve]) -> tuple[ShorterCurve, ShorterCurve, ShorterCurve]:
    """Returns mean, lowest and highest of several curves at the steps that all of them have; none of no curve."""
    own = [dict(zip(steps.tolist(), values.tolist(), strict=True)) for steps, values in curves] or [{}]
    shared = sorted(set.intersection(*(set(points) for points in own)))
    steps = np.array(shared, np.float64)
    table = np.array([[points[step] for step in shared] for points in own], np.float64).reshape(len(own), len(shared))
    return (steps, table.mean(0)), (steps, table.min(0)), (steps, table.max(0))


def thinned(points: Curve, most: int) -> ShorterCurve:
    """Returns at most `most` points: means over neighbouring groups of as equal a size as can be."""
    steps, values = points
    if len(steps) <= most:
        return points
    starts = np.linspace(0, len(steps), most, endpoint=False).astype(int)
    sizes = np.diff(np.append(starts, len(steps)))
    return np.add.reduceat(steps, starts) / sizes, np.add.reduceat(values, starts) / sizes
