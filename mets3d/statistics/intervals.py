"""Computes intervals of 95 % for a cohort, in which the time points of one patient are not independent.

Sums over cases are formed per patient first, and patients are what varies: the bootstrap draws patients with
replacement, and the interval of a proportion counts how alike the lesions of one patient are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float64, Int, UInt16

from mets3d.data.patients import patient_of

Interval = tuple[float, float]
Patients = Mapping[str, str]  # case -> patient
Statistic = Callable[[Float64[np.ndarray, "... K"]], Float64[np.ndarray, "..."]]

RESAMPLES = 10_000
LEVEL = 0.95
# With five patients the most that a percentile interval can cover is far from 95 %, with six a unanimous sign test
# reaches 5 % for the first time (2 x 0.5**6). Even so it is too narrow up to about 20 (Hesterberg, The American
# Statistician 69:371, 2015).
FEWEST_PATIENTS = 6
_BLOCK = 1000  # resamples whose weights are in memory as float64 at once


def patient_numbers(cases: Sequence[str], patients: Patients | None = None) -> tuple[Int[np.ndarray, " N"], int]:
    """Returns the number of each case's patient, counted from 0 in alphabetical order, and the number of patients.

    patients: case -> patient; a case that is not in it, or any without it, is of the patient that its name says.
    """
    known = patients or {}
    of_case = [known.get(case) or patient_of(case) for case in cases]
    place = {patient: number for number, patient in enumerate(sorted(set(of_case)))}
    return np.array([place[patient] for patient in of_case], dtype=np.int64), len(place)


def patient_sums(
    terms: Float64[np.ndarray, "N K"], cases: Sequence[str], patients: Patients | None = None
) -> Float64[np.ndarray, "P K"]:
    """Sums the rows of `terms`, one a case, over the cases of each patient (`patients` as in `patient_numbers`)."""
    numbers, amount = patient_numbers(cases, patients)
    sums = np.zeros((amount, terms.shape[1]))
    np.add.at(sums, numbers, terms)
    return sums


def bootstrap_interval(
    statistic: Statistic,
    terms: Float64[np.ndarray, "N K"],
    cases: Sequence[str],
    patients: Patients | None = None,
    *,
    fewest: int = FEWEST_PATIENTS,
) -> Interval | None:
    """Returns the percentile interval of a statistic of sums over cases, patients resampled 10,000 times.

    `statistic` maps the sums [..., K] of the columns of `terms` [N, K] to numbers [...]: a mean is the sum of the
    values over the sum of ones. `patients` is as in `patient_numbers`. The draws depend on the number of patients
    alone, so the same table gives the same interval. A resample in which the statistic has no value (0/0) is left out.
    None below `fewest` patients, or where no resample has a value.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13; whole clusters drawn: Davison and
    Hinkley, Bootstrap Methods and their Application, 1997, section 3.8.
    """
    if not cases:
        return None
    sums = patient_sums(terms, cases, patients)
    if len(sums) < fewest:
        return None
    times = _times_drawn(len(sums))
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.concatenate(
            [statistic(times[start : start + _BLOCK] @ sums) for start in range(0, RESAMPLES, _BLOCK)]
        )
    found = found[np.isfinite(found)]
    if not len(found):
        return None
    low, high = np.percentile(found, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return float(low), float(high)


def mean_interval(
    values: Float64[np.ndarray, " N"],
    cases: Sequence[str],
    patients: Patients | None = None,
    *,
    fewest: int = FEWEST_PATIENTS,
) -> Interval | None:
    """Returns the `bootstrap_interval` of the mean over cases."""
    terms = np.column_stack([values, np.ones_like(values)])
    return bootstrap_interval(ratio_of_sums, terms, cases, patients, fewest=fewest)


def ratio_of_sums(sums: Float64[np.ndarray, "... 2"]) -> Float64[np.ndarray, "..."]:
    """Returns the sums of the first column over those of the second: a mean, where that column counts the cases."""
    ratio: Float64[np.ndarray, "..."] = sums[..., 0] / sums[..., 1]
    return ratio


@lru_cache(maxsize=8)
def _times_drawn(patients: int) -> UInt16[np.ndarray, "resamples P"]:
    """Draws how often each patient is in each resample."""
    generator = np.random.default_rng(0)
    times = np.empty((RESAMPLES, patients), np.uint16)
    for start in range(0, RESAMPLES, _BLOCK):
        drawn = generator.integers(patients, size=(_BLOCK, patients)) + patients * np.arange(_BLOCK)[:, None]
        times[start : start + _BLOCK] = np.bincount(drawn.ravel(), minlength=_BLOCK * patients).reshape(-1, patients)
    return times


def proportion_interval(
    hits: Float64[np.ndarray, " N"],
    totals: Float64[np.ndarray, " N"],
    cases: Sequence[str],
    patients: Patients | None = None,
    *,
    fewest: int = FEWEST_PATIENTS,
) -> Interval | None:
    """Returns Wilson's interval of sum(hits) / sum(totals), such as found lesions of all, with an effective number.

    The lesions of a patient are alike, so n lesions count as n / d, d being the ratio of the variance of the proportion
    over patients to the binomial one (Rao and Scott, Biometrics 48:577, 1992), and at least 1. Where all or none are
    hits the data say nothing about d, and a patient counts as one observation, the cautious end. A bootstrap would give
    an interval without width there, which is why proportions have this one.

    hits, totals: one a case. `patients` is as in `patient_numbers`. None below `fewest` of them with something to hit.
    Source: Wilson, Journal of the American Statistical Association 22:209, 1927.
    """
    if not cases:
        return None
    sums = patient_sums(np.column_stack([hits, totals]), cases, patients)
    sums = sums[sums[:, 1] > 0]
    clusters, (hit, total) = len(sums), sums.sum(0)
    if clusters < max(fewest, 2):
        return None
    share = hit / total
    if 0 < share < 1:
        between = clusters / (clusters - 1) * ((sums[:, 0] - share * sums[:, 1]) ** 2).sum() / total**2
        effective = total / max(between / (share * (1 - share) / total), 1.0)
    else:
        effective = float(clusters)
    return wilson_interval(share, effective)


def wilson_interval(share: float, n: float) -> Interval:
    """Returns Wilson's score interval of a proportion that was seen in n independent observations; n > 0."""
    z = 1.959963984540054  # the normal distribution's 97.5 % quantile
    middle = share + z**2 / (2 * n)
    half = z * (share * (1 - share) / n + z**2 / (4 * n**2)) ** 0.5
    low, high = (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)
    return max(0.0, float(low)), min(1.0, float(high))
