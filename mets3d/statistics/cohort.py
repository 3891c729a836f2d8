"""Makes the numbers of a cohort from scores of cases: location, spread, intervals, pooled lesions, agreement.

What has no value is left out and counted: `cases` says how many had one, and a row SCORE_without_value gives the share
that had none. A score without that row has a value in every case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from mets3d.evaluation.scores import KEYS, TEXTS, Place, Score, score_of, shown_in, split_by_size
from mets3d.evaluation.tables import Row, csv_text
from mets3d.statistics.agreement import volume_agreement, volume_pairs
from mets3d.statistics.intervals import (
    FEWEST_PATIENTS,
    Interval,
    Patients,
    bootstrap_interval,
    mean_interval,
    patient_numbers,
    proportion_interval,
)
from mets3d.statistics.lesion_counts import COUNTS
from mets3d.statistics.score_table import columns_of, patients_in, values_of
from mets3d.statistics.shared_cases import shared_cases
from mets3d.statistics.size_recall import recall_by_size

COHORT_COLUMNS = (*("region", "rules", "score", "cases", "mean", "sd", "median", "q1", "q3"), "ci_low", "ci_high")
# Numbers of a cohort beside those of scores: of its lesions, and of its volumes.
NUMBERS = (
    Score("pooled_recall", "Lesions found, share", shown=("console", "card")),
    Score("pooled_precision", "Predicted lesions that are true, share", shown=("console", "card")),
    Score("pooled_f1", "F1 of all lesions together", shown=("console",)),
    Score("false_per_case", "False lesions a case", 2, "lower", shown=("card",)),
    Score("false_per_patient", "False lesions a patient", 2, "lower", shown=("console",)),
    Score("volume_bias_mm3", "Bias of the volume", 0, None, "mm3"),
    Score("volume_lower_limit_mm3", "Lower limit of agreement", 0, None, "mm3"),
    Score("volume_upper_limit_mm3", "Upper limit of agreement", 0, None, "mm3"),
    Score("volume_icc", "ICC(2,1) of the volume"),
)


@dataclass(frozen=True)
class Summary:
    """Location and spread of one score over cases. `sd` is the sample's (n - 1) and None for a single case.

    `interval`: of the mean, 95 %, patients resampled; None below six patients.
    """

    n: int
    mean: float
    sd: float | None
    median: float
    quartiles: tuple[float, float]
    interval: Interval | None = None


def summarise(values: Mapping[str, float], patients: Patients | None = None) -> Summary | None:
    """Summarises case -> value; None where no case has a value. Quartiles are interpolated linearly.

    patients: case -> patient, for the interval; as in `intervals.patient_numbers`.
    """
    if not values:
        return None
    cases = sorted(values)
    array = np.array([values[case] for case in cases], np.float64)
    lower, median, upper = (float(value) for value in np.percentile(array, [25, 50, 75]))
    sd = float(array.std(ddof=1)) if len(array) > 1 else None
    return Summary(len(array), float(array.mean()), sd, median, (lower, upper), mean_interval(array, cases, patients))


def cohort_table(rows: Sequence[Row], lesion_rows: Iterable[Row] = ()) -> list[Row]:
    """Returns the cohort's numbers from rows of scores.csv, one row per region, rule set and number (COHORT_COLUMNS).

    Every column that holds numbers, but for those by size class, is a score with mean, SD (n - 1), median, quartiles
    and the 95 % interval of the mean (`intervals.bootstrap_interval`). Where `score` is one of these, `mean` is the
    number itself and what does not apply is None:

    SCORE_without_value          share of cases without a value; absent if none
    lesion_wise_dice_zeros       share of cases with the value 0, of those with a value
    pooled_found, _missed, _false            lesions of all cases together
    pooled_precision, _recall    found / (found + false), found / (found + missed)
    pooled_f1                    2 found / (2 found + false + missed)
    pooled_found_CLASS, pooled_missed_CLASS, pooled_recall_CLASS   of the lesions of a size class, where it has any
    false_per_case, false_per_patient
    volume_bias_mm3              mean of prediction - reference; `sd` is that of the differences
    volume_lower_limit_mm3, volume_upper_limit_mm3, volume_icc   see `agreement.volume_agreement`

    Shares, precision and recall have Wilson's interval for clustered data (`intervals.proportion_interval`), the others
    the bootstrap's. `cases` is the number of cases the row rests on. `lesion_rows` (of lesions.csv) serve tables of
    earlier versions, which do not count by size class.
    """
    lesions = list(lesion_rows)
    table: list[Row] = []
    for region, rules in dict.fromkeys((row["region"], row["rules"]) for row in rows):
        group = [row for row in rows if (row["region"], row["rules"]) == (region, rules)]
        its_lesions = [row for row in lesions if (row["region"], row["rules"]) == (region, rules)]
        found = [*_scores(group), *_pooled(group), *_by_size(group, its_lesions), *_volumes(group)]
        table += [{"region": region, "rules": rules} | row for row in found]
    return table


def cohort_csv(table: Iterable[Row]) -> str:
    """Returns the table as the text of cohort.csv; None is an empty cell, numbers are in full precision."""
    return csv_text(COHORT_COLUMNS, ({column: row[column] for column in COHORT_COLUMNS} for row in table))


# ---------------------------------------------------------------- scores


def _scores(rows: Sequence[Row]) -> Iterable[Row]:
    patients = patients_in(rows)
    for column in columns_of(rows):
        score = score_of(column)
        if column in (*KEYS, *TEXTS) or split_by_size(column) or (score and not score.summarised):
            continue
        values = values_of(rows, column)
        summary = summarise(values, patients)
        if summary is not None:
            yield _row(column, summary.n, summary.mean, summary.interval) | {
                "sd": summary.sd,
                "median": summary.median,
                "q1": summary.quartiles[0],
                "q3": summary.quartiles[1],
            }
        if column == "lesion_wise_dice" and values:
            yield _share(f"{column}_zeros", {case: value == 0 for case, value in values.items()}, patients)
        if len(values) < len(rows):
            without = {row["case"]: row["case"] not in values for row in rows}
            yield _share(f"{column}_without_value", without, patients)


def _share(name: str, hits: Mapping[str, bool], patients: Patients) -> Row:
    cases = sorted(hits)
    array = np.array([hits[case] for case in cases], np.float64)
    interval = proportion_interval(array, np.ones_like(array), cases, patients)
    return _row(name, len(cases), float(array.mean()), interval)


def _row(score: str, cases: int, value: float | None, interval: Interval | None) -> Row:
    low, high = interval or (None, None)
    spread = dict.fromkeys(("sd", "median", "q1", "q3"))
    return {"score": score, "cases": cases, "mean": value, **spread, "ci_low": low, "ci_high": high}


# ---------------------------------------------------------------- lesions of all cases together


def _pooled(rows: Sequence[Row]) -> Iterable[Row]:
    by_case = [values_of(rows, score.column) for score in COUNTS]
    cases = shared_cases(by_case)
    if not cases:
        return
    counts = np.array([[values[case] for values in by_case] for case in cases], np.float64)
    patients = patients_in(rows)
    found, missed, false = counts.T
    for name, total in zip(("found", "missed", "false"), counts.sum(0), strict=True):
        yield _row(f"pooled_{name}", len(cases), float(total), None)
    for name, others in (("precision", false), ("recall", missed)):
        yield _proportion(f"pooled_{name}", found, found + others, cases, patients)
    f1 = float(_f1(counts.sum(0))) if counts.any() else None
    yield _row("pooled_f1", len(cases), f1, bootstrap_interval(_f1, counts, cases, patients))
    yield _row("false_per_case", len(cases), float(false.mean()), mean_interval(false, cases, patients))
    numbers, amount = patient_numbers(cases, patients)
    per_patient = np.bincount(numbers, false, minlength=amount)
    interval = mean_interval(per_patient, [f"{number:09d}" for number in range(amount)])
    yield _row("false_per_patient", len(cases), float(per_patient.mean()), interval)


def _proportion(
    name: str,
    hits: Float64[np.ndarray, " N"],
    totals: Float64[np.ndarray, " N"],
    cases: Sequence[str],
    patients: Patients,
) -> Row:
    share = float(hits.sum() / totals.sum()) if totals.any() else None
    return _row(name, len(cases), share, None if share is None else proportion_interval(hits, totals, cases, patients))


def _f1(sums: Float64[np.ndarray, "... 3"]) -> Float64[np.ndarray, "..."]:
    found, missed, false = np.moveaxis(sums, -1, 0)
    return np.asarray(2 * found / (2 * found + missed + false))


def _by_size(rows: Sequence[Row], lesion_rows: Sequence[Row]) -> Iterable[Row]:
    for found in recall_by_size(rows, lesion_rows):
        yield _row(f"pooled_found_{found.size_class}", found.cases, float(found.found), None)
        yield _row(f"pooled_missed_{found.size_class}", found.cases, float(found.missed), None)
        yield _row(f"pooled_recall_{found.size_class}", found.cases, found.recall, found.interval)


# ---------------------------------------------------------------- volumes


def _volumes(rows: Sequence[Row]) -> Iterable[Row]:
    pairs = volume_pairs(rows)
    found = volume_agreement(pairs.prediction_mm3, pairs.reference_mm3, pairs.cases, pairs.patients)
    if found is None:
        return
    yield _row("volume_bias_mm3", found.n, found.bias_mm3, found.bias_interval) | {"sd": found.sd_mm3}
    yield _row("volume_lower_limit_mm3", found.n, found.lower_mm3, found.lower_interval)
    yield _row("volume_upper_limit_mm3", found.n, found.upper_mm3, found.upper_interval)
    yield _row("volume_icc", found.n, found.icc, found.icc_interval)


# ---------------------------------------------------------------- for a console


def numbers_shown_in(place: Place) -> dict[str, Score]:
    """Returns the scores and the numbers of a cohort that are shown in a place, by their names in the table."""
    return {score.column: score for score in (*shown_in(place), *NUMBERS) if place in score.shown}


def cohort_text(table: Iterable[Row]) -> str:
    """Returns the main rows of a cohort table as aligned text: mean [95 % interval], median [quartiles], cases."""
    wanted, lines = (
        numbers_shown_in("console"),
        [("region", "score", "mean [95 % interval]", "median [quartiles]", "n")],
    )
    rules = []
    for row in table:
        rules.append(row["rules"])
        if row["score"] in wanted:
            digits = wanted[row["score"]].digits
            mean = _bracketed(row["mean"], (row["ci_low"], row["ci_high"]), digits)
            median = _bracketed(row["median"], (row["q1"], row["q3"]), digits)
            lines.append((row["region"], row["score"], mean, median, str(row["cases"])))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    shown = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    note = (
        f"rules {', '.join(dict.fromkeys(rules))}; n: cases with a value; 95 % intervals over patients, none below "
        f"{FEWEST_PATIENTS} patients"
    )
    return "\n".join([*shown, note])


def _bracketed(value: float | None, around: tuple[float | None, float | None], digits: int) -> str:
    low, high = around
    if value is None:
        return "-"
    return f"{value:.{digits}f}" + ("" if low is None or high is None else f" [{low:.{digits}f}, {high:.{digits}f}]")
