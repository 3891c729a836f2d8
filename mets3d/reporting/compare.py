"""Numbers of the page: one run against another on the same cases, and what its tests say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mets3d.config import differing_keys
from mets3d.reporting.run_record import CaseValues, Note, RunRecord
from mets3d.statistics.comparison import Paired, paired
from mets3d.statistics.intervals import FEWEST_PATIENTS
from mets3d.statistics.paired_tests import holm


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
COMPARED = (*METRICS, SHARED_LESIONS, *COUNTS)

Corrected = dict[tuple[str, str, str], float]  # label of the run, name of the metric, region -> p by Holm


@dataclass(frozen=True)
class Difference(Paired):
    """`run` minus `reference` for one score, paired by case, and how to read it."""

    metric: Metric

    @property
    def verdict(self) -> Literal["too few cases", "better", "worse", "no difference shown"]:
        """What the interval allows to say: nothing below FEWEST_PATIENTS, and nothing where it holds 0."""
        if self.patients < FEWEST_PATIENTS or self.interval is None:
            return "too few cases"
        low, high = self.interval
        if low <= 0 <= high:
            return "no difference shown"
        return "better" if (low > 0) == (self.metric.better == "higher") else "worse"


def difference(metric: Metric, reference: Mapping[str, float], run: Mapping[str, float]) -> Difference | None:
    """`evaluation.comparison.paired` of one score; None where no case has both values."""
    found = paired(reference, run, lower_is_better=metric.better == "lower")
    return None if found is None else Difference(**vars(found), metric=metric)


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


def holm_corrected(reference: RunRecord, others: Sequence[RunRecord], cases: Sequence[str]) -> Corrected:
    """Wilcoxon's p of every run against the reference by every score in every region, corrected as one family."""
    tested = {
        (run.label, metric.name, region): found.p
        for run in others
        for metric in COMPARED
        for region, found in compare(metric, reference, run, cases).items()
    }
    return dict(zip(tested, holm(list(tested.values())), strict=True))


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
