"""Plans the runs of a sweep: the words, name and configuration of each. Every fault is found before one starts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mets3d.config import Config, ConfigError, differing_keys, load, load_file
from mets3d.study.combinations import Values, as_arguments, drawn, grid, without_repeats
from mets3d.study.command import training_words
from mets3d.study.folder import StudyDir
from mets3d.study.parameters import Parameter
from mets3d.study.sweep_file import Sweep

SHOWN = 20  # faults at most in one message


@dataclass(frozen=True)
class PlannedRun:
    """A run: its values, the words of `train.py` without those that place it, and what they mean."""

    name: str
    values: Values
    words: tuple[str, ...]
    config: Config

    def placed(self, study: StudyDir) -> list[str]:
        """Returns all words, which put the run into the study's folder."""
        return [*self.words, f"--output={study.runs}", f"--name={self.name}"]


def plan(sweep: Sweep, study: StudyDir, overrides: Sequence[str]) -> list[PlannedRun]:
    """Plans the runs of a grid or of a random sweep, in W&B's order.

    Raises ConfigError with every fault of every combination: as `config.load`, networks that cannot be built, stores
    that are not there, two combinations with one name, a directory that holds a run with other settings.
    """
    _check_overrides(overrides)
    runs, faults = _read(sweep, combinations(sweep), overrides)
    runs = named(runs, sweep.parameters)
    faults += _one_name(runs)
    if not faults:
        faults = _unfit(runs, study)
    if faults:
        raise ConfigError(_shortened(faults))
    return runs


def combinations(sweep: Sweep) -> list[Values]:
    """Returns the values of each run. Of a bayes sweep, which has none yet: the ends and the middle of each range."""
    parameters = sweep.parameters
    if sweep.method == "grid":
        return list(grid(parameters))[: sweep.run_cap]
    if sweep.method == "random":
        return list(without_repeats(drawn(parameters, number) for number in range(sweep.run_cap or 0)))
    return list(without_repeats(_corners(parameters)))


def planned(sweep: Sweep, values: Values, overrides: Sequence[str]) -> PlannedRun:
    """Plans one run. Raises ConfigError."""
    words = (*training_words(sweep.command, as_arguments(sweep.parameters, values)), *overrides)
    config = load(words)
    return PlannedRun(config.name, values, words, config)


def named(runs: Sequence[PlannedRun], parameters: Sequence[Parameter]) -> list[PlannedRun]:
    """Makes names unique by the parameters that vary, where the command alone does not."""
    names = [run.name for run in runs]
    if len(set(names)) == len(names):
        return list(runs)
    varying = [parameter for parameter in parameters if parameter.varies]
    return [
        replace(run, name="_".join([run.name, *(_part(parameter, run.values) for parameter in varying)]))
        for run in runs
    ]


def in_words(values: Values) -> str:
    """Returns the values of a run for a message."""
    return ", ".join(f"{key}={value}" for key, value in values.items())


def _read(sweep: Sweep, found: Iterable[Values], overrides: Sequence[str]) -> tuple[list[PlannedRun], list[str]]:
    """Reads the configuration of each combination. Each fault is told once, with the combinations that have it."""
    runs: list[PlannedRun] = []
    where: dict[str, list[Values]] = {}
    count = 0
    for values in found:
        count += 1
        try:
            runs.append(planned(sweep, values, overrides))
        except ConfigError as error:
            for fault in error.faults:
                where.setdefault(fault, []).append(values)
    return runs, [_told(fault, those, count) for fault, those in where.items()]


def _told(fault: str, those: Sequence[Values], count: int) -> str:
    if len(those) == count:
        return fault
    return f"{fault} ({len(those)} of {count} combinations, such as {in_words(those[0])})"


def _corners(parameters: Sequence[Parameter]) -> Iterator[Values]:
    middle = {parameter.key: parameter.at(0.5) for parameter in parameters}
    for parameter in parameters:
        count = parameter.choices
        shares = (1e-9, 1 - 1e-9) if count is None else [(place + 0.5) / count for place in range(count)]
        yield from (middle | {parameter.key: parameter.at(share)} for share in shares)


def _part(parameter: Parameter, values: Values) -> str:
    text = re.sub(r"[^\w.+-]+", "-", str(values[parameter.key])).strip("-")
    return f"{parameter.path[-1].rpartition('.')[2]}-{text}"


# ---------------------------------------------------------------- faults of all runs together


def _check_overrides(overrides: Sequence[str]) -> None:
    placing = [word for word in overrides if word.startswith("--output=")]
    if placing:
        raise ConfigError([f"{placing[0]}: the runs of a sweep lie in its folder; name that by --out DIR"])


def _one_name(runs: Sequence[PlannedRun]) -> list[str]:
    first: dict[str, Values] = {}
    faults = []
    for run in runs:
        if run.name in first:
            faults.append(
                f"two combinations have one name, {run.name}: {in_words(first[run.name])}, and {in_words(run.values)}; "
                "name the parameters in the command, as --name=loss_{loss.boundary}_fold{data.fold}"
            )
        if run.config.resume == "never":
            faults.append("resume is never, but a sweep goes on with runs that were interrupted; leave it at auto")
        first.setdefault(run.name, run.values)
    return list(dict.fromkeys(faults))


def _unfit(runs: Sequence[PlannedRun], study: StudyDir) -> list[str]:
    from mets3d.study.buildable import faults_of

    faults: dict[str, list[Values]] = {}
    for run in runs:
        for fault in [*faults_of(run.config), *_other_run(run, study)]:
            faults.setdefault(fault, []).append(run.values)
    return [_told(fault, those, len(runs)) for fault, those in faults.items()]


def _other_run(run: PlannedRun, study: StudyDir) -> list[str]:
    """Returns a fault where the run's directory holds a run with settings that may not change."""
    from mets3d.training.same_run import CURVES, MAY_CHANGE

    file: Path = study.run(run.name).config
    if not file.exists():
        return []
    try:
        before = load_file(file)
    except ConfigError as error:
        return [f"{file} cannot be read by this version ({error.faults[0]}); use another --out"]
    keys = differing_keys(before, run.config, ignored=(*MAY_CHANGE, *CURVES))
    if not keys:
        return []
    return [f"{file.parent} holds a run with other settings ({', '.join(keys)}); use another --out, or move it away"]


def _shortened(faults: Sequence[str]) -> list[str]:
    more: list[Any] = [f"and {len(faults) - SHOWN} more"] if len(faults) > SHOWN else []
    return [*faults[:SHOWN], *more]
