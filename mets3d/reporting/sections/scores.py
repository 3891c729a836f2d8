"""Writes the page's section on the scores of one run: one table, score x region, with its lesions."""

from __future__ import annotations

from mets3d.evaluation.scores import Score
from mets3d.reporting.html_page import Section
from mets3d.reporting.html_table import Cell, Heading, Table, region_heading, spanned
from mets3d.reporting.rendering import render
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import amount, number, percent
from mets3d.statistics.cohort import Summary, summarise
from mets3d.statistics.intervals import FEWEST_PATIENTS
from mets3d.statistics.lesion_counts import lesion_counts, means_shown_in
from mets3d.wording import counted

STATISTICS = ("mean ± SD", "95 % interval", "median [quartiles]")
ARROWS = {"higher": " ↑", "lower": " ↓", None: ""}


def scores_section(record: RunRecord) -> Section | None:
    """Writes the scores of a run on its held-out cases; None without scores."""
    if not record.scores:
        return None
    html = render(
        "scores.html",
        scores=score_table(record),
        rules=record.rules,
        fewest=FEWEST_PATIENTS,
    )
    return Section("scores", f"Scores on {counted(len(record.held_out), 'held-out case')}", html, "Scores")


def score_table(record: RunRecord) -> Table:
    """Returns a column a region; of each score a row per statistic, then the lesions."""
    rows = [row for score in means_shown_in("page") for row in _of_score(record, score)]
    headings = [Heading("Score", words=True), Heading("Statistic", words=True), *map(region_heading, record.regions)]
    return Table("", headings, [*rows, *_of_lesions(record)], label="Scores by region", kind="numbers scores")


def _of_score(record: RunRecord, score: Score) -> list[list[Cell]]:
    columns = []
    for region in record.regions:
        cases = len({row["case"] for row in record.score_rows(region.name)})
        found = summarise(record.values(region.name, score.column), record.patients)
        columns.append(_statistics(found, score.digits, cases))
    rows = zip(STATISTICS, *columns, strict=True)
    first, *others = [[Cell(name, words=True), *cells] for name, *cells in rows]
    name = f"{score.name}{f' [{score.unit}]' * bool(score.unit)}{ARROWS[score.better]}"
    return [[Cell(name, heads=True, rows=len(STATISTICS)), *first], *others]


def _statistics(found: Summary | None, digits: int, cases: int) -> list[Cell]:
    """Returns the statistics of one score, with the number of cases where some have no value."""
    if found is None:
        return [Cell("–")] * len(STATISTICS)
    mean, sd, median, low, high = (
        number(value, digits) for value in (found.mean, found.sd, found.median, *found.quartiles)
    )
    return [
        Cell(f"{mean} ± {sd}" if found.sd is not None else mean, after=f"n = {found.n}" if found.n != cases else ""),
        Cell(spanned(found.interval, digits)),
        Cell(f"{median} [{low} to {high}]"),
    ]


def _of_lesions(record: RunRecord) -> list[list[Cell]]:
    """Returns rows with the lesions of all cases together."""
    counts = [lesion_counts(record.score_rows(region.name)) for region in record.regions]
    found = [
        f"{_amount(own.found)} of {_amount(own.lesions)}{f' ({percent(own.recall)})' if own.lesions else ''}"
        for own in counts
    ]
    texts = {
        "found": found,
        "missed": [_amount(own.missed) for own in counts],
        "false": [_amount(own.false) for own in counts],
    }
    first, *others = [[Cell(name, words=True), *map(Cell, cells)] for name, cells in texts.items()]
    return [[Cell("Lesions", heads=True, rows=len(texts)), *first], *others]


def _amount(value: float | None) -> str:
    return "–" if value is None else amount(value)
