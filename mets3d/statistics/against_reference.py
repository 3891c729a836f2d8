"""Compares methods with one reference on the same cases: differences by score and region, corrected as one family."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from mets3d.evaluation.scores import Score, shown_in
from mets3d.evaluation.tables import Row
from mets3d.statistics.comparison import Paired, paired
from mets3d.statistics.intervals import FEWEST_PATIENTS
from mets3d.statistics.lesion_counts import COUNTS, means_shown_in
from mets3d.statistics.paired_tests import holm
from mets3d.statistics.pooled_runs import MethodTables
from mets3d.statistics.score_table import CaseValues, patients_in, values_of
from mets3d.statistics.shared_lesions import means_of_shared_lesions

# No column of scores.csv: the mean per case over the reference lesions that both found, which takes the penalty for
# missed and false lesions out of the comparison of boundaries.
SHARED_LESIONS = Score("hd95_of_shared_lesions", "HD95 of lesions found by both runs", 1, "lower", "mm")

Verdict = Literal["too few cases", "better", "worse", "no difference shown"]


@dataclass(frozen=True)
class Difference:
    """`method` minus the reference in one region by one score; `p_holm` is corrected over all tests of the family.

    by_seed: of arms with several runs, the mean difference in each seed that both have.
    """

    method: str
    region: str
    score: Score
    found: Paired
    p_holm: float
    by_seed: Mapping[int, float] = field(default_factory=dict)

    @property
    def seed_sd(self) -> float | None:
        """Standard deviation (n - 1) of the seeds' differences; None below two seeds."""
        return spread_of(self.by_seed)

    @property
    def verdict(self) -> Verdict:
        """What the interval allows to say: nothing below FEWEST_PATIENTS, and nothing where it holds 0."""
        interval = self.found.interval
        if self.found.patients < FEWEST_PATIENTS or interval is None:
            return "too few cases"
        if interval[0] <= 0 <= interval[1]:
            return "no difference shown"
        return "better" if (interval[0] > 0) == (self.score.better == "higher") else "worse"

    @property
    def sums(self) -> tuple[float, float]:
        """Sums of reference and method over the cases that both have a value for, as wanted for counts."""
        return self.found.reference_mean * self.found.n, self.found.method_mean * self.found.n


def compared_scores() -> list[Score]:
    """Returns the scores by which the page compares runs: means, the HD95 of shared lesions, then counts."""
    return [*means_shown_in("page"), SHARED_LESIONS, *(score for score in shown_in("page") if score in COUNTS)]


def spread_of(by_seed: Mapping[int, float]) -> float | None:
    """Returns the standard deviation (n - 1) over seeds; None below two."""
    return float(np.std(list(by_seed.values()), ddof=1)) if len(by_seed) > 1 else None


def against_reference(
    reference: MethodTables,
    methods: Mapping[str, MethodTables],
    regions: Sequence[str],
    scores: Sequence[Score],
    family: Collection[str] = (),
) -> list[Difference]:
    """Compares every method with the reference by every score in every region, paired by case (`comparison.paired`).

    The cases are those of the tables' rows that both have. What no case has a value for in both is left out. Holm's
    correction is over all the tests that are made; with `family`, columns of scores, over the tests by these, and over
    those by the others.
    """
    differences = []
    patients = patients_in(reference.scores, *(method.scores for method in methods.values()))
    for name, method in methods.items():
        for score in scores:
            for region in regions:
                before, after = values_of_both(reference, method, region, score)
                found = paired(before, after, patients, lower_is_better=score.better == "lower")
                if found is not None:
                    differences.append(Difference(name, region, score, found, 1.0))
    return _corrected(differences, family)


def _corrected(differences: Sequence[Difference], family: Collection[str]) -> list[Difference]:
    """Corrects the tests of the family together, and the others."""
    p_holm = [1.0] * len(differences)
    for declared in (True, False):
        places = [at for at, test in enumerate(differences) if (test.score.column in family) == declared]
        for at, p in zip(places, holm([differences[at].found.p for at in places]), strict=True):
            p_holm[at] = p
    return [replace(difference, p_holm=p) for difference, p in zip(differences, p_holm, strict=True)]


def values_of_both(
    reference: MethodTables, method: MethodTables, region: str, score: Score
) -> tuple[CaseValues, CaseValues]:
    """Returns case -> value of a score in a region, of the reference and of the method."""
    if score == SHARED_LESIONS:
        return means_of_shared_lesions(_of(reference.lesions, region), _of(method.lesions, region), "hd95")
    return values_of(_of(reference.scores, region), score.column), values_of(_of(method.scores, region), score.column)


def _of(rows: Sequence[Row], region: str) -> list[Row]:
    return [row for row in rows if row["region"] == region]
