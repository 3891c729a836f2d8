"""Measures how predicted volumes agree with the reference: Bland-Altman limits and an intraclass correlation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

from mets3d.evaluation.tables import Row
from mets3d.statistics.intervals import Interval, Patients, bootstrap_interval
from mets3d.statistics.score_table import patients_in, values_of

LIMIT = 1.959963984540054  # standard deviations to each side that hold 95 % of a normal distribution


@dataclass(frozen=True)
class VolumePairs:
    """Predicted and reference volume of one region in the cases in which either is above 0."""

    cases: list[str]
    prediction_mm3: Float64[np.ndarray, " N"]
    reference_mm3: Float64[np.ndarray, " N"]
    patients: Patients = field(default_factory=dict)

    @property
    def mean_mm3(self) -> Float64[np.ndarray, " N"]:
        """Mean of the two volumes of each case."""
        return np.asarray((self.prediction_mm3 + self.reference_mm3) / 2, np.float64)

    @property
    def difference_mm3(self) -> Float64[np.ndarray, " N"]:
        """Prediction minus reference of each case."""
        return np.asarray(self.prediction_mm3 - self.reference_mm3, np.float64)


def volume_pairs(rows: Sequence[Row]) -> VolumePairs:
    """Returns the volumes in one region's rows of scores.csv; a case without both, or with both 0, is left out."""
    prediction, reference = (values_of(rows, f"{side}_volume_mm3") for side in ("prediction", "reference"))
    cases = sorted(case for case in prediction.keys() & reference.keys() if prediction[case] > 0 or reference[case] > 0)
    predicted, expected = (np.array([side[case] for case in cases], np.float64) for side in (prediction, reference))
    return VolumePairs(cases, predicted, expected, patients_in(rows))


@dataclass(frozen=True)
class VolumeAgreement:
    """Agreement of two measurements of one volume over cases, in mm3; a number that cannot be had is None."""

    n: int
    bias_mm3: float
    sd_mm3: float | None
    lower_mm3: float | None
    upper_mm3: float | None
    icc: float | None
    bias_interval: Interval | None = None
    lower_interval: Interval | None = None
    upper_interval: Interval | None = None
    icc_interval: Interval | None = None


def volume_agreement(
    prediction_mm3: Float64[np.ndarray, " N"],
    reference_mm3: Float64[np.ndarray, " N"],
    cases: Sequence[str],
    patients: Patients | None = None,
) -> VolumeAgreement | None:
    """Bias (mean of prediction - reference), SD of the differences (n - 1), limits of agreement bias -+ 1.96 SD, ICC.

    Cases in which both volumes are 0 are left out: agreement on an absent region is no measurement of a volume, and
    where most cases lack the region, as they lack a cavity, they would draw the limits together. None if no case is
    left; with a single one there are neither SD nor limits.

    The intraclass correlation is ICC(2,1): two-way random effects, absolute agreement, single measurement; for n cases
    and the k = 2 measurements (MSR - MSE) / (MSR + (k - 1) MSE + k (MSC - MSE) / n), with the mean squares between
    cases, between measurements and of the rest. None where all volumes are equal.

    Intervals are percentile bootstrap ones, patients resampled, None below six patients. Limits assume differences
    that are about normal and do not grow with the volume; look at the plot first.
    Sources: Bland and Altman, Statistical Methods in Medical Research 8:135, 1999; Shrout and Fleiss, Psychological
    Bulletin 86:420, 1979.
    """
    there = (prediction_mm3 > 0) | (reference_mm3 > 0)
    if not there.any():
        return None
    kept = [case for case, keep in zip(cases, there, strict=True) if keep]
    x, y = prediction_mm3[there], reference_mm3[there]
    # Around a common middle, for sums of squares of large volumes cancel; neither a difference nor the ICC sees it.
    middle, difference = float(np.concatenate([x, y]).mean()), x - y
    x, y = x - middle, y - middle
    terms = np.column_stack([np.ones_like(x), difference, difference**2, x, y, x**2 + y**2])
    statistics = (_bias, _lower, _upper, _icc)
    with np.errstate(divide="ignore", invalid="ignore"):
        bias, lower, upper, icc = (_or_none(float(statistic(terms.sum(0)))) for statistic in statistics)
    intervals = [bootstrap_interval(statistic, terms, kept, patients) for statistic in statistics]
    assert bias is not None
    sd = float(difference.std(ddof=1)) if len(x) > 1 else None
    return VolumeAgreement(len(x), bias, sd, lower, upper, icc, *intervals)


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None


# ------------------------------------------------ of sums over cases of 1, x - y, (x - y)^2, x, y, x^2 + y^2

Sums = Float64[np.ndarray, "... 6"]
Values = Float64[np.ndarray, "..."]


def _bias(sums: Sums) -> Values:
    return np.asarray(sums[..., 1] / sums[..., 0], np.float64)


def _lower(sums: Sums) -> Values:
    return np.asarray(_bias(sums) - LIMIT * _sd(sums), np.float64)


def _upper(sums: Sums) -> Values:
    return np.asarray(_bias(sums) + LIMIT * _sd(sums), np.float64)


def _sd(sums: Sums) -> Values:
    n, d, d2 = sums[..., 0], sums[..., 1], sums[..., 2]
    return np.asarray(np.sqrt(np.maximum(d2 - d**2 / n, 0) / (n - 1)), np.float64)


def _icc(sums: Sums) -> Values:
    n, d, d2, x, y, both2 = np.moveaxis(sums, -1, 0)
    middle = (x + y) ** 2 / (2 * n)
    between_cases = both2 - d2 / 2 - middle  # half of the sum of (x + y)^2 = 2 (x^2 + y^2) - (x - y)^2, less the middle
    between_methods = d**2 / (2 * n)
    rest = np.maximum(both2 - middle - between_cases - between_methods, 0)
    msr, msc, mse = between_cases / (n - 1), between_methods, rest / (n - 1)
    return np.asarray((msr - mse) / (msr + mse + 2 * (msc - mse) / n), np.float64)
