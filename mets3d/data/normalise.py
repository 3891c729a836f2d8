"""Makes the intensities of a case's brain comparable with those of others: z-score, percentiles or learned landmarks.

All three end on the scale of a normal distribution with mean 0 and deviation 1, so that augmentation, thresholds and
weights trained on one form meet numbers of the same size on another:

z_score      (v - mean) / deviation, both of the brain
percentile   linear, so that the brain's 0.5 and 99.5 percentiles become -2.576 and 2.576, where a normal
             distribution has them; one voxel of any value moves neither
nyul         piecewise linear, so that the brain's percentiles 1, 10, 20, ..., 90 and 99 become the landmarks learned
             over a training set, the outermost of them -2.326 and 2.326; beyond these the outermost pieces go on
             (Nyul, Udupa: Magn Reson Med 42:1072, 1999; Nyul, Udupa, Zhang: IEEE TMI 19:143, 2000)

Before it, values can be clipped at a percentile and at its opposite. Numbers beyond half precision become its largest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from jaxtyping import Float16, Float32, Float64

from mets3d.data import DataError
from mets3d.files import Kind

Form = Literal["z_score", "percentile", "nyul"]
Values = Float32[np.ndarray, " n"]  # of the brain, in one sequence

CONSTANT = 1e-5  # times the largest value: a deviation that rounding alone makes, as of a resampled constant
ENDS, AT_ENDS = (0.5, 99.5), 2.5758  # percentiles, and where a normal distribution has them
LANDMARKS = (1, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99)  # percentiles
AT_LANDMARKS = 2.3263  # where a normal distribution has the outermost
LARGEST = float(np.finfo(np.float16).max)
CHUNK = 1 << 20  # values that are in double precision at a time

WORDS = {
    "z_score": "z-score inside the brain, per sequence; 0 outside",
    "percentile": f"percentiles {ENDS[0]} and {ENDS[1]} of the brain at -/+{AT_ENDS}, per sequence; 0 outside",
    "nyul": "Nyul's landmarks of the training set inside the brain, per sequence; 0 outside",
}


@dataclass(frozen=True)
class Normalisation:
    """How intensities are made comparable. landmarks: of each sequence, for `nyul`."""

    form: Form = "z_score"
    clip_percentile: float | None = None
    landmarks: tuple[tuple[str, tuple[float, ...]], ...] = ()

    @property
    def words(self) -> str:
        """What is done, as a sentence without its full stop."""
        clip = self.clip_percentile
        return WORDS[self.form] + (f"; clipped at the {clip:g} and {100 - clip:g} percentiles before" if clip else "")

    def as_json(self) -> dict[str, Any]:
        """Returns the content of plan.json's `intensities`."""
        content = {"form": self.form, "clip_percentile": self.clip_percentile}
        return content | ({"landmarks": {name: list(row) for name, row in self.landmarks}} if self.landmarks else {})

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Normalisation:
        """Makes it of content that fits `INTENSITIES`."""
        landmarks = content.get("landmarks", {}).items()
        return cls(
            content["form"],
            content["clip_percentile"],
            tuple((name, tuple(float(value) for value in row)) for name, row in landmarks),
        )


def normalised(values: Values, sequence: str, how: Normalisation) -> tuple[Float16[np.ndarray, " n"], float, float]:
    """Returns the brain's values on the common scale, and their mean and deviation as they were, but clipped.

    `values` are changed where they are clipped. Raises DataError for a sequence that is constant in the brain, or
    varies there no more than by rounding, and for one without landmarks.
    """
    _clip(values, how.clip_percentile)
    mean = _sum_of(values, lambda part: part) / len(values)
    std = math.sqrt(_sum_of(values, lambda part: np.square(part - mean)) / len(values))
    largest = max(abs(float(values.min())), abs(float(values.max())))
    if not std > CONSTANT * largest:
        raise DataError(f"{sequence} is {mean:g} everywhere in the brain")
    change = _change(values, sequence, how, mean, std)
    result = np.empty(len(values), dtype=np.float16)
    for start in range(0, len(values), CHUNK):
        part = change(values[start : start + CHUNK].astype(np.float64))
        result[start : start + CHUNK] = np.clip(part, -LARGEST, LARGEST, out=part)
    return result, mean, std


def landmarks_of(values: Values, clip_percentile: float | None) -> list[float] | None:
    """Returns a case's landmarks in one sequence, the outermost at -/+2.326; None where those are one value."""
    _clip(values, clip_percentile)
    found = np.percentile(values, LANDMARKS).astype(np.float64)
    width = found[-1] - found[0]
    if not width > CONSTANT * np.abs(found).max():
        return None
    return [float(value) for value in AT_LANDMARKS * (2 * (found - found[0]) / width - 1)]


def mean_landmarks(cases: Sequence[Mapping[str, list[float] | None]]) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """Returns the mean of the cases' landmarks by sequence; cases that have none of a sequence do not count there."""
    names = dict.fromkeys(name for case in cases for name in case)
    rows = {name: [row for case in cases if (row := case.get(name)) is not None] for name in names}
    return tuple((name, tuple(float(n) for n in np.mean(found, axis=0))) for name, found in rows.items() if found)


# ---------------------------------------------------------------- parts

Change = Callable[[Float64[np.ndarray, " m"]], Float64[np.ndarray, " m"]]


def _change(values: Values, sequence: str, how: Normalisation, mean: float, std: float) -> Change:
    """Returns the change of the form."""
    if how.form == "z_score":
        return lambda part: (part - mean) / std
    if how.form == "percentile":
        low, high = (float(value) for value in np.percentile(values, ENDS))
        if not high - low > CONSTANT * max(abs(low), abs(high)):
            raise DataError(f"{sequence} is {low:g} in 99 % of the brain, so its percentiles say nothing")
        return lambda part: AT_ENDS * (2 * (part - low) / (high - low) - 1)
    standard = dict(how.landmarks).get(sequence)
    if standard is None:
        raise DataError(f"{sequence}: no landmarks were learned for it, so it cannot be normalised by them")
    return _by_landmarks(np.percentile(values, LANDMARKS).astype(np.float64), np.array(standard), sequence)


def _by_landmarks(own: Float64[np.ndarray, " p"], standard: Float64[np.ndarray, " p"], sequence: str) -> Change:
    """Returns the piecewise linear change; of landmarks that are one value the mean of their places counts."""
    first = np.concatenate([[True], np.diff(own) > CONSTANT * np.abs(own).max()])
    places = np.cumsum(first) - 1
    knots = own[first]
    targets = np.bincount(places, standard) / np.bincount(places)
    if len(knots) < 2:
        raise DataError(f"{sequence} is {own[0]:g} in 98 % of the brain, so its percentiles say nothing")
    slopes = np.diff(targets) / np.diff(knots)

    def change(part: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, " m"]:
        piece = np.clip(np.searchsorted(knots, part, side="right") - 1, 0, len(slopes) - 1)
        return np.asarray(targets[piece] + slopes[piece] * (part - knots[piece]))

    return change


def _clip(values: Values, percentile: float | None) -> None:
    if percentile is not None:
        low, high = np.percentile(values, (100 - percentile, percentile))
        np.clip(values, low, high, out=values)


def _sum_of(values: Values, term: Callable[[Any], Any]) -> float:
    """Returns the sum of term(value) in double precision, in the order of numpy's own pairwise sum.

    A whole copy in double precision would be twice the sequence.
    """
    if len(values) <= CHUNK:
        return float(np.add.reduce(term(values.astype(np.float64))))
    half = len(values) // 2
    half -= half % 8
    return _sum_of(values[:half], term) + _sum_of(values[half:], term)


def _are_landmarks(content: Any) -> bool:
    return isinstance(content, dict) and all(
        isinstance(row, list)
        and len(row) == len(LANDMARKS)
        and all(type(value) in (int, float) and math.isfinite(value) for value in row)
        and all(before <= after for before, after in pairwise(row))
        for row in content.values()
    )


def _fits(content: Any) -> bool:
    if not isinstance(content, dict) or not {"form", "clip_percentile"} <= set(content):
        return False
    clip, rows = content["clip_percentile"], content.get("landmarks", {})
    return (
        content["form"] in WORDS
        and (clip is None or (type(clip) in (int, float) and 50 < clip < 100))
        and _are_landmarks(rows)
        and bool(rows) == (content["form"] == "nyul")
    )


INTENSITIES = Kind(f"form ({', '.join(WORDS)}), clip_percentile and, for nyul, {len(LANDMARKS)} landmarks each", _fits)
