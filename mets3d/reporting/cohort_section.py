"""The page's section on the cohort: its figures, and for those that cannot be drawn the command that helps."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from html import escape

from mets3d.reporting.charts.cases import scores_figure, volumes_figure
from mets3d.reporting.charts.lesions import dice_figure, froc_figure, recall_figure
from mets3d.reporting.figures import Figures
from mets3d.reporting.run_record import Note, RunRecord
from mets3d.reporting.sentences import count

SCORES = (
    "Every dot is a case. Box: quartiles and median, whiskers to the last case within 1.5 box heights; with fewer than "
    "five cases the median alone. Cases at 0 pull a mean far below the median, so their share stands below, and for "
    "HD95 that of cases with a penalty (for a missed or false lesion). HD95 is linear up to 1 mm and logarithmic above."
)
RECALL = (
    "Reference lesions found, by volume, all cases together; n is the number of lesions. Each class holds its lower "
    "edge. Bars: 95 % Wilson intervals with the number of lesions divided by the design effect of patients; from few "
    "patients they are rough, and from one there is none."
)
FROC = (
    "Each point is an operating threshold: the probability map is cut there and every lesion counted anew. The ring "
    "marks threshold 0.5. Patients without a lesion count among the patients."
)
DICE = (
    "Found lesions by their Dice; missed ones, of Dice 0, are crosses below the axis. Dotted lines: edges of the size "
    "classes. False lesions have no reference volume and are not shown."
)
VOLUMES = (
    "Bland-Altman: every dot is a case; solid line the bias, dashed lines the limits of agreement (bias ± 1.96 SD). "
    "Cases in which neither volume is above 0 are left out."
)

Draw = Callable[[Sequence[RunRecord], Sequence[str]], bytes | None]


def cohort_section(records: Sequence[RunRecord], cases: Sequence[str], figures: Figures) -> str:
    """The figures over `cases` of all runs that have scores, as HTML; empty where there is none with scores."""
    scored = [record for record in records if record.scores]
    if not scored or not cases:
        return ""
    pieces: tuple[tuple[str, Draw, str, Callable[[RunRecord], Note]], ...] = (
        ("scores", scores_figure, SCORES, lambda record: _evaluate(record, "No lesion-wise scores: no boxes of them.")),
        ("recall", recall_figure, RECALL, lambda record: _no_lesions(record, "no recall by size")),
        ("dice", dice_figure, DICE, lambda record: _no_lesions(record, "no Dice against volume")),
        ("froc", froc_figure, FROC, _no_froc),
        ("volumes", volumes_figure, VOLUMES, _no_volumes),
    )
    parts, notes = [], []
    for name, draw, caption, missing in pieces:
        svg = draw(scored, cases)
        if svg is not None:
            parts.append(figures.add(f"cohort_{name}", svg, caption))
        else:
            notes.append(missing(scored[0]))
    said = f"{count(len(cases), 'held-out case')}, rules {', '.join(sorted({record.rules for record in scored}))}."
    return f'<h2>Lesions and cohort</h2><p class="small">{escape(said)}</p>{"".join(parts)}{_said(notes)}'


def _said(notes: Sequence[Note]) -> str:
    return "".join(
        f'<p class="small">{escape(note.text)}'
        + (f" Run <code>{escape(note.command)}</code>" if note.command else "")
        + "</p>"
        for note in notes
    )


def _evaluate(record: RunRecord, text: str) -> Note:
    predictions, scores = (shlex.quote(str(path)) for path in (record.run.predictions, record.run.scores))
    return Note(text, f"mets3d evaluate {predictions} REFERENCES --out {scores}")


def _no_lesions(record: RunRecord, consequence: str) -> Note:
    if any("reference_volume_mm3" in row.values for row in record.lesions):
        return Note(f"The references hold no lesion that counts: {consequence}.")
    return _evaluate(record, f"No lesions.csv with volumes: {consequence}.")


def _no_froc(record: RunRecord) -> Note:
    if record.froc:
        return Note("froc.csv holds no reference lesion of these cases: no FROC curve.")
    evaluate = _evaluate(record, "").command
    predict = f"mets3d predict {shlex.quote(str(record.run.path))} DATA --held-out --probabilities"
    return Note("No froc.csv, which needs probabilities: no FROC curve.", f"{predict} && {evaluate}")


def _no_volumes(record: RunRecord) -> Note:
    if any("reference_volume_mm3" in score.values for score in record.scores):
        return Note("No case has a volume above 0: no Bland-Altman plot.")
    return _evaluate(record, "No volumes in scores.csv: no Bland-Altman plot.")
