"""Writes the sections that compare a run with the reference: question, verdict, caveat and tables of differences."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from markupsafe import Markup

from mets3d.evaluation.scores import Score
from mets3d.reporting.html_page import Section
from mets3d.reporting.html_table import number_cell, region_cell, score_title, spanned, table, table_row
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import count, number, shortened
from mets3d.reporting.verdict import Family, caveat, digits_of_difference, question, verdict
from mets3d.statistics.comparison_tables import p_text
from mets3d.statistics.family import Difference, family_in_words
from mets3d.statistics.intervals import RESAMPLES
from mets3d.statistics.lesion_counts import COUNTS
from mets3d.statistics.paired_tests import EXACT_UP_TO


def pair_sections(records: Sequence[RunRecord], cases: Sequence[str], family: Family) -> list[Section]:
    """Writes a section for each run but the first, which is the reference."""
    reference, *others = records
    several = len(others) > 1
    return [
        Section(
            f"pair-{number}",
            (f"{run.label}: " if several else "") + question(reference, run),
            Markup(pair_section(reference, run, cases, family)),
            f"{run.label} against {reference.label}" if several else "Answer",
        )
        for number, run in enumerate(others, 1)
    ]


def pair_section(reference: RunRecord, run: RunRecord, cases: Sequence[str], family: Family) -> str:
    """Writes the comparison of one run with the reference."""
    lines = "".join(f"<dt>{escape(what)}</dt><dd>{escape(text)}</dd>" for what, text in verdict(run, cases, family))
    html = f'<dl class="verdict">{lines}</dl>'
    if not cases:
        return html
    return (
        f'{html}<p class="small">{escape(caveat(reference, run, len(cases)))}</p><h3>{escape(run.label)} against '
        f'{escape(reference.label)}</h3><p class="small">{escape(_how(len(cases), family))}</p>'
        f'<div class="grid one">{_tables(reference, run, family)}</div>'
    )


def _how(cases: int, family: Family) -> str:
    return (
        f"Means over the same {count(cases, 'held-out case')}. Intervals are percentile bootstrap intervals over "
        f"patients ({RESAMPLES:,} resamples, fixed seed), not corrected for the number of comparisons. p is that of "
        "Wilcoxon's signed-rank test over patients (zeros left out, exact given the ties up to "
        f"{EXACT_UP_TO} patients). {family_in_words(family)} Effect is the "
        "rank-biserial correlation: 1 where the run is better in every patient, −1 where it is worse in every one. "
        "Better/worse are numbers of cases."
    )


def _tables(reference: RunRecord, run: RunRecord, family: Family) -> str:
    """Writes a table per score, a row per region: both means, difference, interval, tests, better/worse."""
    own = {(test.score.column, test.region): test for test in family if test.method == run.label}
    names = [shortened(record.label, 14) for record in (reference, run)]
    headings = ["Region", *names, "Difference", "95 % interval", "p", "p (Holm)", "Effect", "n", "Better/worse"]
    seeds = any(len(test.by_seed) > 1 for test in own.values())
    headings += ["SD over seeds"] if seeds else []
    tables = []
    for score in dict.fromkeys(test.score for test in family):
        tests = [own.get((score.column, region.name)) for region in reference.regions]
        if any(tests):
            rows = [
                table_row([region_cell(region), *map(number_cell, _cells(test, score, seeds=seeds))])
                for region, test in zip(reference.regions, tests, strict=True)
            ]
            tables.append(table(score_title(score, per_case=score in COUNTS), headings, rows))
    return "".join(tables)


def _cells(test: Difference | None, score: Score, *, seeds: bool) -> Sequence[str]:
    if test is None:
        return ["–"] * (9 + seeds)
    found, digits = test.found, digits_of_difference(score)
    cells = (
        number(found.reference_mean, digits),
        number(found.method_mean, digits),
        number(found.difference, digits, sign=True),
        spanned(found.interval, digits, sign=True),
        p_text(test.p),
        p_text(test.p_holm),
        number(found.effect, 2, sign=True),
        str(found.n),
        f"{found.improved}/{found.worsened}",
    )
    return (*cells, number(test.seed_sd, digits)) if seeds else cells
