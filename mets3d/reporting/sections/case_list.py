"""Writes the page's list of all held-out cases with their scores."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from markupsafe import Markup

from mets3d.evaluation.scores import Score
from mets3d.reporting.html_page import Section
from mets3d.reporting.html_table import heading_cell, number_cell, table_row
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import number
from mets3d.statistics.lesion_counts import COUNTS, means_shown_in

LONG_LIST = 40  # cases; a longer list is folded away at first


def cases_section(records: Sequence[RunRecord]) -> Section | None:
    """Writes the scores of each case in each run that has scores; None without any."""
    html = "".join(case_list(record, record.label if len(records) > 1 else "") for record in records)
    return Section("cases", "All cases", Markup(html)) if html else None


def case_list(record: RunRecord, label: str = "") -> str:
    """Writes the scores of each case, to be unfolded; `label` names the run where there are several."""
    if not record.scores:
        return ""
    amount = len(record.held_out)
    shown = " open" * (amount <= LONG_LIST and not label)
    named = f" of {escape(label)}" if label else ""
    return f"<details{shown}><summary>Scores of each case{named} ({amount})</summary>{case_table(record)}</details>"


def case_table(record: RunRecord) -> str:
    """Writes a row per case: for each region its scores, and its lesions found, missed and false."""
    scores = means_shown_in("page")
    head = "".join(
        f'<th colspan="{len(scores) + 1}" class="group" style="border-color:{region.colour}">{escape(region.name)}</th>'
        for region in record.regions
    )
    names = (*(_short(score) for score in scores), "F/M/X")
    columns = "".join(f"<th>{escape(name)}</th>" for name in names) * len(record.regions)
    units = dict.fromkeys(f"{_kind(score)} in {score.unit}; " for score in scores if score.unit)
    return (
        '<div class="wide" role="region" aria-label="Scores of each case" tabindex="0"><table class="cases"><thead>'
        f"<tr><td></td>{head}</tr><tr><th>Case</th>{columns}</tr></thead>"
        f"<tbody>{''.join(_rows(record, scores))}</tbody></table></div>"
        f'<p class="small">LW lesion-wise; {escape("".join(units))}F/M/X lesions found, missed and false.</p>'
    )


def _rows(record: RunRecord, scores: list[Score]) -> list[str]:
    values = {
        (region.name, score.column): record.values(region.name, score.column)
        for region in record.regions
        for score in (*scores, *COUNTS)
    }
    rows = []
    for case in record.held_out:
        cells = [heading_cell(case)]
        for region in record.regions:
            for index, score in enumerate(scores):
                text = number(values[region.name, score.column].get(case), score.digits)
                cells.append(number_cell(text, first=index == 0))
            counts = [number(values[region.name, score.column].get(case), 0) for score in COUNTS]
            cells.append(number_cell("/".join(counts) if set(counts) != {"–"} else "–"))
        rows.append(table_row(cells))
    return rows


def _short(score: Score) -> str:
    """Returns a score's name as short as a narrow column needs it, as in LW Dice."""
    return score.name.replace("Lesion-wise ", "LW ").removeprefix("Whole-volume ")


def _kind(score: Score) -> str:
    """Returns a score's name without the part it is measured on, as in HD95."""
    return score.name.removeprefix("Lesion-wise ").removeprefix("Whole-volume ")
