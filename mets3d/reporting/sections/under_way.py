"""Writes the page's section on a training that has not reached its end: how far it is, how fast, what it shows."""

from __future__ import annotations

from markupsafe import Markup

from mets3d.evaluation.tables import Row
from mets3d.log_names import SCORES, score_name
from mets3d.reporting.charts.pace import pace_figure
from mets3d.reporting.figures import Figures
from mets3d.reporting.html_page import Section
from mets3d.reporting.pace import pace, seconds_in_words
from mets3d.reporting.pictures.validation_slices import validation_slices
from mets3d.reporting.rendering import render
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import duration, number, percent
from mets3d.wording import counted

RELOAD_S = 30  # an open page of a run in training loads itself again
TITLES = {
    "training": "In the middle of training",
    "ended": "Training ended before its last step",
    "stopped": "Training stopped before its last step",
}


def under_way(record: RunRecord, figures: Figures) -> Section | None:
    """Shows step, times, scores and validation slices of an unfinished training; None for one at its end."""
    if not is_unfinished(record):
        return None
    found = pace(record)
    live = record.state == "training"
    html = render(
        "under_way.html",
        step=found.step,
        steps=found.steps,
        share=percent(found.step / found.steps),
        facts=_facts(record),
        reload_s=RELOAD_S if live else 0,
        figures=_figures(record, figures),
    )
    return Section("progress", TITLES[record.state], html, short="Progress")


def is_unfinished(record: RunRecord) -> bool:
    """Returns whether a run of one's own training has steps left; one that ended early by its patience has none."""
    if record.imported_from or record.runs or record.state == "absent":
        return False
    if record.state == "training":
        return True
    early = record.config.validate_.patience is not None and record.environment.get("exit_code") == 0
    return bool(record.training) and pace(record).step < record.config.train.steps and not early


def _facts(record: RunRecord) -> list[tuple[str, str]]:
    found, live = pace(record), record.state == "training"
    facts = [("Step", f"{found.step:,} of {found.steps:,} ({percent(found.step / found.steps)})")]
    if found.seconds_a_step is not None:
        facts.append(("Time so far", f"{duration(found.seconds)} in steps and validations"))
        if live and found.seconds_left is not None:
            facts.append(("Time left", f"about {duration(found.seconds_left)}"))
        facts.append(("A step", f"{seconds_in_words(found.seconds_a_step)} (median of the last ones)"))
    if found.seconds_a_validation is not None:
        facts.append(("A validation", seconds_in_words(found.seconds_a_validation)))
    if scored := [row for row in record.validation if _score(record, row) is not None]:
        best = max(scored, key=lambda row: _score(record, row) or 0.0)
        facts += [("Last validation", _scored(record, scored[-1])), ("Best so far", _scored(record, best))]
    else:
        facts.append(("Validation", "none yet"))
    return facts


def _score(record: RunRecord, row: Row) -> float | None:
    value = row.get(score_name(record.config.validate_.best_by))
    return float(value) if isinstance(value, int | float) else None


def _scored(record: RunRecord, row: Row) -> str:
    """Says what a validation found, in the score by which the run chooses its weights, and when."""
    cases = row.get("cases")
    of = f" over {counted(int(cases), 'held-out case')}" if isinstance(cases, int | float) else ""
    score = number(_score(record, row), 3)
    return f"{SCORES[record.config.validate_.best_by]} {score}{of}, after step {row['step']:,}"


def _figures(record: RunRecord, figures: Figures) -> list[Markup]:
    drawn = []
    if slices := validation_slices(record.run):
        steps = ", ".join(f"{step:,}" for step in slices.steps)
        caption = (
            "The same slices at each validation, on the grid that is trained on: the reference, then the "
            f"prediction after step {steps}. R: the patient's right."
        )
        alt = f"Validation slices with the reference and the predictions after step {steps}"
        drawn.append(figures.add("validation_slices", slices.svg, caption, alt=alt))
    if record.training:
        caption = "Thin line: as logged; thick line: mean over neighbouring steps. The axis ends at the last step."
        alt = "Seconds a step, learning rate and seconds a validation over the training"
        drawn.append(figures.add("pace", pace_figure(record), caption, alt=alt))
    return drawn
