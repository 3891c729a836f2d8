"""Computes the smallest difference that a paired design of n patients and s seeds can show, from pilot runs.

The pilot's difference of patient p in seed k (method minus reference) is taken as d[p, k] = mean + patient[p] + seed[k]
+ rest[p, k], three independent normal effects. Their variances come from the mean squares of the table without
replication (Searle, Casella and McCulloch, Variance Components, 1992, section 4.3), negative ones set to 0:

    rest = MS_rest    patient = (MS_patients - MS_rest) / s    seed = (MS_seeds - MS_rest) / n
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from mets3d.statistics.intervals import Patients, patient_sums
from mets3d.statistics.score_table import CaseValues
from mets3d.statistics.shared_cases import shared_cases

# Patients that the signed-rank test needs for a t test's power of 1, at normal differences: the test's asymptotic
# relative efficiency is 3 / pi (Hodges and Lehmann, Annals of Mathematical Statistics 27:324, 1956).
EFFICIENCY = 3 / math.pi


@dataclass(frozen=True)
class DifferenceSpread:
    """Standard deviations of a pilot's paired differences: over patients, over seeds, and of what is left.

    From a single seed patients and rest cannot be told apart: both are in `patient`, and `seed` is None.
    """

    patient: float
    seed: float | None
    rest: float


@dataclass(frozen=True)
class SmallestDifference:
    """The smallest differences that a design shows with the wanted power.

    these_networks: by the test over patients, which says whether these trained networks differ. other_seeds: by a test
    that counts the chance in training too, and so says whether the methods differ; None where the pilot had one seed,
    or the design has, which cannot show it.
    """

    these_networks: float
    other_seeds: float | None


def spread_of_differences(by_seed: Mapping[int, CaseValues], patients: Patients | None = None) -> DifferenceSpread:
    """Returns the spread of a pilot's differences, seed -> case -> method minus reference; at least two patients.

    A patient's difference is the mean over its cases. Cases that not all seeds have are left out.
    """
    cases = shared_cases(by_seed.values())
    columns = [np.array([values[case] for case in cases], np.float64) for values in by_seed.values()]
    if not cases:
        raise ValueError("expected pilot differences of cases that all seeds have, found none")
    sums = patient_sums(np.column_stack([*columns, np.ones(len(cases))]), cases, patients)
    table = sums[:, :-1] / sums[:, -1:]
    if len(table) < 2:
        raise ValueError("expected pilot differences of two patients or more, found one")
    return _spread(table)


def smallest_difference(
    spread: DifferenceSpread, *, patients: int, seeds: int, power: float = 0.8, level: float = 0.05, tests: int = 1
) -> SmallestDifference:
    """Returns the smallest mean difference that a two-sided test at `level` shows with probability `power`.

    patients, seeds: of the design, at least two patients; each patient's difference is its mean over the seeds. tests:
    size of the family; the level is divided by it, Holm's first step.

    these_networks: Wilcoxon's test over patients as the t test of 3 / pi times as many, whose power is that of the
    noncentral t distribution at difference / sqrt((patient^2 + rest^2 / seeds) / patients). other_seeds: the t test
    whose variance is patient^2 / patients + seed^2 / seeds + rest^2 / (patients seeds), with Satterthwaite's degrees of
    freedom (Biometrics Bulletin 2:110, 1946). Source of the power: Cohen, Statistical Power Analysis, 1988, chapter 2.
    """
    if patients < 2 or seeds < 1 or not 0 < level / tests < power < 1:
        raise ValueError(
            f"expected two patients or more, a seed or more and 0 < level < power < 1, found {patients} patients, "
            f"{seeds} seeds, level {level:g} of {tests} tests, power {power:g}"
        )
    effective = max(EFFICIENCY * patients, 2.0)
    within = spread.patient**2 + spread.rest**2 / seeds
    these = _shown(math.sqrt(within / effective), effective - 1, power, level / tests)
    if spread.seed is None or seeds < 2:
        return SmallestDifference(these, None)
    parts = _mean_squares(spread, patients, seeds)
    variance = sum(sign * square for sign, square, _ in parts)
    freedom = variance**2 / sum(square**2 / own for _, square, own in parts) if variance > 0 else math.inf
    return SmallestDifference(these, _shown(math.sqrt(variance), freedom, power, level / tests))


def _mean_squares(spread: DifferenceSpread, n: int, s: int) -> list[tuple[int, float, int]]:
    """Returns the expected mean squares over n s of which the variance of the mean is made: sign, size, freedom."""
    rest, seed = spread.rest**2, (spread.seed or 0.0) ** 2
    squares = ((1, rest + s * spread.patient**2, n - 1), (1, rest + n * seed, s - 1), (-1, rest, (n - 1) * (s - 1)))
    return [(sign, square / (n * s), freedom) for sign, square, freedom in squares]


def _spread(table: Float64[np.ndarray, "P S"]) -> DifferenceSpread:
    n, s = table.shape
    if s == 1:
        return DifferenceSpread(float(table.std(ddof=1)), None, 0.0)
    rows, columns, middle = table.mean(1, keepdims=True), table.mean(0, keepdims=True), table.mean()
    of_patients = s * float(((rows - middle) ** 2).sum()) / (n - 1)
    of_seeds = n * float(((columns - middle) ** 2).sum()) / (s - 1)
    rest = float(((table - rows - columns + middle) ** 2).sum()) / ((n - 1) * (s - 1))
    patient, seed = (math.sqrt(max(ms - rest, 0) / by) for ms, by in ((of_patients, s), (of_seeds, n)))
    return DifferenceSpread(patient, seed, math.sqrt(rest))


def _shown(error: float, freedom: float, power: float, level: float) -> float:
    """Returns the difference, of a standard error, at which a two-sided t test has the power."""
    from scipy.optimize import brentq
    from scipy.stats import nct, norm, t

    if error == 0:
        return 0.0
    if math.isinf(freedom):
        return float(error * (norm.ppf(1 - level / 2) + norm.ppf(power)))
    critical = t.ppf(1 - level / 2, freedom)

    def lacking(shift: float) -> float:
        # The chance of the wrong side is below 1e-4 at any power worth asking for, and nct is poor there.
        return float(nct.sf(critical, freedom, shift)) - power

    high = critical + t.ppf(power, freedom)
    while lacking(high) < 0:
        high *= 2
    return float(error * brentq(lacking, 0.0, high))
