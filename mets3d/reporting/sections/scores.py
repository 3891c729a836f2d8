"""Writes the page's section on the scores of one run: a table per score, and lesions of all cases together."""

from __future__ import annotations

from html import escape

from markupsafe import Markup

from mets3d.evaluation.scores import Score
from mets3d.reporting.html_page import Section
from mets3d.reporting.html_table import number_cell, region_cell, score_title, spanned, table, table_row
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sections.cohort_tables import cohort_tables
from mets3d.reporting.sentences import count, number, percent
from mets3d.statistics.cohort import summarise
from mets3d.statistics.lesion_counts import lesion_counts, means_shown_in

HEADINGS = ("Region", "n", "Mean", "95 % interval", "SD", "Median", "25 %", "75 %")


def scores_section(record: RunRecord) -> Section | None:
    """Writes the scores of a run on its held-out cases, and its cohort's tables; None without scores."""
    if not record.scores:
        return None
    how = (
        f"Rules {record.rules}. SD is the sample standard deviation; 25 % and 75 % are the quartiles. Lesion-wise "
        "scores hold a penalty for each missed and each false lesion."
    )
    html = f'<p class="small">{escape(how)}</p>{score_tables(record)}{cohort_tables(record)}'
    return Section("scores", f"Scores on {count(len(record.held_out), 'held-out case')}", Markup(html), "Scores")


def score_tables(record: RunRecord) -> str:
    """Writes a table per score (cases, mean, its interval, SD, median, quartiles) and one of lesion counts."""
    tables = "".join(_score_table(record, score) for score in means_shown_in("page"))
    return f'<div class="grid">{tables}{_lesion_table(record)}</div>'


def _score_table(record: RunRecord, score: Score) -> str:
    rows = []
    for region in record.regions:
        summary = summarise(record.values(region.name, score.column), record.patients)
        if summary is None:
            cells = ["0", *["–"] * 6]
        else:
            spread = (summary.sd, summary.median, *summary.quartiles)
            mean = number(summary.mean, score.digits), spanned(summary.interval, score.digits)
            cells = [str(summary.n), *mean, *(number(value, score.digits) for value in spread)]
        rows.append(table_row([region_cell(region), *map(number_cell, cells)]))
    return table(score_title(score), HEADINGS, rows)


def _lesion_table(record: RunRecord) -> str:
    rows = []
    for region in record.regions:
        counts = lesion_counts(record.score_rows(region.name))
        cells = [number(value, 0) for value in (counts.found, counts.missed, counts.false)]
        rows.append(table_row([region_cell(region), *map(number_cell, (*cells, percent(counts.recall)))]))
    title = "Lesions <span>of the reference, all cases together</span>"
    return table(title, ["Region", "Found", "Missed", "False", "Share found"], rows)
