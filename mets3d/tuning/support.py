"""Decides whether cross-validation supports tuned settings: whether they gain on patients they were not chosen on.

They do where the mean gain over cases is more than its standard error over patients. This is the rule of one standard
error (Breiman et al., Classification and Regression Trees, 1984): among settings whose scores cannot be told apart the
simplest is taken, here the default. A gain that one patient alone makes equals its standard error, however many others
there are with as many cases, and so is no support.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from mets3d.tuning.search import GAIN

NO_ANSWER_NEEDED = 1.0  # what counts where only one of two scores is no value: nothing to find, and nothing found


@dataclass(frozen=True)
class Support:
    """The mean gain over the default, and its standard error over patients; NaN where there is none."""

    gain: float = math.nan
    error: float = math.nan

    @property
    def holds(self) -> bool:
        """Whether the gain is more than its standard error; not without an error, as with one patient."""
        return self.gain > self.error + GAIN


def support(default: Float64[np.ndarray, " C"], crossed: Float64[np.ndarray, " C"], patients: Sequence[str]) -> Support:
    """Compares each case's score by settings that were chosen without its patient with that by the default.

    Only cases with a score count. Where one of both is no value, the case has nothing to find and that answer found
    nothing: it counts as right (1), so that a false lesion costs and a removed one gains.

    The standard error of the mean difference d over N cases of n patients, whose cases are not independent, is
    sqrt(n / (n - 1) * sum over patients of (sum of their cases' (d - mean))^2) / N; with a case each SD / sqrt(n).
    """
    counts = np.isfinite(default) | np.isfinite(crossed)
    difference = np.nan_to_num(crossed, nan=NO_ANSWER_NEEDED) - np.nan_to_num(default, nan=NO_ANSWER_NEEDED)
    if not counts.any():
        return Support()
    gain = float(difference[counts].mean())
    of_patient: dict[str, float] = {}
    for patient, value in zip(np.asarray(patients)[counts], difference[counts], strict=True):
        of_patient[patient] = of_patient.get(patient, 0.0) + float(value) - gain
    n = len(of_patient)
    if n < 2:
        return Support(gain)
    squares = sum(value**2 for value in of_patient.values())
    return Support(gain, math.sqrt(n / (n - 1) * squares) / int(counts.sum()))
