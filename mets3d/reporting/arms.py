"""Groups runs into arms: runs whose settings differ in seed, fold and names alone are one arm of several trainings.

An arm is a record like that of a run, with its tables pooled and its runs kept: a case's score is its mean over them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from mets3d.config import as_dict, flatten
from mets3d.evaluation.tables import Row
from mets3d.reporting.run_record import RunRecord
from mets3d.statistics.pooled_runs import ArmRuns, MethodTables, RunKey, pooled, pooled_scores
from mets3d.wording import agreed, counted

# Settings in which the runs of an arm may differ; names and sections. The place of the store is no fact about its
# content, of which the run has a digest.
WITHIN_ARM = (
    *("name", "output", "track", "resume", "seed", "data.fold", "data.workers", "data.cache", "data.store"),
    *("predict.window_batch", "predict.compile"),
)
TELLING_FIRST = ("loss.boundary", "model.mode")  # of the settings that differ, those which name an arm
BASE = "base"

Settings = Mapping[str, Any]  # dotted key -> plain value


@dataclass(frozen=True)
class _Arm:
    """Runs of one arm by seed and fold, and the settings that they share."""

    settings: Settings
    runs: dict[RunKey, RunRecord]


def as_arms(records: Sequence[RunRecord]) -> list[RunRecord]:
    """Returns a record per arm: those without a boundary term first, else in the order of the runs.

    A run that is alone in its arm stays as it is, but for its name where others are not alone; runs with the same
    settings, seed and fold are arms of their own. Arms are named by the settings in which they differ from the first,
    as short as tells them apart.
    """
    groups = _grouped(records)
    first = next((arm for arm in groups if arm.settings["loss.boundary"] == "none"), groups[0])
    groups = [first, *(arm for arm in groups if arm is not first)]
    if all(len(arm.runs) == 1 for arm in groups):
        return [record for arm in groups for record in arm.runs.values()]
    pictured = _in_all(groups)
    return [_as_record(arm.runs, label, pictured) for arm, label in zip(groups, arm_labels(groups), strict=True)]


def pictured_run(record: RunRecord) -> RunRecord:
    """Returns the run of an arm whose predictions stand for it, under the arm's name; a single run itself."""
    own = record.members.get(record.key, record)
    return replace(own, label=record.label, absent=record.absent) if own is not record else record


def arm_tables(record: RunRecord, cases: Sequence[str] | None = None) -> ArmRuns:
    """Returns the tables of each run of an arm, of `cases` (None: those that it held out)."""
    return {
        key: MethodTables(run.score_rows(cases=_held_out(run, cases)), run.lesion_rows(cases=_held_out(run, cases)))
        for key, run in record.members.items()
    }


def runs_in_words(record: RunRecord) -> str:
    """Says how many runs a record holds, with their seeds and folds."""
    seeds, folds = (sorted(set(numbers)) for numbers in zip(*record.members, strict=True))
    if len(record.members) == 1:
        return f"one run (seed {seeds[0]}, fold {folds[0]})"
    said = [
        f"{name} {', '.join(map(str, found))}"
        for name, found in ((agreed(len(seeds), "seed", "seeds"), seeds), (agreed(len(folds), "fold", "folds"), folds))
    ]
    return f"{counted(len(record.members), 'run')} ({'; '.join(said)})"


# ---------------------------------------------------------------- groups


def _grouped(records: Sequence[RunRecord]) -> list[_Arm]:
    groups: dict[tuple[Any, ...], _Arm] = {}
    for record in records:
        settings = _settings(record)
        identity = repr(sorted(settings.items())), record.rules, record.imported_from
        turn = 0
        while record.key in (arm.runs if (arm := groups.get((*identity, turn))) else {}):
            turn += 1
        groups.setdefault((*identity, turn), _Arm(settings, {})).runs[record.key] = record
    return list(groups.values())


def _settings(record: RunRecord) -> Settings:
    """Returns the settings that make an arm, with the data's digest, and where it begins without seed and fold."""
    flat = flatten(as_dict(record.config))
    kept = {key: value for key, value in flat.items() if not within_arm(key)}
    kept["data"] = record.environment.get("store")
    if kept["weights"] is not None:
        kept["weights"] = _without_numbers(str(kept["weights"]), record.key)
    return kept


def within_arm(key: str) -> bool:
    """Returns whether runs of an arm may differ in a setting."""
    return any(key == name or key.startswith(f"{name}.") for name in WITHIN_ARM)


def _without_numbers(place: str, key: RunKey) -> str:
    """Puts # for the last number that is the fold, and the seed: runs that begin with others' weights name theirs."""
    seed, fold = key
    for wanted in (fold, seed):
        found = [number for number in re.finditer(r"\d+", place) if int(number.group()) == wanted]
        if found:
            place = f"{place[: found[-1].start()]}#{place[found[-1].end() :]}"
    return place


def _in_all(groups: Sequence[_Arm]) -> RunKey | None:
    """Returns the first seed and fold of which every arm has a run; None without any."""
    return min(set.intersection(*(set(arm.runs) for arm in groups)), default=None)


def _as_record(runs: Mapping[RunKey, RunRecord], label: str, pictured: RunKey | None) -> RunRecord:
    ordered = dict(sorted(runs.items()))
    shown = ordered[pictured if pictured in ordered else next(iter(ordered))]
    if len(ordered) == 1:
        return replace(shown, label=label)
    record = replace(shown, label=label, runs=ordered)
    tables = pooled(arm_tables(record))
    return replace(
        record,
        scores=[*tables.scores],
        lesions=[*tables.lesions],
        froc=_pooled_froc(record),
        baseline=_baseline(record),
    )


def _held_out(run: RunRecord, cases: Sequence[str] | None) -> list[str]:
    return [case for case in run.held_out if cases is None or case in set(cases)]


def _pooled_froc(record: RunRecord) -> list[Row]:
    """Returns the counts of lesions at each threshold, means over the runs."""
    rows = [row for run in record.members.values() for row in run.froc if row["case"] in set(run.held_out)]
    thresholds = sorted({row["threshold"] for row in rows})
    return [mean for at in thresholds for mean in pooled_scores([[row] for row in rows if row["threshold"] == at])]


def _baseline(record: RunRecord) -> dict[str, Any]:
    """Returns what one threshold reaches on the cases of all runs."""
    of_cases: dict[str, Any] = {}
    for run in record.members.values():
        of_cases |= run.baseline.get("per_case") or {}
    return {**record.baseline, "per_case": of_cases} if of_cases else record.baseline


# ---------------------------------------------------------------- names


def arm_labels(groups: Sequence[_Arm]) -> list[str]:
    """Names each arm by the fewest settings that tell all apart, in which it differs from the first."""
    first, *others = groups
    differing = [key for key in first.settings if any(arm.settings[key] != first.settings[key] for arm in others)]
    telling = [key for key in TELLING_FIRST if key in differing]
    ordered = [*telling, *(key for key in differing if key not in telling)]
    chosen: list[str] = []
    for key in ordered:
        if _kinds(groups, [*chosen, key]) > _kinds(groups, chosen):
            chosen.append(key)
    labels = [_reference_name(first, chosen), *(_name(arm, first, chosen) for arm in others)]
    runs = [next(iter(arm.runs.values())).label for arm in groups]
    return [
        f"{label or 'same settings'} ({run})" if labels.count(label) > 1 or not label else label
        for label, run in zip(labels, runs, strict=True)
    ]


def _kinds(groups: Sequence[_Arm], keys: Sequence[str]) -> int:
    return len({tuple(repr(arm.settings[key]) for key in keys) for arm in groups})


def _reference_name(arm: _Arm, keys: Sequence[str]) -> str:
    if arm.settings["loss.boundary"] == "none":
        return BASE
    if keys:
        return ", ".join(f"{key}={_value(arm.settings[key])}" for key in keys)
    labels = [record.label for record in arm.runs.values()]
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*labels, strict=False))
    begun = "".join(letters[0] for letters in alike)
    return begun.rstrip("-_. ") or labels[0]


def _name(arm: _Arm, first: _Arm, keys: Sequence[str]) -> str:
    return ", ".join(f"{key}={_value(arm.settings[key])}" for key in keys if arm.settings[key] != first.settings[key])


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_value, value))}]"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
