"""Writes a comparison of methods as comparison.csv and as text for a console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from mets3d.evaluation.tables import Row, csv_text
from mets3d.statistics.against_reference import SHARED_LESIONS
from mets3d.statistics.comparison import Comparison
from mets3d.statistics.family import TOO_FEW, Difference, family_in_words
from mets3d.statistics.intervals import FEWEST_PATIENTS, Interval
from mets3d.statistics.pooled_runs import ArmRuns, MethodTables
from mets3d.statistics.ranking import Ranking, RankTest, is_official
from mets3d.statistics.study_table import study_table
from mets3d.wording import counted

COMPARISON_COLUMNS = (
    *("reference", "method", "region", "rules", "score", "cases", "patients", "reference_mean", "method_mean"),
    *(
        "difference",
        "ci_low",
        "ci_high",
        "better",
        "worse",
        "rank_biserial",
        "test",
        "p",
        "p_holm",
        "family",
        "not_tested",
    ),
)


def comparison_csv(comparison: Comparison) -> str:
    """Returns the text of comparison.csv: a row per difference, then one per pair of methods for its ranks (mean_rank).

    p and p_holm are there where a difference is a test; `family` and `not_tested` are as in `statistics.family`.
    """
    rows = [_compared(difference) for difference in comparison.differences]
    if comparison.ranking:
        rows += [_ranked(pair, comparison.ranking) for pair in comparison.ranking.pairs]
    return csv_text(COMPARISON_COLUMNS, (row | {"rules": comparison.rules} for row in rows))


def _compared(difference: Difference) -> Row:
    found = difference.found
    return {
        "reference": difference.reference,
        "method": difference.method,
        "region": difference.region,
        "score": difference.score.column,
        "cases": found.n,
        "patients": found.patients,
        "reference_mean": found.reference_mean,
        "method_mean": found.method_mean,
        "difference": found.difference,
        **_bounds(found.interval),
        "better": found.improved,
        "worse": found.worsened,
        "rank_biserial": found.effect,
        "test": "" if difference.p is None else "wilcoxon",
        "p": difference.p,
        "p_holm": difference.p_holm,
        "family": difference.family,
        "not_tested": str(difference.not_tested or ""),
    }


def _ranked(pair: RankTest, ranking: Ranking) -> Row:
    return {
        "reference": pair.reference,
        "method": pair.method,
        "region": "all",
        "score": "mean_rank",
        "cases": ranking.cases,
        "patients": ranking.patients,
        "reference_mean": ranking.mean_ranks[pair.reference],
        "method_mean": ranking.mean_ranks[pair.method],
        "difference": pair.difference,
        **_bounds(pair.interval),
        "better": pair.better,
        "worse": pair.worse,
        "rank_biserial": "",
        "test": "" if pair.p is None else "permutation",
        "p": pair.p,
        "p_holm": pair.p_holm,
        "family": "ranks",
        "not_tested": TOO_FEW if pair.p is None else "",
    }


def _bounds(interval: Interval | None) -> Row:
    low, high = interval or ("", "")
    return {"ci_low": low, "ci_high": high}


def comparison_text(comparison: Comparison) -> str:
    """Returns the comparison for a console: cases, a table per pair of methods, the ranking."""
    amounts = f"{counted(len(comparison.cases), 'case')} of {counted(comparison.patients, 'patient')}"
    lines = [f"rules {comparison.rules}: {amounts}, scored for all methods"]
    lines += [
        f"left out, not in every table: {len(cases)} of {name}: {_few(cases)}"
        for name, cases in comparison.left_out.items()
        if cases
    ]
    for reference, method in combinations(comparison.methods, 2):
        own = [found for found in comparison.differences if (found.reference, found.method) == (reference, method)]
        lines += ["", f"{method} minus {reference}", *_aligned([_HEADINGS, *map(_cells, own)])]
    how = (
        "Intervals: 95 % bootstrap of the mean difference, patients resampled. p: Wilcoxon signed-rank over patients. "
        f"Effect: rank-biserial, positive is better. Below {FEWEST_PATIENTS} patients with a value there is neither "
        "interval nor p."
    )
    lines += ["", how, family_in_words(comparison.differences)]
    if comparison.patients < FEWEST_PATIENTS:
        lines.append(f"Fewer than {FEWEST_PATIENTS} patients: no p can be below 0.05, so nothing can be concluded.")
    return "\n".join([*lines, "", *_ranking_lines(comparison)])


_HEADINGS = ("region", "score", "reference", "method", "difference", "95 % interval", "better/worse", "effect", "p",
             "p Holm", "n", "family")  # fmt: skip


def _cells(difference: Difference) -> tuple[str, ...]:
    found = difference.found
    interval = " to ".join(f"{bound:+.3f}" for bound in found.interval or ()) or "-"
    numbers = (f"{found.reference_mean:.3f}", f"{found.method_mean:.3f}", f"{found.difference:+.3f}", interval)
    wins, effect = f"{found.improved}/{found.worsened}", f"{found.effect:+.2f}"
    tested = ("-" if p is None else p_text(p) for p in (difference.p, difference.p_holm))  # a console may be ASCII
    kind = str(difference.not_tested or difference.family)
    return (difference.region, difference.score.column, *numbers, wins, effect, *tested, str(found.n), kind)


def seeds_text(comparison: Comparison, arms: Mapping[str, ArmRuns]) -> list[str]:
    """Returns the lines on the spread over seeds of methods that are arms of several runs; none without such."""
    if not any(len(runs) > 1 for runs in arms.values()):
        return []
    chosen = dict.fromkeys(difference.score for difference in comparison.differences)
    own = {
        arm: {key: _of_cases(tables, comparison.cases) for key, tables in runs.items()} for arm, runs in arms.items()
    }
    table = study_table(own, scores=[score for score in chosen if score != SHARED_LESIONS])
    rows = [("method", "region", "score", "mean", "SD over seeds", "mean of each seed")]
    for found in table.scores:
        seeds = ", ".join(f"{mean:.3f}" for mean in found.by_seed.values())
        spread = "-" if found.seed_sd is None else f"{found.seed_sd:.3f}"
        rows.append((found.arm, found.region, found.score.column, f"{found.mean:.3f}", spread, seeds))
    head = (
        "Spread over seeds: a case's score above is its mean over the runs of an arm, and the intervals hold no chance"
    )
    return ["", f"{head} in training", *_aligned(rows)]


def _of_cases(tables: MethodTables, cases: Sequence[str]) -> MethodTables:
    return MethodTables([row for row in tables.scores if row["case"] in set(cases)])


def p_text(p: float | None) -> str:
    """Writes a p value with two significant digits and at most three decimals, as in 0.042; a dash for none."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _ranking_lines(comparison: Comparison) -> list[str]:
    ranking = comparison.ranking
    if ranking is None:
        return [f"No ranking: the tables lack {', '.join(comparison.absent) or 'the metrics of a known rule set'}."]
    heading = f"Ranking by {', '.join(ranking.metrics)} in {', '.join(ranking.regions)}: mean rank, 1 is best"
    lines = [
        heading,
        *_aligned([(name, f"{rank:.3f}") for name, rank in sorted(ranking.mean_ranks.items(), key=_rank)]),
    ]
    for pair in ranking.pairs:
        interval = f" ({' to '.join(f'{bound:+.3f}' for bound in pair.interval)})" if pair.interval else ""
        corrected = f", Holm {p_text(pair.p_holm)}" if len(ranking.pairs) > 1 else ""
        test = TOO_FEW if pair.p is None else f"permutation p {p_text(pair.p)}{corrected}"
        lines.append(f"{pair.method} minus {pair.reference}: {pair.difference:+.3f}{interval}, {test}")
    if comparison.absent:
        lines.append(f"Not in every table, so not ranked by: {', '.join(comparison.absent)}.")
    if not is_official(comparison.rules):
        lines.append(f"No official ranking of {comparison.rules} was found; these metrics are this project's choice.")
    return lines


def _rank(item: tuple[str, float]) -> float:
    return item[1]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    return [f"  {'  '.join(cells)}".rstrip() for cells in padded]
