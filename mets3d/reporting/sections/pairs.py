"""Writes the sections with every difference of a run from the reference: what they say in words, and one table."""

from __future__ import annotations

from collections.abc import Sequence

from mets3d.evaluation.scores import Score
from mets3d.regions import Region
from mets3d.reporting.html_page import Section
from mets3d.reporting.html_table import Cell, Heading, Table, direction, region_head, spanned
from mets3d.reporting.rendering import render
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import number, shortened
from mets3d.reporting.verdict import Family, caveat, digits_of_difference, question, verdict
from mets3d.statistics.comparison_tables import p_text
from mets3d.statistics.family import Difference
from mets3d.statistics.lesion_counts import COUNTS
from mets3d.wording import counted


def pair_sections(records: Sequence[RunRecord], cases: Sequence[str], family: Family) -> list[Section]:
    """Writes a section for each run but the first, which is the reference; none without a case."""
    reference, *others = records
    if not cases:
        return []
    several = len(others) > 1
    return [
        Section(
            f"pair-{number}",
            f"{run.label}: {question(reference, run)}" if several else "Every difference",
            render(
                "pair.html",
                lines=verdict(run, cases, family),
                caveat=caveat(reference, run, len(cases)),
                differences=differences_table(reference, run, family),
                cases=counted(len(cases), "held-out case"),
            ),
            f"{run.label} against {reference.label}" if several else "",
        )
        for number, run in enumerate(others, 1)
    ]


def differences_table(reference: RunRecord, run: RunRecord, family: Family) -> Table:
    """Returns a row per score and region: both means, difference, interval, tests, better/worse."""
    own = {(test.score, test.region): test for test in family if test.method == run.label}
    seeds = any(len(test.by_seed) > 1 for test in own.values())
    rows = []
    for score in dict.fromkeys(score for score, _ in own):
        regions = [region for region in reference.regions if (score, region.name) in own]
        rows += _of_score(score, regions, own, seeds=seeds)
    headings: list[str | Heading] = [
        *(Heading(text, words=True) for text in ("Score", "Region")),
        *(shortened(record.label, 14) for record in (reference, run)),
        *("Difference", "95 % interval", "p", "p (Holm)", "Effect", "n", "Better/worse"),
        *(["SD over seeds"] if seeds else []),
    ]
    return Table(f"{run.label} against {reference.label}", headings, rows, kind="numbers scores tight")


def _of_score(
    score: Score, regions: Sequence[Region], own: dict[tuple[Score, str], Difference], *, seeds: bool
) -> list[list[Cell]]:
    rows = [
        [region_head(region), *map(Cell, _cells(own[score, region.name], score, seeds=seeds))] for region in regions
    ]
    if rows:
        name = Cell(score.name, heads=True, rows=len(rows), after=direction(score, per_case=score in COUNTS))
        rows[0].insert(0, name)
    return rows


def _cells(test: Difference, score: Score, *, seeds: bool) -> Sequence[str]:
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
