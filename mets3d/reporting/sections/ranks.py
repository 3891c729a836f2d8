"""Writes the page's section that ranks the runs as the challenge ranks methods."""

from __future__ import annotations

from collections.abc import Sequence

from mets3d.reporting.html_page import Section
from mets3d.reporting.html_table import Cell, Table, row_head, spanned
from mets3d.reporting.rendering import render
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import number, shortened
from mets3d.statistics.comparison_tables import p_text
from mets3d.statistics.intervals import FEWEST_PATIENTS
from mets3d.statistics.ranking import Ranking, is_official, ranking_by_rules
from mets3d.wording import counted

MOST_UNFILTERED = 10  # pairs of runs; a longer table sorts and filters


def ranks_section(records: Sequence[RunRecord], cases: Sequence[str]) -> Section | None:
    """Writes mean ranks of the runs over `cases` and a permutation test per pair; None without a ranking."""
    ranking = ranked(records, cases)
    if ranking is None:
        return None
    how = (
        f"Every case ranks the runs by {' and '.join(ranking.metrics)} in {', '.join(ranking.regions)}; 1 is best, "
        "ties share the average, no value is the worst rank. p is two-sided and counts all exchanges of two runs' "
        f"ranks within {counted(ranking.patients, 'patient')}; p (Holm) is corrected for the number of pairs."
    )
    if not all(is_official(record.rules) for record in records if record.rules):
        how += " No official ranking of these rules was found; the metrics are this project's choice."
    few = f"With fewer than {FEWEST_PATIENTS} patients no p can be below 0.05: nothing can be concluded."
    shown = few if ranking.patients < FEWEST_PATIENTS else ""
    html = render("ranks.html", tables=[_mean_ranks(ranking), _pairs(ranking)], how=how, few=shown)
    return Section("ranks", "Ranks as in the challenge", html, "Ranks")


def ranked(records: Sequence[RunRecord], cases: Sequence[str]) -> Ranking | None:
    """Ranks the runs that have scores; None for fewer than two, or no rule set in common."""
    tables = {record.label: record.score_rows(cases=cases) for record in records if record.scores}
    return ranking_by_rules(tables, cases, [region.name for region in records[0].all_regions])


def _mean_ranks(ranking: Ranking) -> Table:
    """Returns the mean rank of each run, best first."""
    ordered = sorted(ranking.mean_ranks.items(), key=lambda item: item[1])
    rows = [[row_head(shortened(name, 40)), Cell(number(rank, 3))] for name, rank in ordered]
    return Table("Mean rank", ["Run", "Mean rank"], rows, "lower is better")


def _pairs(ranking: Ranking) -> Table:
    rows = []
    for pair in ranking.pairs:
        cells = (
            number(pair.difference, 3, sign=True),
            spanned(pair.interval, 3, sign=True),
            p_text(pair.p),
            p_text(pair.p_holm),
            f"{pair.better}/{pair.worse}",
        )
        names = row_head(f"{shortened(pair.method, 30)} minus {shortened(pair.reference, 30)}")
        rows.append([names, *map(Cell, cells)])
    headings = ["Runs", "Difference", "95 % interval", "p", "p (Holm)", "Better/worse"]
    rows_are = "pairs" if len(rows) > MOST_UNFILTERED else ""
    how = "negative: the first is better"
    return Table("Difference of mean ranks", headings, rows, how, rows_are=rows_are)
