"""Orders the cases of a report, and says which run of an arm is shown of each."""

from __future__ import annotations

from collections.abc import Sequence

from mets3d.evaluation.scores import score_of
from mets3d.reporting.arms import pictured_run
from mets3d.reporting.run_record import RunRecord
from mets3d.statistics.score_table import values_of

WORST_BY = "lesion_wise_dice"


def worst_first(records: Sequence[RunRecord]) -> list[str]:
    """Returns the held-out cases, by the mean over arms and regions of lesion-wise Dice, those without one last."""
    values: dict[str, list[float]] = {}
    for record in records:
        if record.scores:
            for case in record.held_out:
                values.setdefault(case, [])
            for region in record.regions:
                for case, value in values_of(record.score_rows(region.name), WORST_BY).items():
                    values[case].append(value)
    mean = {case: sum(found) / len(found) for case, found in values.items() if found}
    return sorted(values, key=lambda case: (case not in mean, mean.get(case, 0.0), case))


def ranked_cases(records: Sequence[RunRecord]) -> list[str]:
    """Returns the cases of `worst_first` that have a score to rank them by."""
    scored = {
        case
        for record in records
        for region in record.regions
        for case in values_of(record.score_rows(region.name), WORST_BY)
    }
    return [case for case in worst_first(records) if case in scored]


def worst_by() -> str:
    """Returns the name of the score that cases are ranked by."""
    score = score_of(WORST_BY)
    return WORST_BY if score is None else score.name


def rank_in_words(case: str, ranked: Sequence[str]) -> str:
    """Returns the rank of a case among those of `ranked_cases`, as in `case 2 of 7`; empty for one without a rank."""
    return f"case {ranked.index(case) + 1} of {len(ranked)}" if case in ranked else ""


def shown_run(record: RunRecord, case: str) -> RunRecord:
    """Returns the run of an arm that a case's page shows: the pictured one, or the first that held the case out."""
    runs = [pictured_run(record), *record.members.values()]
    return next((run for run in runs if case in run.predictions and not trained_on(run, case)), runs[0])


def trained_on(run: RunRecord, case: str) -> bool:
    """Returns whether a run was trained on a case, where it held out any other."""
    return case in run.split.get("training", ()) and case not in run.held_out
