"""Numbers of the page: a summary over cases, and one run against another on the same cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mets3d.config import differing_keys
from mets3d.reporting.record import CaseValues, Note, RunRecord

RESAMPLES = 10_000
# Below six pairs even a unanimous result has a two-sided sign test above 5 %: 2 x 0.5**5 = 0.0625.
FEWEST_CASES = 6


@dataclass(frozen=True)
class Metric:
    """A column of scores.csv and how to read it."""

    column: str
    name: str
    unit: str
    digits: int
    better: Literal["higher", "lower"]


METRICS = (
    Metric("lesion_wise_dice", "Lesion-wise Dice", "", 3, "higher"),
    Metric("lesion_wise_hd95", "Lesion-wise HD95", "mm", 1, "lower"),
    Metric("dice", "Whole-volume Dice", "", 3, "higher"),
    Metric("hd95", "Whole-volume HD95", "mm", 1, "lower"),
)
COUNTS = (
    Metric("lesions_found", "Lesions found", "", 0, "higher"),
    Metric("lesions_missed", "Lesions missed", "", 0, "lower"),
    Metric("lesions_false", "False lesions", "", 0, "lower"),
)
SHARED_LESIONS = Metric("", "HD95 of lesions found by both runs", "mm", 1, "lower")


@dataclass(frozen=True)
class Summary:
    """Location and spread of one score over cases. `sd` is the sample's (n - 1) and None for a single case."""

    n: int
    mean: float
    sd: float | None
    median: float
    quartiles: tuple[float, float]


def summarise(values: Mapping[str, float]) -> Summary | None:
    """Summary of case -> value; None where no case has a value. Quartiles are interpolated linearly."""
    if not values:
        return None
    array = np.array(list(values.values()), float)
    lower, median, upper = (float(value) for value in np.percentile(array, [25, 50, 75]))
    sd = float(array.std(ddof=1)) if len(array) > 1 else None
    return Summary(len(array), float(array.mean()), sd, median, (lower, upper))


@dataclass(frozen=True)
class Difference:
    """`run` minus `reference` for one score, paired by case."""

    metric: Metric
    n: int
    reference_mean: float
    run_mean: float
    mean: float
    interval: tuple[float, float] | None  # None for fewer than two cases
    improved: int
    worsened: int

    @property
    def verdict(self) -> Literal["too few cases", "better", "worse", "no difference shown"]:
        """What the interval allows to say: nothing below FEWEST_CASES, and nothing where it holds 0."""
        if self.n < FEWEST_CASES or self.interval is None:
            return "too few cases"
        low, high = self.interval
        if low <= 0 <= high:
            return "no difference shown"
        return "better" if (low > 0) == (self.metric.better == "higher") else "worse"


def difference(metric: Metric, reference: Mapping[str, float], run: Mapping[str, float]) -> Difference | None:
    """Mean of the differences over the cases that both have, with a 95 % percentile bootstrap interval over cases.

    10,000 resamples (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13), always the same ones:
    the same scores give the same page. From few cases such an interval is too narrow (Hesterberg, The American
    Statistician 69, 2015). None where no case has both values.
    """
    shared = sorted(set(reference) & set(run))
    if not shared:
        return None
    before = np.array([reference[case] for case in shared], float)
    after = np.array([run[case] for case in shared], float)
    differences = after - before
    gain = differences if metric.better == "higher" else -differences
    return Difference(
        metric,
        len(shared),
        float(before.mean()),
        float(after.mean()),
        float(differences.mean()),
        _bootstrap(differences) if len(shared) > 1 else None,
        int((gain > 0).sum()),
        int((gain < 0).sum()),
    )


def _bootstrap(differences: np.ndarray) -> tuple[float, float]:
    drawn = np.random.default_rng(0).integers(len(differences), size=(RESAMPLES, len(differences)))
    low, high = np.percentile(differences[drawn].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def compared_values(
    metric: Metric, region: str, reference: RunRecord, run: RunRecord, cases: Sequence[str]
) -> tuple[CaseValues, CaseValues]:
    """Case -> value of a score in both runs.

    SHARED_LESIONS is no column: it is the mean per case over the lesions of the reference that both runs found, which
    takes the penalty for missed and false lesions out of the comparison of boundaries.
    """
    if metric is not SHARED_LESIONS:
        return reference.values(region, metric.column, cases), run.values(region, metric.column, cases)
    wanted = set(cases)
    shared = [
        key for key in reference.found_lesions if key in run.found_lesions and key[1] == region and key[0] in wanted
    ]
    means = []
    for record in (reference, run):
        by_case: dict[str, list[float]] = {}
        for key in shared:
            by_case.setdefault(key[0], []).append(record.found_lesions[key])
        means.append({case: sum(values) / len(values) for case, values in by_case.items()})
    return means[0], means[1]


def compare(metric: Metric, reference: RunRecord, run: RunRecord, cases: Sequence[str]) -> dict[str, Difference]:
    """The difference of one score by region, in the regions of the reference run that both runs have."""
    both = {
        region.name: difference(metric, *compared_values(metric, region.name, reference, run, cases))
        for region in reference.regions
    }
    return {region: found for region, found in both.items() if found is not None}


def reference_first(records: Sequence[RunRecord]) -> list[RunRecord]:
    """The records with the run to compare against in front: the first without a boundary term, else the first."""
    plain = [record for record in records if record.config.loss.boundary == "none"]
    first = plain[0] if plain else records[0]
    return [first, *(record for record in records if record is not first)]


def shared_cases(records: Sequence[RunRecord]) -> list[str]:
    """Cases held out and scored in every run that has scores."""
    sets = [set(record.held_out) for record in records if record.scores]
    return sorted(set.intersection(*sets)) if sets else []


def configuration_differences(records: Sequence[RunRecord]) -> list[str]:
    """Dotted keys in which any run differs from the first; names, output folders and tracking left out."""
    first, *others = (record.config for record in records)
    ignored = ("name", "output", "track", "resume")
    keys = [key for other in others for key in differing_keys(first, other, ignored)]
    return list(dict.fromkeys(keys))


def comparison_notes(records: Sequence[RunRecord]) -> list[Note]:
    """What makes the runs hard to compare: other held-out cases, steps, seeds, rules or targets."""
    notes = []
    shared = shared_cases(records)
    every = {case for record in records if record.scores for case in record.held_out}
    if len(shared) < len(every):
        notes.append(
            Note(
                f"The runs were not scored on the same held-out cases: {len(shared)} of {len(every)} are in all runs, "
                "and only these are compared."
            )
        )
    splits = {tuple(sorted(record.split["validation"])) for record in records if "validation" in record.split}
    if len(splits) > 1:
        notes.append(Note("The runs held out different cases, so they were not trained on the same ones."))
    facts: dict[str, list[str]] = {
        "numbers of training steps": [f"{record.config.train.steps:,}" for record in records],
        "seeds": [str(record.config.seed) for record in records],
        "targets": [record.config.data.target for record in records],
        "rule sets": [record.rules or "none" for record in records],
    }
    for what, values in facts.items():
        if len(set(values)) > 1:
            said = "; ".join(f"{record.label}: {value}" for record, value in zip(records, values, strict=True))
            notes.append(Note(f"The runs have different {what} ({said})."))
    return notes
