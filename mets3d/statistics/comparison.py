"""Compares the score tables of two or more methods on shared cases: differences, tests, and the challenge's ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

from mets3d.evaluation.scores import Score, lower_is_better, score_of
from mets3d.evaluation.tables import Row
from mets3d.regions import scored_regions
from mets3d.rundir import SCORE_TABLE
from mets3d.statistics.against_reference import against_reference, compared_scores
from mets3d.statistics.family import Difference
from mets3d.statistics.intervals import patient_numbers
from mets3d.statistics.pooled_runs import MethodTables
from mets3d.statistics.ranking import Ranking, ranked_by, ranking_by_rules
from mets3d.statistics.score_table import columns_of, patients_in
from mets3d.statistics.shared_cases import shared_cases
from mets3d.wording import counted


@dataclass(frozen=True)
class Comparison:
    """The result of `compare_methods`. `left_out`: method -> its cases that not every method has."""

    rules: str
    methods: tuple[str, ...]
    cases: tuple[str, ...]
    patients: int
    left_out: dict[str, list[str]]
    absent: tuple[str, ...]  # scores of the ranking that not every table has
    differences: list[Difference]
    ranking: Ranking | None


def compare_methods(
    tables: Mapping[str, Sequence[Row]],
    *,
    scores: Sequence[str] | None = None,
    lesions: Mapping[str, Sequence[Row]] | None = None,
) -> Comparison:
    """Compares methods, given as name -> rows of scores.csv, on the cases that all of them have.

    Every pair of methods, the earlier as the reference, is compared in every region by every score: `scores`, or those
    of `against_reference.compared_scores`; `lesions` are the rows of lesions.csv of methods that have it. Tests are
    those of the family that `statistics.family` declares, or by `scores` where these are named: of every method against
    the first. The ranking (`ranking.rank_methods`) takes the metrics of its rule set that all tables have; it is None
    where there are none.

    Raises ValueError for fewer than two methods, for tables of different or several rule sets, for no shared case, and
    for a score that is named and absent or has no direction.
    """
    if len(tables) < 2:
        raise ValueError(f"expected at least two methods to compare, found {len(tables)}")
    rules = _the_rules(tables)
    shared, left_out = _shared_cases(tables)
    columns = [set(columns_of(rows)) for rows in tables.values()]
    chosen = compared_scores(rules)
    if scores:
        chosen = [_named(score, dict(zip(tables, columns, strict=True))) for score in scores]
    regions = _shared_regions(tables)
    within = {name: _of_cases(rows, (lesions or {}).get(name, ()), shared) for name, rows in tables.items()}
    return Comparison(
        rules,
        tuple(tables),
        tuple(shared),
        patient_numbers(shared, patients_in(*tables.values()))[1],
        left_out,
        tuple(name for name in ranked_by(rules) if any(name not in found for found in columns)),
        _differences(within, regions, chosen, scores or None),
        ranking_by_rules(tables, shared, regions),
    )


def _named(column: str, columns: Mapping[str, set[str]]) -> Score:
    """Returns a score that is named, with its direction. Raises ValueError where it has none or not every table it."""
    better: Literal["higher", "lower"] = "lower" if lower_is_better(column) else "higher"
    lacking = [name for name, found in columns.items() if column not in found]
    if lacking:
        raise ValueError(f"expected the score {column} in every table, found none in {', '.join(lacking)}")
    return score_of(column) or Score(column, column, better=better)


def _the_rules(tables: Mapping[str, Sequence[Row]]) -> str:
    found = {name: ", ".join(sorted({row["rules"] for row in rows})) for name, rows in tables.items()}
    if len(set(found.values())) > 1 or any("," in rules for rules in found.values()):
        said = "; ".join(f"{name}: {rules}" for name, rules in found.items())
        raise ValueError(f"expected tables of one rule set, found {said}; evaluate again with the same --rules")
    return next(iter(found.values()))


def _shared_cases(tables: Mapping[str, Sequence[Row]]) -> tuple[list[str], dict[str, list[str]]]:
    cases = {name: {row["case"] for row in rows} for name, rows in tables.items()}
    shared = shared_cases(cases.values())
    if not shared:
        said = "; ".join(f"{name}: {len(found)}, such as {min(found)}" for name, found in cases.items())
        raise ValueError(f"expected cases that all tables have, found none ({said}); evaluate the same cases")
    return shared, {name: sorted(found.difference(shared)) for name, found in cases.items()}


def _shared_regions(tables: Mapping[str, Sequence[Row]]) -> list[str]:
    """Returns the regions that all tables have, in the order of channels whatever the rows' is, unknown ones last.

    Of repeats the first is the test, so the order decides which that is.
    """
    first, *others = ([row["region"] for row in rows] for rows in tables.values())
    shared = [region for region in dict.fromkeys(first) if all(region in other for other in others)]
    order = [region.name for region in scored_regions(cavity=True)]
    return sorted(shared, key=lambda region: order.index(region) if region in order else len(order))


def _of_cases(scores: Sequence[Row], lesions: Sequence[Row], cases: Sequence[str]) -> MethodTables:
    wanted = set(cases)
    return MethodTables(*([row for row in rows if row["case"] in wanted] for rows in (scores, lesions)))


def _differences(
    tables: Mapping[str, MethodTables],
    regions: Sequence[str],
    scores: Sequence[Score],
    declared: Sequence[str] | None,
) -> list[Difference]:
    """Returns the differences of every pair, by region; those against the first method hold the tests."""
    names, found = list(tables), []
    for place, reference in enumerate(names[:-1]):
        others = {name: tables[name] for name in names[place + 1 :]}
        tested = declared if place == 0 else ()
        found += against_reference((reference, tables[reference]), others, regions, scores, tested)
    order = {region: number for number, region in enumerate(regions)}
    pairs = {pair: number for number, pair in enumerate(combinations(names, 2))}
    return sorted(found, key=lambda own: (pairs[own.reference, own.method], order[own.region]))


# ---------------------------------------------------------------- names


def method_names(paths: Sequence[Path], given: Sequence[str] | None = None) -> list[str]:
    """Returns a name for each table: as given, or that of the folder that holds scores.csv, or of the file.

    Names that are not unique become whole paths. Raises ValueError for another number of names than of tables, for a
    name given twice, or for the same table twice.
    """
    if len({path.resolve() for path in paths}) < len(paths):
        raise ValueError(f"expected different tables, found the same one twice: {', '.join(map(str, paths))}")
    if given:
        if len(given) != len(paths) or len(set(given)) < len(given):
            raise ValueError(
                f"expected a different name for each of {counted(len(paths), 'table')}, found {', '.join(given)}"
            )
        return list(given)
    folders = [path if path.is_dir() else path.parent for path in paths]
    names = [
        folder.resolve().name if path.is_dir() or path.name == SCORE_TABLE else path.stem
        for path, folder in zip(paths, folders, strict=True)
    ]
    return [str(path) if names.count(name) > 1 else name for path, name in zip(paths, names, strict=True)]
