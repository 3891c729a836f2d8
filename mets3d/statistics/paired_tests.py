"""Tests whether paired differences are symmetric around zero."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

EXACT_UP_TO = 500  # differences; the exact distribution of a signed-rank sum of that many takes a tenth of a second
DECIMALS = 10  # differences that are equal but for rounding are ties


@dataclass(frozen=True)
class SignedRank:
    """The result of Wilcoxon's test.

    `effect` is the rank-biserial correlation, (W+ - W-) / (W+ + W-), 0 where nothing differs.
    """

    p: float
    effect: float
    n: int  # differences that are not 0
    exact: bool


def signed_rank(differences: Float64[np.ndarray, " N"]) -> SignedRank:
    """Computes Wilcoxon's signed-rank test, two-sided, of independent differences.

    Zero differences are left out (Wilcoxon's own treatment; scipy's zero_method="wilcox"), tied ones share their
    average rank. Up to 500 differences p is exact, given the ties, else by the normal approximation with scipy's
    correction for ties. All zero, or none: p = 1. Differences that agree to ten decimals are tied.

    Sources: Wilcoxon, Biometrics Bulletin 1:80, 1945; effect size: Kerby, Comprehensive Psychology 3:11.IT.3.1, 2014.
    """
    from scipy.stats import rankdata, wilcoxon

    rounded = np.round(differences, DECIMALS)
    rounded = rounded[rounded != 0]
    if not len(rounded):
        return SignedRank(1.0, 0.0, 0, True)
    signed = np.sign(rounded) * rankdata(np.abs(rounded))
    effect = float(signed.sum() / np.abs(signed).sum())
    if len(rounded) > EXACT_UP_TO:
        normal = wilcoxon(rounded, method="asymptotic")  # type: ignore[call-overload]  # the stubs lack the name
        return SignedRank(float(normal.pvalue), effect, len(rounded), False)
    return SignedRank(sign_flip_p(np.rint(2 * signed).astype(np.int64)), effect, len(rounded), True)


def sign_flip_p(values: Int[np.ndarray, " N"]) -> float:
    """Returns the share of all 2^N choices of signs with |sum| at least as large as found: the exact two-sided p.

    For whole numbers the distribution of the sum can be added up one value at a time, so all signs count and no random
    ones need drawing; cost N times the sum of |values|. p is at least 2^-N, and 1 without values.
    Source: Pagano and Tritchler, Journal of the American Statistical Association 78:435, 1983.
    """
    sizes = np.abs(values[values != 0])
    if not len(sizes):
        return 1.0
    divisor = int(np.gcd.reduce(sizes))
    sizes, total = sizes // divisor, int(sizes.sum()) // divisor
    positive = int(values[values > 0].sum()) // divisor
    # chance[t]: of the sum of the values with a positive sign being t, each sign being a fair coin
    chance = np.zeros(total + 1)
    chance[0], reached = 1.0, 0
    for size in sizes.tolist():
        grown = 0.5 * chance[: reached + size + 1]
        grown[size:] += 0.5 * chance[: reached + 1]
        reached += size
        chance[: reached + 1] = grown
    if 2 * positive == total:
        return 1.0
    return min(1.0, 2 * float(chance[: min(positive, total - positive) + 1].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects the p values of a family so that the chance of any false rejection stays below the level.

    They keep their order. The k-th smallest of m is multiplied by m - k + 1, none gets below a smaller one, and none
    above 1.
    Source: Holm, Scandinavian Journal of Statistics 6:65, 1979.
    """
    corrected = [1.0] * len(p_values)
    highest = 0.0
    for k, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        highest = max(highest, min(1.0, (len(p_values) - k) * p_values[index]))
        corrected[index] = highest
    return corrected
