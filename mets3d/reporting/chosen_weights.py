"""Says where the weights of a run were chosen by validation on the very cases that are scored: plain text."""

from __future__ import annotations

from collections.abc import Sequence

from mets3d.log_names import SCORES, score_name
from mets3d.reporting.run_record import RunRecord
from mets3d.wording import joined


def chosen_on_scored(records: Sequence[RunRecord]) -> str:
    """Says which records have weights that were chosen on their scored cases; empty where none has."""
    named = [record.label for record in records if any(map(_chosen_on_scored, record.members.values()))]
    if not named:
        return ""
    of = f" of {joined(named)}" if len(named) < len(records) else " of both arms" if len(records) == 2 else ""
    flattered = "these scores are" if len(named) == len(records) else f"the scores of {joined(named)} are"
    return (
        f"The weights{of} were chosen by validation on the very cases that are scored, so {flattered} somewhat "
        "too good."
    )


def choosing(record: RunRecord) -> str:
    """Says by which score the weights were chosen among how many validations; empty where there was no choice."""
    run = next((run for run in record.members.values() if len(_validations(run)) > 1), None)
    if run is None:
        return ""
    score = SCORES[run.config.validate_.best_by]
    return f"Of each training the weights with the highest mean {score} in a validation were kept"


def _chosen_on_scored(run: RunRecord) -> bool:
    """Returns whether there was a choice, and a scored case was held out for the validations that made it."""
    return len(_validations(run)) > 1 and bool(set(run.held_out) & set(run.split.get("validation", ())))


def _validations(run: RunRecord) -> list[float]:
    """Returns the scores of the validations that may choose the weights; a single one leaves no choice."""
    settings = run.config.validate_
    of_all = settings.cases is not None and settings.all_every is not None
    name = score_name(settings.best_by, all_cases=of_all)
    return [row[name] for row in run.validation if row.get(name) is not None]
