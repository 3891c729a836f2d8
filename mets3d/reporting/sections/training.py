"""Writes the page's figures of the training: curves of one run, or of several on shared axes."""

from __future__ import annotations

from collections.abc import Sequence

from mets3d.reporting.charts.training import overlay_figure, training_figure
from mets3d.reporting.figures import Figures
from mets3d.reporting.run_record import RunRecord

CAPTION = "Thin line: as logged; thick line: mean over neighbouring steps."


def training_curves(record: RunRecord, figures: Figures) -> str:
    """Draws the curves of one run; empty where nothing was logged."""
    if not (record.training or record.validation):
        return ""
    return figures.add("training", training_figure(record), f"{CAPTION} Validation is on held-out cases.")


def overlaid_curves(records: Sequence[RunRecord], figures: Figures) -> str:
    """Draws the curves of several runs on shared axes, with a heading; empty where none logged anything."""
    if not any(record.training or record.validation for record in records):
        return ""
    return f"<h2>Training</h2>{figures.add('training', overlay_figure(records), CAPTION)}"
