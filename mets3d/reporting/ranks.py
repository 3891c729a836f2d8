"""The page's section that ranks the runs as the challenge ranks methods."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mets3d.reporting.html_table import number_cell, spanned, table, table_row
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import count, number, shortened
from mets3d.statistics.comparison_tables import p_text
from mets3d.statistics.intervals import FEWEST_PATIENTS
from mets3d.statistics.ranking import Ranking, is_official, rank_methods, ranked_by
from mets3d.statistics.score_table import columns_of


def ranks_section(records: Sequence[RunRecord], cases: Sequence[str]) -> str:
    """Mean ranks of the runs over `cases` and a permutation test per pair, as HTML; empty without a ranking."""
    ranking = ranked(records, cases)
    if ranking is None:
        return ""
    how = (
        f"Every case ranks the runs by {' and '.join(ranking.metrics)} in {', '.join(ranking.regions)}; 1 is best, "
        "ties share the average, no value is the worst rank. p: over all exchanges of two runs' ranks within "
        f"{count(ranking.patients, 'patient')}, two-sided, beside it Holm's correction over pairs."
    )
    if not all(is_official(record.rules) for record in records if record.rules):
        how += " No official ranking of these rules was found; the metrics are this project's choice."
    if ranking.patients < FEWEST_PATIENTS:
        how += f" With fewer than {FEWEST_PATIENTS} patients no p can be below 0.05: nothing can be concluded."
    return f'<h2>Ranks as in the challenge</h2><p class="small">{escape(how)}</p>{_rank_tables(ranking)}'


def ranked(records: Sequence[RunRecord], cases: Sequence[str]) -> Ranking | None:
    """The challenge's ranking of the runs that have scores; None for fewer than two, or no rule set in common."""
    tables = {record.label: record.score_rows(cases) for record in records if record.scores}
    rules = {row["rules"] for rows in tables.values() for row in rows}
    if len(tables) < 2 or len(rules) != 1:
        return None
    columns = [set(columns_of(rows)) for rows in tables.values()]
    metrics = [name for name in ranked_by(rules.pop()) if all(name in found for found in columns)]
    scored = [{row["region"] for row in rows} for rows in tables.values()]
    regions = [region.name for region in records[0].regions if all(region.name in found for found in scored)]
    return rank_methods(tables, cases, regions, metrics) if metrics and regions else None


def _rank_tables(ranking: Ranking) -> str:
    """Mean rank of each run, best first; then a row per pair."""
    ordered = sorted(ranking.mean_ranks.items(), key=lambda item: item[1])
    ranks = [table_row([_named(shortened(name, 40)), number_cell(number(rank, 3))]) for name, rank in ordered]
    pairs = []
    for pair in ranking.pairs:
        cells = (
            number(pair.difference, 3, sign=True),
            spanned(pair.interval, 3, sign=True),
            p_text(pair.p),
            p_text(pair.p_holm),
            f"{pair.better}/{pair.worse}",
        )
        names = _named(f"{shortened(pair.method, 30)} minus {shortened(pair.reference, 30)}")
        pairs.append(table_row([names, *map(number_cell, cells)]))
    headings = ["Runs", "Difference", "95 % interval", "p", "p (Holm)", "Better/worse"]
    tables = (
        table("Mean rank <span>lower is better</span>", ["Run", "Mean rank"], ranks),
        table("Difference of mean ranks <span>negative: the first is better</span>", headings, pairs),
    )
    return f'<div class="grid one">{"".join(tables)}</div>'


def _named(text: str) -> str:
    return f'<th scope="row">{escape(text)}</th>'
