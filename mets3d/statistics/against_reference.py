"""Compares methods with one reference on the same cases: differences by score and region, tested as one family."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from mets3d.evaluation.scores import Score, score_of, shown_in
from mets3d.evaluation.tables import Row
from mets3d.statistics.family import PRIMARY, Candidate, Difference, with_tests
from mets3d.statistics.lesion_counts import COUNTS, means_shown_in
from mets3d.statistics.paired import paired
from mets3d.statistics.pooled_runs import MethodTables
from mets3d.statistics.ranking import ranked_by
from mets3d.statistics.score_table import CaseValues, patients_in, values_of
from mets3d.statistics.shared_lesions import means_of_shared_lesions

# No column of scores.csv: the mean per case over the reference lesions that both found, which takes the penalty for
# missed and false lesions out of the comparison of boundaries.
SHARED_LESIONS = Score("hd95_of_shared_lesions", "HD95 of lesions found by both runs", 1, "lower", "mm")


def compared_scores(rules: str = "") -> list[Score]:
    """Returns the scores by which methods are compared, on the page and by `mets3d compare`, in their order.

    First the means of the primary family, then what else the rule set ranks by and what is compared besides; then the
    HD95 of shared lesions, then the counts.
    """
    means = [*means_shown_in("comparison"), *means_shown_in("page")]
    primary = [score for score in means if score.column in PRIMARY]
    ranked = [score for column in ranked_by(rules) if (score := score_of(column))]
    counts = [score for score in shown_in("page") if score in COUNTS]
    return [*dict.fromkeys((*primary, *ranked, *means)), SHARED_LESIONS, *counts]


def against_reference(
    reference: tuple[str, MethodTables],
    methods: Mapping[str, MethodTables],
    regions: Sequence[str],
    scores: Sequence[Score],
    declared: Collection[str] | None = None,
) -> list[Difference]:
    """Compares every method with the reference, a name and its tables, by every score in every region, paired by case.

    The cases are those of the tables' rows that both have. What no case has a value for in both is left out. Which
    differences are tests is said by `family.with_tests`, of the primary family or of the columns `declared`.
    """
    name, tables = reference
    candidates = []
    patients = patients_in(tables.scores, *(method.scores for method in methods.values()))
    for other, method in methods.items():
        for score in scores:
            for region in regions:
                before, after = values_of_both(tables, method, region, score)
                found = paired(before, after, patients, lower_is_better=score.better == "lower")
                if found is not None:
                    candidates.append(Candidate(Difference(name, other, region, score, found), (before, after)))
    return with_tests(candidates, declared)


def values_of_both(
    reference: MethodTables, method: MethodTables, region: str, score: Score
) -> tuple[CaseValues, CaseValues]:
    """Returns case -> value of a score in a region, of the reference and of the method."""
    if score == SHARED_LESIONS:
        return means_of_shared_lesions(_of(reference.lesions, region), _of(method.lesions, region), "hd95")
    return values_of(_of(reference.scores, region), score.column), values_of(_of(method.scores, region), score.column)


def _of(rows: Sequence[Row], region: str) -> list[Row]:
    return [row for row in rows if row["region"] == region]
