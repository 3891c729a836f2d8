"""Ranks methods as the challenge does: per case, region and metric, averaged, with a permutation test per pair.

Every case, region and metric ranks the methods, 1 for the best; the mean over all of them is a method's score
(BraTS: Bakas et al., arXiv 1811.02629). Whether one method's lead over another could be chance is judged by exchanging
the two methods' ranks at random: if they are equally good, either could have had the other's ranks of a patient. The
challenge draws 100,000 exchanges and counts those with at least the lead that was seen; here all of them are counted,
two-sided, and all time points of a patient are exchanged together.

By which scores methods are ranked is a field of the rule set (`RuleSet.ranked_by`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from jaxtyping import Float64

from mets3d.evaluation.rules import rule_set_of
from mets3d.evaluation.scores import lower_is_better
from mets3d.evaluation.tables import Row
from mets3d.statistics.intervals import FEWEST_PATIENTS, Interval, mean_interval, patient_numbers, patient_sums
from mets3d.statistics.paired_tests import holm, sign_flip_p
from mets3d.statistics.score_table import columns_of, patients_in, values_of

_DECIMALS = 10  # scores that are equal but for rounding are tied


@dataclass(frozen=True)
class RankTest:
    """`method` against `reference`: the difference of their mean ranks (negative: `method` is better) and its p.

    Below FEWEST_PATIENTS patients there is neither interval nor p.
    """

    reference: str
    method: str
    difference: float
    interval: Interval | None
    better: int  # cases in which the mean rank of `method` is the better one
    worse: int
    p: float | None
    p_holm: float | None


@dataclass(frozen=True)
class Ranking:
    """Mean ranks by method, in the order of the methods, and every pair's test."""

    mean_ranks: dict[str, float]
    cases: int
    patients: int
    regions: tuple[str, ...]
    metrics: tuple[str, ...]
    pairs: list[RankTest]


def ranked_by(rules: str) -> tuple[str, ...]:
    """Returns the columns by which a rule set ranks methods; none for rules that are not known here."""
    known = rule_set_of(rules)
    return known.ranked_by if known else ()


def is_official(rules: str) -> bool:
    """Returns False where the columns of `ranked_by` are this project's choice, for lack of an official ranking."""
    known = rule_set_of(rules)
    return known is None or known.official_ranking


def ranking_by_rules(
    tables: Mapping[str, Sequence[Row]], cases: Sequence[str], regions: Sequence[str]
) -> Ranking | None:
    """Ranks methods by the metrics of their rule set, of these and of `regions` those that all tables have.

    None for fewer than two methods, for tables of several rule sets, and where no metric or no region is left.
    """
    rules = {row["rules"] for rows in tables.values() for row in rows}
    if len(tables) < 2 or len(rules) != 1:
        return None
    metrics = [name for name in ranked_by(rules.pop()) if all(name in columns_of(rows) for rows in tables.values())]
    scored = [{row["region"] for row in rows} for rows in tables.values()]
    shared = [region for region in regions if all(region in found for found in scored)]
    return rank_methods(tables, cases, shared, metrics) if metrics and shared else None


def rank_methods(
    tables: Mapping[str, Sequence[Row]], cases: Sequence[str], regions: Sequence[str], metrics: Sequence[str]
) -> Ranking:
    """Ranks two or more methods on `cases`; see the module's text.

    tables: method -> rows of scores.csv. Equal scores share the average of their ranks. No value is worse than any
    value: the worst rank, shared where several methods have none; where none has one all are equal.
    p is that of `paired_tests.sign_flip_p` over patients; `p_holm` corrects it for the number of pairs. The
    interval of the difference of mean ranks is the bootstrap's over patients. Raises ValueError for a metric without a
    direction.
    """
    names, ordered = list(tables), sorted(cases)
    ranks = _ranks(tables, ordered, regions, metrics)
    per_case = ranks.mean(axis=2)
    patients = patients_in(*tables.values())
    pairs = []
    for first, second in combinations(range(len(names)), 2):
        # Twice a rank is a whole number, so the sums are whole and the test is exact.
        doubled = np.rint(2 * (ranks[second] - ranks[first])).sum(axis=1)
        by_patient = patient_sums(doubled[:, None], ordered, patients)[:, 0]
        change = per_case[second] - per_case[first]
        pairs.append(
            RankTest(
                names[first],
                names[second],
                float(doubled.sum() / 2 / ranks[first].size),
                mean_interval(change, ordered, patients),
                int((doubled < 0).sum()),
                int((doubled > 0).sum()),
                sign_flip_p(by_patient.astype(np.int64)) if len(by_patient) >= FEWEST_PATIENTS else None,
                None,
            )
        )
    return Ranking(
        dict(zip(names, map(float, per_case.mean(axis=1)), strict=True)),
        len(ordered),
        patient_numbers(ordered, patients)[1],
        tuple(regions),
        tuple(metrics),
        _corrected(pairs),
    )


def _corrected(pairs: Sequence[RankTest]) -> list[RankTest]:
    """Corrects p for the number of pairs; all pairs are of the same patients."""
    tested = [pair.p for pair in pairs if pair.p is not None]
    if len(tested) < len(pairs):
        return list(pairs)
    return [replace(pair, p_holm=p) for pair, p in zip(pairs, holm(tested), strict=True)]


def _ranks(
    tables: Mapping[str, Sequence[Row]], cases: Sequence[str], regions: Sequence[str], metrics: Sequence[str]
) -> Float64[np.ndarray, "M N C"]:
    """Returns the rank of each method by case and column (region and metric)."""
    from scipy.stats import rankdata

    loss = np.full((len(tables), len(cases), len(regions) * len(metrics)), np.inf)
    for method, rows in enumerate(tables.values()):
        columns = [(region, metric) for region in regions for metric in metrics]
        for column, (region, metric) in enumerate(columns):
            values = values_of((row for row in rows if row["region"] == region), metric)
            sign = 1 if lower_is_better(metric) else -1
            loss[method, :, column] = [sign * values[case] if case in values else np.inf for case in cases]
    return np.asarray(rankdata(np.round(loss, _DECIMALS), axis=0), np.float64)
