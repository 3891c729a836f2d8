"""Writes the page's tables and figures of the cohort, and for those that cannot be drawn the command that helps."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mets3d.reporting.charts.cases import scores_figure, volumes_figure
from mets3d.reporting.charts.froc import froc_figure
from mets3d.reporting.charts.lesions import dice_figure, recall_figure
from mets3d.reporting.figures import Figures
from mets3d.reporting.html_page import Section
from mets3d.reporting.read_run import evaluate_command
from mets3d.reporting.rendering import render
from mets3d.reporting.run_record import Note, RunRecord
from mets3d.reporting.sections.cohort_tables import cohort_tables
from mets3d.statistics.intervals import FEWEST_PATIENTS
from mets3d.wording import counted

SCORES_CAPTION = (
    "Every dot is a case. Box: quartiles and median, whiskers to the last case within 1.5 box heights; with fewer than "
    "five cases the median alone. Cases at 0 pull a mean far below the median, so their share stands below, and for "
    "HD95 that of cases with a penalty (for a missed or false lesion). HD95 is linear up to 1 mm and logarithmic above."
)
RECALL_CAPTION = (
    "Reference lesions found, by volume, all cases together; n is the number of lesions. Each class holds its lower "
    "edge. Bars: 95 % Wilson intervals with the number of lesions divided by the design effect of patients; from few "
    "patients they are rough, and from one there is none."
)
DICE_CAPTION = (
    "Found lesions by their Dice; missed ones, of Dice 0, are crosses below the axis. Dotted lines: edges of the size "
    "classes. False lesions have no reference volume and are not shown. Of an arm: the lesions of the run that is "
    "pictured."
)
FROC_CAPTION = (
    "Each point is an operating threshold: the probability map is cut there and every lesion counted anew. The ring "
    "marks threshold 0.5. Patients without a lesion are counted too."
)
VOLUMES_CAPTION = (
    "Bland-Altman: every dot is a case; solid line the bias, dashed lines the limits of agreement (bias ± 1.96 SD). "
    "Cases in which neither volume is above 0 are left out."
)


@dataclass(frozen=True)
class CohortFigure:
    """A figure over all cases: how it is drawn, its caption, and the note that stands in for it."""

    name: str
    draw: Callable[[Sequence[RunRecord], Sequence[str]], bytes | None]
    caption: str
    alt: str
    missing: Callable[[RunRecord], Note]


def cohort_figures(records: Sequence[RunRecord], cases: Sequence[str], figures: Figures) -> Section | None:
    """Draws the figures over `cases` of all runs that have scores, below the tables of a single one.

    None where there is none with scores.
    """
    scored = [record for record in records if record.scores]
    if not scored or not cases:
        return None
    parts, notes = [], []
    for figure in COHORT_FIGURES:
        svg = figure.draw(scored, cases)
        if svg is not None:
            parts.append(figures.add(f"cohort_{figure.name}", svg, figure.caption, alt=figure.alt))
        else:
            notes.append(figure.missing(scored[0]))
    head = f"{counted(len(cases), 'held-out case')}, rules {', '.join(sorted({record.rules for record in scored}))}."
    tables = cohort_tables(scored[0]) if len(records) == 1 else []
    html = render("cohort_figures.html", head=head, tables=tables, fewest=FEWEST_PATIENTS, drawn=parts, notes=notes)
    return Section("cohort", "Lesions and cohort", html)


# ---------------------------------------------------------------- notes on what cannot be drawn


def _no_scores(record: RunRecord) -> Note:
    return _evaluate(record, "No lesion-wise scores: no boxes of them.")


def _no_recall(record: RunRecord) -> Note:
    return _no_lesions(record, "no recall by size")


def _no_dice(record: RunRecord) -> Note:
    return _no_lesions(record, "no Dice against volume")


def _no_lesions(record: RunRecord, consequence: str) -> Note:
    if any("reference_volume_mm3" in row for row in record.lesions):
        return Note(f"The references hold no lesion that counts: {consequence}.")
    return _evaluate(record, f"No {record.run.lesions.name} with volumes: {consequence}.")


def _no_froc(record: RunRecord) -> Note:
    name = record.run.froc.name
    if record.froc:
        return Note(f"{name} holds no reference lesion of these cases: no FROC curve.")
    predict = f"mets3d predict {shlex.quote(str(record.run.path))} DATA --held-out --probabilities"
    return Note(f"No {name}, which needs probabilities: no FROC curve.", f"{predict} && {evaluate_command(record)}")


def _no_volumes(record: RunRecord) -> Note:
    if any("reference_volume_mm3" in row for row in record.scores):
        return Note("No case has a volume above 0: no Bland-Altman plot.")
    return _evaluate(record, f"No volumes in {record.run.scores.name}: no Bland-Altman plot.")


def _evaluate(record: RunRecord, text: str) -> Note:
    return Note(text, evaluate_command(record))


COHORT_FIGURES = (
    CohortFigure("scores", scores_figure, SCORES_CAPTION, "Lesion-wise scores of every case, by region", _no_scores),
    CohortFigure("recall", recall_figure, RECALL_CAPTION, "Share of lesions found by size, by region", _no_recall),
    CohortFigure("dice", dice_figure, DICE_CAPTION, "Dice of every lesion against its volume, by region", _no_dice),
    CohortFigure("froc", froc_figure, FROC_CAPTION, "FROC: sensitivity against false positives a patient", _no_froc),
    CohortFigure(
        "volumes", volumes_figure, VOLUMES_CAPTION, "Bland-Altman plots of tumour volumes, by region", _no_volumes
    ),
)
