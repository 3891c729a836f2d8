"""Writes the page's first section: the question, its answer in a sentence, and what it rests on at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mets3d.reporting.answers import WORDS, Told, told_of_pair, told_of_several
from mets3d.reporting.charts.forest import MOST_ARMS, drawn_regions, drawn_scores, forest_figure
from mets3d.reporting.figures import Figures
from mets3d.reporting.html_page import Section
from mets3d.reporting.html_table import Cell, Heading, Table
from mets3d.reporting.rendering import render
from mets3d.reporting.run_record import Note, RunRecord
from mets3d.reporting.sections.glossary import regions_in_words
from mets3d.reporting.sections.reached import told_of_run
from mets3d.reporting.sections.tiles import tiles_of_pair, tiles_of_run
from mets3d.reporting.sentences import shortened
from mets3d.reporting.verdict import change, question
from mets3d.statistics.answer import LEVEL
from mets3d.statistics.comparison_tables import p_text
from mets3d.statistics.family import Difference, family_in_words
from mets3d.statistics.intervals import FEWEST_PATIENTS, RESAMPLES
from mets3d.statistics.paired_tests import EXACT_UP_TO
from mets3d.statistics.study_table import StudyTable
from mets3d.wording import counted

ANCHOR = "answer"
# Of arms in the table: those with a conclusion first.
ORDER = [WORDS[kind] for kind in ("better", "mixed", "worse", "no difference shown", "too few patients", "not tested")]
ORDER.append(WORDS["nothing to compare"])


@dataclass(frozen=True)
class ArmAnswer:
    """The answer on one of several arms: where its own section is, and what it is told."""

    label: str
    address: str
    told: Told


def answer_of_run(record: RunRecord, notes: Sequence[Note]) -> Section | None:
    """Writes what a run reaches, and tiles of it; None without scores."""
    told = told_of_run(record)
    if told is None:
        return None
    where = "that it has not seen" if set(record.held_out) - _trained_on(record) else "that it was trained on"
    html = render(
        "answer.html",
        told=told,
        terms=regions_in_words(record),
        weighty=sum(note.weighty for note in notes),
        tiles=tiles_of_run(record),
        table=None,
        forest="",
        how=[],
    )
    return Section(
        ANCHOR, f"How well does {record.label} find and outline metastases in cases {where}?", html, "Answer"
    )


def answer_of_comparison(
    records: Sequence[RunRecord],
    cases: Sequence[str],
    study: StudyTable | None,
    figures: Figures,
    notes: Sequence[Note],
) -> Section:
    """Writes the answer on the runs but the first, which is the reference: of one in full, of several summed up."""
    reference, *others = records
    differences = study.differences if study else []
    told = [told_of_pair(reference, run, cases, differences) for run in others]
    several = len(others) > 1
    html = render(
        "answer.html",
        told=told_of_several(reference, others, told, cases, differences) if several else told[0],
        terms=regions_in_words(reference) if differences else {},
        weighty=sum(note.weighty for note in notes),
        tiles=[] if several or study is None else tiles_of_pair(reference, others[0], study),
        table=_table(others, told) if several and cases else None,
        forest=_forest(records, differences, figures),
        how=[_how(differences)] if differences else [],
    )
    asked = f"Does any of {counted(len(others), 'arm')} give better boundaries (HD95) and more lesions found than "
    title = f"{asked}{reference.label}?" if several else question(reference, others[0])
    return Section(ANCHOR, title, html, "Answer")


def _trained_on(record: RunRecord) -> set[str]:
    return {case for run in record.members.values() for case in run.trained_on}


def _table(others: Sequence[RunRecord], told: Sequence[Told]) -> Table:
    """Returns a row per arm: its answer, and what is quoted for it."""
    rows = []
    for place, (run, own) in enumerate(zip(others, told, strict=True), 1):
        quoted = own.quoted
        cells = [Cell("–")] * 3
        if quoted is not None:
            what = f"{quoted.score.name}, {quoted.region}"
            cells = [Cell(what, words=True), Cell(change(quoted, quoted.found.n)), Cell(p_text(quoted.p_holm))]
        head = Cell(shortened(run.label, 60), heads=True, href=f"#pair-{place}")
        rows.append((ORDER.index(own.word), [head, Cell(own.word, words=True), *cells]))
    headings: list[str | Heading] = [
        *(Heading(text, words=True) for text in ("Arm", "Answer", "Quoted")),
        *("Difference (95 % interval)", "p (Holm)"),
    ]
    ordered = [row for _, row in sorted(rows, key=lambda row: row[0])]
    return Table("", headings, ordered, label="The answer on each arm")


def _forest(records: Sequence[RunRecord], differences: Sequence[Difference], figures: Figures) -> Markup:
    reference, *others = records
    svg = forest_figure(differences, reference.regions)
    if svg is None:
        return Markup("")
    regions = [region.name for region in drawn_regions(differences, reference.regions)]
    scores = [score.name for score in drawn_scores(differences)]
    of = others[0].label if len(others) == 1 else "an arm"
    caption = (
        f"Each dot is a difference from {reference.label}, its line the 95 % interval. To the right of 0 {of} is "
        "better, to the left worse; that is why the axis of HD95, of which less is better, runs backwards. A full dot "
        f"has p below {LEVEL:g} after Holm's correction; an empty one has not, or is not tested. A dot without a line "
        f"is of fewer than {FEWEST_PATIENTS} patients."
    )
    if len(others) > 1 and len(regions) == 1:
        caption += f" Of so many arms {regions[0]} alone is drawn."
    if len(others) > MOST_ARMS:
        caption += f" The first {MOST_ARMS} of {len(others)} arms are drawn."
    alt = f"Forest plot of differences from {reference.label} by {', '.join(scores)} in {', '.join(regions)}"
    if len(others) == 1:
        alt += f": {_in_numbers(differences, regions, scores)}"
    return figures.add("forest", svg, caption, alt=f"{alt}.")


def _in_numbers(differences: Sequence[Difference], regions: Sequence[str], scores: Sequence[str]) -> str:
    drawn = [own for own in differences if own.region in regions and own.score.name in scores]
    return "; ".join(f"{own.score.name} {own.region} {change(own, own.found.n)}" for own in drawn)


def _how(differences: Sequence[Difference]) -> str:
    return (
        f"Intervals are percentile bootstrap intervals over patients ({RESAMPLES:,} resamples, fixed seed), not "
        "corrected for the number of comparisons. p is that of Wilcoxon's signed-rank test over patients (zeros left "
        f"out, exact given the ties up to {EXACT_UP_TO} patients). {family_in_words(differences)} The answer is by p "
        "after Holm's correction alone."
    )
