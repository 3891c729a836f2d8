"""Pools the runs of one arm, which differ in seed and fold alone: a case's score is its mean over the runs.

Folds hold out different patients, so pooling them joins their cases; seeds hold out the same ones, so pooling them
averages. What is paired and drawn anew stays the patient: more runs of a patient are no more patients.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mets3d.evaluation.scores import KEYS, PATIENT
from mets3d.evaluation.tables import Row
from mets3d.rundir import DECODED_BY, TUNED_BY
from mets3d.statistics.score_table import columns_of, finite, patients_in

AND = " and "  # between what the runs of an arm say of a case
RUN = "run"  # a column of pooled lesions: which run a row is of

RunKey = tuple[int, int]  # seed, fold


@dataclass(frozen=True)
class MethodTables:
    """The tables of one run: rows of scores.csv, and of lesions.csv where there is one."""

    scores: Sequence[Row]
    lesions: Sequence[Row] = ()


ArmRuns = Mapping[RunKey, MethodTables]


def pooled(runs: ArmRuns, cases: Iterable[str] | None = None) -> MethodTables:
    """Returns the tables of an arm as those of one method, of `cases` (None: all).

    scores: a row per case and region that any run scored; each number is the mean over the runs that have one, so that
    counts of lesions need not be whole. lesions: the rows of all runs, each with its run, for a lesion is found in one
    and missed in another. Raises ValueError for runs that are scored by different rule sets.
    """
    wanted = None if cases is None else set(cases)
    own = {key: _of_cases(tables, wanted) for key, tables in runs.items()}
    return MethodTables(
        pooled_scores([tables.scores for tables in own.values()]),
        [row | {RUN: key} for key, tables in own.items() for row in tables.lesions],
    )


def pooled_scores(tables: Sequence[Sequence[Row]]) -> list[Row]:
    """Returns a row per case and region of any table, each number the mean over the tables that have one."""
    rules = sorted({str(row["rules"]) for rows in tables for row in rows if "rules" in row})
    if len(rules) > 1:
        raise ValueError(f"expected the runs of an arm to be scored by one rule set, found {', '.join(rules)}")
    patients = patients_in(*tables)
    if len(tables) == 1:
        return [row | {PATIENT: patients[row["case"]]} for row in tables[0]]
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in (row for rows in tables for row in rows):
        grouped.setdefault((row["case"], row["region"]), []).append(row)
    return [_mean_row(rows, patients[case]) for (case, _), rows in sorted(grouped.items())]


def of_seed(runs: ArmRuns, seed: int) -> ArmRuns:
    """Returns the runs of one seed, all of its folds."""
    return {key: tables for key, tables in runs.items() if key[0] == seed}


def whole_seeds(runs: ArmRuns, cases: Sequence[str]) -> list[int]:
    """Returns the seeds whose runs together scored every one of `cases`: only these can be held beside each other."""
    scored: dict[int, set[str]] = {}
    for (seed, _), tables in runs.items():
        scored.setdefault(seed, set()).update(row["case"] for row in tables.scores)
    return sorted(seed for seed, found in scored.items() if found.issuperset(cases))


def _mean_row(rows: Sequence[Row], patient: str) -> Row:
    """Averages the numbers of one case and region over runs."""
    texts = {key: rows[0][key] for key in KEYS if key in rows[0]} | {PATIENT: patient}
    for key in (DECODED_BY, TUNED_BY):
        if told := sorted({row[key] for row in rows if row.get(key)}):
            texts[key] = AND.join(told)
    means: Row = {}
    for column in columns_of(rows):
        values = [value for row in rows if (value := finite(row.get(column))) is not None]
        if column not in texts and values:
            means[column] = sum(values) / len(values)
    return texts | means


def _of_cases(tables: MethodTables, cases: set[str] | None) -> MethodTables:
    if cases is None:
        return tables
    return MethodTables(*([row for row in rows if row["case"] in cases] for rows in (tables.scores, tables.lesions)))
