"""Compares two methods for one score, paired by case: means, difference with interval, and a test over patients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mets3d.statistics.intervals import FEWEST_PATIENTS, Interval, Patients, mean_interval, patient_sums
from mets3d.statistics.paired_tests import DECIMALS, signed_rank


@dataclass(frozen=True)
class Paired:
    """A method against a reference for one score, paired by case; differences are method minus reference.

    `effect`: rank-biserial correlation, 1 where the method is better in every patient, -1 where it is worse.
    """

    n: int
    patients: int
    reference_mean: float
    method_mean: float
    difference: float
    interval: Interval | None  # None for fewer than two patients, `as_shown` below FEWEST_PATIENTS
    improved: int  # cases
    worsened: int
    effect: float
    p: float
    differing: int  # patients in whose mean the methods differ, which is what the test is over


def paired(
    reference: Mapping[str, float],
    method: Mapping[str, float],
    patients: Patients | None = None,
    *,
    lower_is_better: bool,
) -> Paired | None:
    """Compares two case -> value over the cases that both have; None where there are none.

    patients: case -> patient, as in `intervals.patient_numbers`.

    interval: 95 % percentile bootstrap of the mean difference, patients resampled (`intervals.bootstrap_interval`);
    from few patients it is too narrow. p and effect: Wilcoxon's signed-rank test (`paired_tests.signed_rank`) of
    the patients' mean differences, for it assumes independence, which the time points of one patient lack. With one
    case a patient this is the test over cases.
    """
    shared = sorted(reference.keys() & method.keys())
    if not shared:
        return None
    before, after = (np.array([values[case] for case in shared], np.float64) for values in (reference, method))
    differences = after - before
    differences[np.round(differences, DECIMALS) == 0] = 0  # rounding is no difference
    gains = -differences if lower_is_better else differences
    sums = patient_sums(np.column_stack([gains, np.ones_like(gains)]), shared, patients)
    test = signed_rank(sums[:, 0] / sums[:, 1])
    return Paired(
        n=len(shared),
        patients=len(sums),
        reference_mean=float(before.mean()),
        method_mean=float(after.mean()),
        difference=float(differences.mean()),
        interval=mean_interval(differences, shared, patients, fewest=2),
        improved=int((gains > 0).sum()),
        worsened=int((gains < 0).sum()),
        effect=test.effect,
        p=test.p,
        differing=test.n,
    )


def as_shown(found: Paired) -> Paired:
    """Takes the interval from a comparison of fewer than FEWEST_PATIENTS patients with a value: it would claim much."""
    return found if found.patients >= FEWEST_PATIENTS else replace(found, interval=None)
