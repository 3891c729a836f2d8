"""Compares the score tables of two or more methods: paired tests on shared cases, and the challenge's ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from mets3d.evaluation.scores import lower_is_better, shown_in
from mets3d.evaluation.tables import Row
from mets3d.rundir import SCORE_TABLE
from mets3d.statistics.intervals import Interval, Patients, mean_interval, patient_numbers, patient_sums
from mets3d.statistics.paired_tests import holm, signed_rank
from mets3d.statistics.ranking import Ranking, ranked_by, ranking_by_rules
from mets3d.statistics.score_table import columns_of, patients_in, values_of
from mets3d.statistics.shared_cases import shared_cases


@dataclass(frozen=True)
class Paired:
    """A method against a reference for one score, paired by case; differences are method minus reference.

    `effect`: rank-biserial correlation, 1 where the method is better in every patient, -1 where it is worse.
    """

    n: int
    patients: int
    reference_mean: float
    method_mean: float
    difference: float
    interval: Interval | None  # None for fewer than two patients
    improved: int  # cases
    worsened: int
    effect: float
    p: float


def paired(
    reference: Mapping[str, float],
    method: Mapping[str, float],
    patients: Patients | None = None,
    *,
    lower_is_better: bool,
) -> Paired | None:
    """Compares two case -> value over the cases that both have; None where there are none.

    patients: case -> patient, as in `intervals.patient_numbers`.

    interval: 95 % percentile bootstrap of the mean difference, patients resampled (`intervals.bootstrap_interval`);
    from few patients it is too narrow. p and effect: Wilcoxon's signed-rank test (`paired_tests.signed_rank`) of
    the patients' mean differences, for it assumes independence, which the time points of one patient lack. With one
    case a patient this is the test over cases.
    """
    shared = sorted(reference.keys() & method.keys())
    if not shared:
        return None
    before, after = (np.array([values[case] for case in shared], np.float64) for values in (reference, method))
    differences = after - before
    gains = -differences if lower_is_better else differences
    sums = patient_sums(np.column_stack([gains, np.ones_like(gains)]), shared, patients)
    test = signed_rank(sums[:, 0] / sums[:, 1])
    return Paired(
        n=len(shared),
        patients=len(sums),
        reference_mean=float(before.mean()),
        method_mean=float(after.mean()),
        difference=float(differences.mean()),
        interval=mean_interval(differences, shared, patients, fewest=2),
        improved=int((gains > 0).sum()),
        worsened=int((gains < 0).sum()),
        effect=test.effect,
        p=test.p,
    )


@dataclass(frozen=True)
class Compared:
    """One pair of methods in one region by one score; `p_holm` is corrected over all tests of the comparison."""

    reference: str
    method: str
    region: str
    score: str
    found: Paired
    p_holm: float


@dataclass(frozen=True)
class Comparison:
    """The result of `compare_methods`. `left_out`: method -> its cases that not every method has."""

    rules: str
    methods: tuple[str, ...]
    cases: tuple[str, ...]
    patients: int
    left_out: dict[str, list[str]]
    absent: tuple[str, ...]  # scores of the ranking that not every table has
    tests: list[Compared]
    ranking: Ranking | None


def compare_methods(tables: Mapping[str, Sequence[Row]], *, scores: Sequence[str] | None = None) -> Comparison:
    """Compares methods, given as name -> rows of scores.csv, on the cases that all of them have.

    Every pair of methods, the earlier as the reference, is tested in every region by every score: `scores`, or the
    metrics of the rule set's ranking, F1, Dice and HD95 where all tables have them. One family: Holm's correction is
    over all these tests. The ranking (`ranking.rank_methods`) takes the metrics of its rule set that all tables have;
    it is None where there are none.

    Raises ValueError for fewer than two methods, for tables of different or several rule sets, for no shared case, and
    for a score that is named and absent or has no direction.
    """
    if len(tables) < 2:
        raise ValueError(f"expected at least two methods to compare, found {len(tables)}")
    rules = _the_rules(tables)
    shared, left_out = _shared_cases(tables)
    columns = [set(columns_of(rows)) for rows in tables.values()]
    everywhere = set.intersection(*columns)
    wanted = ranked_by(rules)
    also = (score.column for score in shown_in("comparison"))
    for score in scores or ():
        lower_is_better(score)
        lacking = [name for name, found in zip(tables, columns, strict=True) if score not in found]
        if lacking:
            raise ValueError(f"expected the score {score} in every table, found none in {', '.join(lacking)}")
    chosen = scores or [name for name in dict.fromkeys((*wanted, *also)) if name in everywhere]
    regions = _shared_regions(tables)
    return Comparison(
        rules,
        tuple(tables),
        tuple(shared),
        patient_numbers(shared, patients_in(*tables.values()))[1],
        left_out,
        tuple(name for name in wanted if name not in everywhere),
        _tests(tables, shared, regions, chosen),
        ranking_by_rules(tables, shared, regions),
    )


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
    first, *others = ([row["region"] for row in rows] for rows in tables.values())
    return [region for region in dict.fromkeys(first) if all(region in other for other in others)]


def _tests(
    tables: Mapping[str, Sequence[Row]], cases: Sequence[str], regions: Sequence[str], scores: Sequence[str]
) -> list[Compared]:
    wanted = set(cases)
    patients = patients_in(*tables.values())
    tests = []
    for reference, method in combinations(tables, 2):
        for region in regions:
            sides = [
                [row for row in tables[name] if row["region"] == region and row["case"] in wanted]
                for name in (reference, method)
            ]
            for score in scores:
                before, after = (values_of(rows, score) for rows in sides)
                found = paired(before, after, patients, lower_is_better=lower_is_better(score))
                if found is not None:
                    tests.append(Compared(reference, method, region, score, found, 1.0))
    return [replace(test, p_holm=p) for test, p in zip(tests, holm([test.found.p for test in tests]), strict=True)]


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
            raise ValueError(f"expected {len(paths)} different names, one a table, found {', '.join(given)}")
        return list(given)
    folders = [path if path.is_dir() else path.parent for path in paths]
    names = [
        folder.resolve().name if path.is_dir() or path.name == SCORE_TABLE else path.stem
        for path, folder in zip(paths, folders, strict=True)
    ]
    return [str(path) if names.count(name) > 1 else name for path, name in zip(paths, names, strict=True)]
