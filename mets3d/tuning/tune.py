"""Chooses thresholds and component limits of a run by the mean of a named score over its held-out cases.

Every case is read once (`rescoring`); then the settings are searched (`search`), and searched again without each fold
of patients, which shows how such a choice scores on cases that it has not seen. What that supports (`supported`) is
written: the settings of new cases, and those of each fold, by which its own cases are decoded.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from mets3d.data import Progress, quiet
from mets3d.data.folds import make_folds
from mets3d.evaluation.rules import rules_named
from mets3d.inference.decoding_settings import (
    WEIGHTS,
    Decoding,
    RegionDecoding,
    decoding_for,
    settings_of,
    write_decoding,
)
from mets3d.processes import RunAll, worker_processes
from mets3d.regions import Region, Target
from mets3d.rundir import RunDir, open_run
from mets3d.tuning.held_out_cases import HeldOutCase, held_out_cases
from mets3d.tuning.rescoring import needs_outer, prepare, score
from mets3d.tuning.result import Tuning
from mets3d.tuning.search import Cases, grid_for
from mets3d.tuning.supported import Choice, Search, forced_choice, supported_choice

OBJECTIVES = ("lesion_wise_dice", "f1", "dice")
MOST_FOLDS = 10  # with up to as many patients each is left out on its own


class OtherRulesError(ValueError):
    """A rule set that is not the run's: settings that raise its scores may lower those that the run is known by."""

    exit_code = 1


def tune(
    run_path: Path,
    data: Path,
    *,
    objective: str = "lesion_wise_dice",
    rules: str | None = None,
    jobs: int = 1,
    out: Path | None = None,
    force: bool = False,
    progress: Progress = quiet,
) -> Tuning:
    """Chooses the decoding of every region that the rules score and writes it to `out`, by default RUN/decoding.json.

    Uses the probabilities of the run's held-out cases in RUN/predictions and the references in DATA. In label mode
    thresholds are left alone. `jobs` processes share the cases; the result does not depend on their number.
    rules: None is the rule set of the run, `validate.rules`.

    A region whose gain cross-validation does not support stays at the default. Where none is left, nothing is written
    and a former file stays as it is (`Tuning.written`). force: writes all settings; the file says so.

    Raises, before the search, OtherRulesError for other rules than the run's without `force`, and FileNotFoundError or
    ValueError naming the cases whose probabilities or references are not there, or not fit (`held_out_cases`).
    """
    if objective not in OBJECTIVES:
        raise ValueError(f"expected the objective to be one of {', '.join(OBJECTIVES)}; found {objective!r}")
    run = open_run(run_path, needs=("config", "split"))
    config, file = run.load_config(), out or run.decoding
    rules = _the_rules(rules, config.validate_.rules, run, file, force=force)
    target = Target(config.data.target, config.data.cavity)
    default = decoding_for(target, config.predict, None)
    scored = [region for region in target.regions if region in rules_named(rules).regions]
    grids = {region.name: grid_for(default[region.name], target, region) for region in scored}
    cases, weights = held_out_cases(run, data, config.data)
    folds = _folds({case.name: case.patient for case in cases})
    steps = _Steps(progress, len(cases) + len(grids) * (1 + len(folds)))
    thresholds = sorted({threshold for grid in grids.values() for threshold in grid.thresholds})
    workers = worker_processes(min(jobs, len(cases)))
    with tempfile.TemporaryDirectory(prefix="mets3d-tune-") as folder, workers as run_all:
        ready = partial(_prepare, target=target, thresholds=thresholds, rules=rules)
        files = _prepared(cases, Path(folder), ready, run_all, steps)
        scores = _Scores(files, target, rules, objective, run_all)
        patients = [case.patient for case in cases]
        search = Search(scores, target, grids, default, folds, patients, steps.round, steps.done)
        choice = (forced_choice if force else supported_choice)(search)
    tuning = Tuning(
        objective,
        rules,
        tuple(case.name for case in cases),
        len(folds),
        choice.shown,
        file,
        force or bool(choice.tuned),
        tuple(choice.rows.values()),
        config.validate_.rules,
        choice.outweighed,
    )
    if tuning.written:
        _write(tuning, choice, weights, tuning.record(grids) | _of_patients(cases, folds, choice))
    return tuning


def _the_rules(rules: str | None, run_rules: str, run: RunDir, file: Path, *, force: bool) -> str:
    """Returns the rules, None for the run's; raises ValueError for unknown ones, and OtherRulesError as `tune`."""
    rules = rules or run_rules
    if rules_named(rules).name != run_rules and not force:
        raise OtherRulesError(
            f"{file} is not written: expected the rule set of the run (validate.rules), {run_rules}, by which its "
            f"scores are made, found --rules {rules}; leave --rules out, or, if the run is to be scored by {rules} "
            f"from now on, set validate.rules in {run.config}. --force tunes by {rules} all the same, and the file "
            "says so"
        )
    return rules


def _write(tuning: Tuning, choice: Choice, weights: str | None, about: Mapping[str, Any]) -> None:
    """Writes the file. weights: for which the settings were chosen, None where that is not known."""
    chosen_for = {} if weights is None else {WEIGHTS: weights}
    write_decoding(tuning.file, choice.new, {**chosen_for, **about})


def _of_patients(cases: Sequence[HeldOutCase], folds: Sequence[Cases], choice: Choice) -> dict[str, Any]:
    """Returns whose the cases are, and of each fold its patients and the settings that were chosen without them."""
    return {
        "patients": {case.name: case.patient for case in cases},
        "folds": [
            {"patients": sorted({cases[place].patient for place in fold}), "regions": settings_of(decoding)}
            for fold, decoding in zip(folds, choice.folds, strict=True)
        ],
    }


def _prepared(
    cases: Sequence[HeldOutCase],
    folder: Path,
    ready: Callable[[tuple[HeldOutCase, Path]], str | None],
    run_all: RunAll,
    steps: _Steps,
) -> list[Path]:
    """Prepares every case as a file in `folder`. Raises ValueError naming all that cannot be used."""
    files = [folder / f"{number}.pickle" for number in range(len(cases))]
    problems = []
    for case, problem in zip(cases, run_all(ready, list(zip(cases, files, strict=True))), strict=True):
        problems += [problem] if problem else []
        steps.done(case.name)
    if problems:
        raise ValueError("held-out cases that cannot be used\n  " + "\n  ".join(problems))
    return files


def _prepare(item: tuple[HeldOutCase, Path], **how: Any) -> str | None:
    case, file = item
    return prepare(case, file, **how)


def _folds(patients: Mapping[str, str]) -> list[Any]:
    """Returns the positions of the cases of each fold; no fold with one patient. `patients`: case -> patient."""
    amount = len(set(patients.values()))
    if amount < 2:
        return []
    position = {name: index for index, name in enumerate(patients)}
    folds = make_folds(patients, min(amount, MOST_FOLDS), seed=0)
    return [np.array([position[name] for name in fold]) for fold in folds]


# ---------------------------------------------------------------- scores, over processes


class _Scores:
    """Scores of settings on every case, each computed once. See `search.Scores`."""

    def __init__(self, files: Sequence[Path], target: Target, rules: str, objective: str, run_all: RunAll):
        self.files, self.target, self.rules, self.objective, self.run_all = files, target, rules, objective, run_all
        self.known: dict[tuple[Any, ...], Float64[np.ndarray, " C"]] = {}

    def __call__(
        self, region: Region, decoding: Decoding, candidates: Sequence[RegionDecoding]
    ) -> Float64[np.ndarray, "S C"]:
        """Returns a score per candidate for the region and case, the other regions decoded as in `decoding`."""
        regions = self.target.regions
        seen = regions if region.name in needs_outer(self.rules) else regions[regions.index(region) :]
        others = tuple(decoding[other.name] for other in seen if other != region)
        new = [setting for setting in dict.fromkeys(candidates) if (region, others, setting) not in self.known]
        if new:
            score_case = partial(
                score,
                target=self.target,
                region=region,
                decoding=dict(decoding),
                candidates=new,
                rules=self.rules,
                objective=self.objective,
            )
            table = np.array(list(self.run_all(score_case, self.files)), np.float64)
            self.known |= {(region, others, setting): table[:, index] for index, setting in enumerate(new)}
        return np.stack([self.known[region, others, setting] for setting in candidates])


class _Steps:
    """Progress over all steps: cases to read, then regions to search, once for all cases and once per fold."""

    def __init__(self, progress: Progress, total: int):
        self.progress, self.total, self.count, self.rounds = progress, total, 0, 0

    def done(self, name: str) -> None:
        """Reports one more step."""
        self.count += 1
        self.progress(self.count, self.total, name)

    def round(self, steps: int) -> None:
        """Takes in the steps of another round of the search; those of the first are in the total."""
        self.rounds += 1
        self.total += steps if self.rounds > 1 else 0
