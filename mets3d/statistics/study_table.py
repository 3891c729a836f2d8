"""Makes the numbers of a study: arms x seeds x folds against one reference, from rows of scores.csv and lesions.csv.

    table = study_table({"base": {(0, 0): MethodTables(scores, lesions), (1, 0): ...}, "cc_dice": {...}},
                        reference="base", family=("lesion_wise_hd95", "lesions_found"))
    table.score("cc_dice", "ET", "hd95").mean            # over cases, each the mean over the arm's runs
    table.score("cc_dice", "ET", "hd95").by_seed         # seed -> mean over cases, folds pooled
    table.difference("cc_dice", "ET", "lesions_found")   # .found.difference, .interval ...; .p, .p_holm, .seed_sd
    table.recall("cc_dice", "ET")                        # by size class of the lesion
    table.score("cc_dice", "ET", "lesions_false")        # false lesions, mean per case

A run is known by its seed and fold; the rows are those of `score_table.read_scores` and, for lesions.csv, of
`score_table.read_cells`. Cases that a network was trained on must not be among them. The scores of lesions that both
found (`SHARED_LESIONS.column`) are those of runs of the same seed and fold. Median seconds of a step: `step_seconds`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mets3d.evaluation.scores import Score
from mets3d.evaluation.tables import Row
from mets3d.statistics.against_reference import SHARED_LESIONS, against_reference, compared_scores, values_of_both
from mets3d.statistics.cohort import Summary, summarise
from mets3d.statistics.family import Difference, spread_of
from mets3d.statistics.intervals import patient_numbers
from mets3d.statistics.pooled_runs import ArmRuns, MethodTables, RunKey, of_seed, pooled, whole_seeds
from mets3d.statistics.score_table import finite, patients_in, values_of
from mets3d.statistics.shared_cases import shared_cases
from mets3d.statistics.size_recall import SizeRecall, recall_by_size


@dataclass(frozen=True)
class ArmScore:
    """A score of an arm in a region: its summary over cases, and the mean over cases of each of its whole seeds."""

    arm: str
    region: str
    score: Score
    summary: Summary
    by_seed: Mapping[int, float] = field(default_factory=dict)

    @property
    def mean(self) -> float:
        """Mean over cases of their means over the arm's runs."""
        return self.summary.mean

    @property
    def seed_sd(self) -> float | None:
        """Standard deviation (n - 1) of the seeds' means; None below two seeds."""
        return spread_of(self.by_seed)


@dataclass(frozen=True)
class StudyTable:
    """The numbers of a study on the cases that every arm has.

    runs: arm -> its runs, the reference first. left_out: arm -> its cases that not every arm has. partial: arm -> cases
    that fewer of its runs scored than others. Which differences are tests is said by `statistics.family`.
    """

    reference: str
    runs: Mapping[str, tuple[RunKey, ...]]
    cases: tuple[str, ...]
    patients: int
    left_out: Mapping[str, list[str]]
    partial: Mapping[str, list[str]]
    scores: list[ArmScore]
    differences: list[Difference]
    recalls: Mapping[tuple[str, str], list[SizeRecall]]  # by arm and region

    def score(self, arm: str, region: str, column: str) -> ArmScore | None:
        """Returns a score of an arm in a region; None where no case has a value."""
        wanted = (arm, region, column)
        return next((it for it in self.scores if (it.arm, it.region, it.score.column) == wanted), None)

    def difference(self, arm: str, region: str, column: str) -> Difference | None:
        """Returns the difference of an arm from the reference; None for the reference, and where nothing is paired."""
        wanted = (arm, region, column)
        return next((it for it in self.differences if (it.method, it.region, it.score.column) == wanted), None)

    def recall(self, arm: str, region: str) -> list[SizeRecall]:
        """Returns the share of lesions found by size class, smallest first; counts are means over the arm's runs."""
        return self.recalls.get((arm, region), [])


def study_table(
    arms: Mapping[str, ArmRuns],
    *,
    reference: str | None = None,
    regions: Sequence[str] | None = None,
    scores: Sequence[Score] | None = None,
    family: Collection[str] | None = None,
) -> StudyTable:
    """Compares every arm with `reference` (None: the first) by every score in every region, paired by patient.

    A case's score in an arm is its mean over the arm's runs; differences, intervals and p are those of
    `comparison.paired` on these, so the time points of a patient stay together and the number of runs makes no case
    more. The intervals cover the choice of patients and not the chance in training, which `by_seed` and `seed_sd` show.

    regions: None is those of the reference's rows. scores: None is `compared_scores` of the rule set. family: columns
    declared beforehand that are tested, None for the primary ones (`statistics.family`). Raises ValueError for no arm,
    an unknown reference, a score of the family that is not compared, several rule sets, or no case in common.
    """
    names = _ordered(arms, reference)
    shared, left_out = _cases(arms)
    own = {name: pooled(arms[name], shared) for name in names}
    rules = _the_rules(own)
    first, *others = names
    chosen = list(compared_scores(rules) if scores is None else scores)
    within = list(dict.fromkeys(row["region"] for row in own[first].scores)) if regions is None else list(regions)
    if unknown := sorted(set(family or ()) - {score.column for score in chosen}):
        raise ValueError(f"family: expected columns that are compared, found {', '.join(unknown)}")
    found = against_reference((first, own[first]), {name: own[name] for name in others}, within, chosen, family)
    seeds = {name: _by_seed(arms[name], shared) for name in names}
    return StudyTable(
        first,
        {name: tuple(sorted(arms[name])) for name in names},
        tuple(shared),
        patient_numbers(shared, patients_in(*(tables.scores for tables in own.values())))[1],
        left_out,
        {name: _partial(arms[name], shared) for name in names},
        [score for name in names for score in _arm_scores(name, own[name], seeds[name], within, chosen)],
        [replace(test, by_seed=_differences_by_seed(test, seeds[first], seeds[test.method])) for test in found],
        {(name, region): _recall(own[name], region) for name in names for region in within},
    )


def step_seconds(training: Sequence[Row], batch_size: int) -> float | None:
    """Returns the median seconds of an optimizer step from the rows of metrics.jsonl of kind `train`; None without.

    The first step is left out, in which workers start and code is compiled.
    """
    speeds = [finite(row.get("samples_per_second")) for row in sorted(training, key=lambda row: row["step"])[1:]]
    seconds = [batch_size / speed for speed in speeds if speed]
    return float(np.median(seconds)) if seconds else None


# ---------------------------------------------------------------- arms and cases


def _ordered(arms: Mapping[str, ArmRuns], reference: str | None) -> list[str]:
    if not arms or not all(arms.values()):
        raise ValueError("expected arms with a run each, found none or one without")
    first = next(iter(arms)) if reference is None else reference
    if first not in arms:
        raise ValueError(f"reference: expected one of {', '.join(arms)}, found {first}")
    return [first, *(name for name in arms if name != first)]


def _cases(arms: Mapping[str, ArmRuns]) -> tuple[list[str], dict[str, list[str]]]:
    """Returns the cases that every arm has, and those of each that are left out for it."""
    of_arm = {name: {row["case"] for tables in runs.values() for row in tables.scores} for name, runs in arms.items()}
    shared = shared_cases(of_arm.values())
    if not shared:
        raise ValueError(
            f"expected cases that all arms have, found none; cases: { {n: len(c) for n, c in of_arm.items()} }"
        )
    return shared, {name: sorted(cases.difference(shared)) for name, cases in of_arm.items()}


def _partial(runs: ArmRuns, cases: Sequence[str]) -> list[str]:
    """Returns the cases that fewer runs of an arm scored than others."""
    times = dict.fromkeys(cases, 0)
    for tables in runs.values():
        for case in {row["case"] for row in tables.scores} & times.keys():
            times[case] += 1
    most = max(times.values())
    return [case for case, amount in times.items() if amount < most]


def _the_rules(tables: Mapping[str, MethodTables]) -> str:
    found = {name: {row.get("rules") for row in own.scores} for name, own in tables.items()}
    if len(set.union(*found.values())) > 1:
        said = "; ".join(f"{name}: {', '.join(map(str, rules))}" for name, rules in found.items())
        raise ValueError(f"expected arms that are scored by one rule set, found {said}; evaluate all by the same rules")
    return str(next(iter(set.union(*found.values())), ""))


# ---------------------------------------------------------------- numbers

BySeed = Mapping[int, MethodTables]


def _by_seed(runs: ArmRuns, cases: Sequence[str]) -> BySeed:
    """Returns the pooled folds of each seed that has all of the cases."""
    return {seed: pooled(of_seed(runs, seed), cases) for seed in whole_seeds(runs, cases)}


def _arm_scores(
    arm: str, tables: MethodTables, seeds: BySeed, regions: Sequence[str], scores: Sequence[Score]
) -> list[ArmScore]:
    patients = patients_in(tables.scores)
    found = []
    for score in scores:
        if score == SHARED_LESIONS:  # which is of two arms
            continue
        for region in regions:
            summary = summarise(_values(tables, region, score), patients)
            if summary is not None:
                of_seeds = {seed: list(_values(own, region, score).values()) for seed, own in seeds.items()}
                means = {seed: float(np.mean(values)) for seed, values in of_seeds.items() if values}
                found.append(ArmScore(arm, region, score, summary, means))
    return found


def _values(tables: MethodTables, region: str, score: Score) -> dict[str, float]:
    return values_of((row for row in tables.scores if row["region"] == region), score.column)


def _differences_by_seed(test: Difference, reference: BySeed, method: BySeed) -> dict[int, float]:
    """Returns the mean difference of the cases in each seed that both arms have."""
    means = {}
    for seed in sorted(reference.keys() & method.keys()):
        before, after = values_of_both(reference[seed], method[seed], test.region, test.score)
        shared = before.keys() & after.keys()
        if shared:
            means[seed] = sum(after[case] - before[case] for case in sorted(shared)) / len(shared)
    return means


def _recall(tables: MethodTables, region: str) -> list[SizeRecall]:
    rows, lesions = ([row for row in rows if row["region"] == region] for rows in (tables.scores, tables.lesions))
    return recall_by_size(rows, lesions)
