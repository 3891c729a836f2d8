"""Writes the page's figure of every case in every run, the same case joined by a line."""

from __future__ import annotations

from collections.abc import Sequence

from mets3d.reporting.charts.case_dots import dots_figure
from mets3d.reporting.figures import Figures
from mets3d.reporting.html_page import Section
from mets3d.reporting.run_record import RunRecord
from mets3d.statistics.lesion_counts import means_shown_in

CAPTION = (
    "Every dot is a case; a line joins the same case in different runs; the bar is the mean. HD95 is linear up to 1 mm "
    "and logarithmic above."
)


def case_dots(records: Sequence[RunRecord], cases: Sequence[str], figures: Figures) -> Section | None:
    """Draws the scores that are both in the page's tables and in its figures; None without cases."""
    if not cases:
        return None
    scores = [score for score in means_shown_in("page") if "figure" in score.shown]
    alt = "Scores of every case in each run, by region"
    return Section("dots", "Case by case", figures.add("dots", dots_figure(records, cases, scores), CAPTION, alt=alt))
