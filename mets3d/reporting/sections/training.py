"""Writes the page's figures of the training: curves of one run, or of several on shared axes."""

from __future__ import annotations

from collections.abc import Sequence

from mets3d.log_names import SCORES, score_name
from mets3d.reporting.charts.training import overlay_figure, training_figure
from mets3d.reporting.figures import Figures
from mets3d.reporting.html_page import Section
from mets3d.reporting.run_record import RunRecord
from mets3d.wording import counted

CAPTION = "Thin line: as logged; thick line: mean over neighbouring steps."
OF_ARMS = "Of an arm of several runs: their mean, and as a band what lies between the lowest and the highest."


def training_curves(record: RunRecord, figures: Figures) -> Section | None:
    """Draws the curves of one run; None where nothing was logged."""
    if not (record.training or record.validation):
        return None
    alt = "Loss, its parts, schedule and validation scores over the training"
    caption = f"{CAPTION} {_validated_on(record)}"
    return Section("training", "Training", figures.add("training", training_figure(record), caption, alt=alt))


def overlaid_curves(records: Sequence[RunRecord], figures: Figures) -> Section | None:
    """Draws the curves of several runs on shared axes; None where none logged anything."""
    if not any(run.training or run.validation for record in records for run in record.members.values()):
        return None
    caption = f"{CAPTION} {OF_ARMS}" if any(record.runs for record in records) else CAPTION
    alt = "Loss and validation scores of every run over the training"
    return Section("training", "Training", figures.add("training", overlay_figure(records), caption, alt=alt))


def _validated_on(record: RunRecord) -> str:
    """Says on what and by which rules the run was validated, and by which score its weights were chosen."""
    settings = record.config.validate_
    logged = {name for row in record.validation for name in row}
    if score_name(settings.best_by) not in logged:
        return "Validation is on held-out cases."
    of_all = score_name(settings.best_by, all_cases=True) in logged
    which = f"{counted(settings.cases or 0, 'held-out case')}; diamonds: on all of them" if of_all else "held-out cases"
    chosen = f"those with the highest mean {SCORES[settings.best_by]}{' on all' * of_all}"
    return f"Validation is on {which}, rules {settings.rules}, on the store's grid; the weights are {chosen}."
