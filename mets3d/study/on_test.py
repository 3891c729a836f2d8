"""Scores the finished runs of a study on test cases, once: predictions, scores and a page of their own."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

from mets3d.console import progress_of
from mets3d.data import DataError
from mets3d.data.cases import Case, find_cases
from mets3d.files import NAMES, OBJECT, read_json, read_object, sha256_of, write_json
from mets3d.study.claim import claimed
from mets3d.study.folder import StudyDir, TestDir
from mets3d.study.ledger import Use, begin_use, digests, end_use
from mets3d.study.plan import PlannedRun, plan
from mets3d.study.records import is_finished, unsettled
from mets3d.study.runner import Say, Workshop, run_all
from mets3d.study.study import Order, Result, planned_so_far
from mets3d.study.sweep_file import Sweep
from mets3d.study.work import Work, reading_of
from mets3d.training.stop import listening
from mets3d.wording import agreed, counted

TAKEN_OVER = ("config", "plan", "environment", "metrics")  # of a run's directory: what its page shows beside scores


def run_on_test(sweep: Sweep, order: Order, cases: Path, say: Say, *, again: bool = False, **shop: Any) -> Result:
    """Predicts and scores test cases with every finished run, and writes their page; the ledger keeps the use.

    An interrupted use goes on. Raises ValueError where runs are still to come, and where cases or patients of a run are
    among the test cases; UsedError as `ledger.begin_use`; else as `run_study`.
    """
    study = order.study
    runs = planned_so_far(sweep, study, plan(sweep, study, order.overrides), order.overrides)
    finished = _finished(study, runs)
    chosen = _test_cases(finished, cases)
    with claimed(study, None), listening() as wish:
        weights = {run.name: sha256_of(study.weights(run.name)) for run in finished}
        use = Use(str(cases.resolve()), digests(chosen, progress_of("ledger")), weights, again)
        for run in finished:
            _check_unseen(study, run.name, chosen)
        begin_use(study, use)
        test = TestDir(study.path)
        _make_room(test, use, say)
        for run in finished:
            _take_over(study, test, run.name, chosen)
        workshop = Workshop(test, order.machine, lambda run: _work(order, test, run, cases), say, **shop)
        run_all(_ToDo(test, finished, weights), workshop, wish)
        states = {run.name: test.state(run.name) for run in finished}
        if wish:
            return Result(states, None, wish.signal)
        scored = [run for run in finished if states[run.name].state == "finished"]
        if len(scored) == len(finished):
            end_use(study, use)
        return Result(states, _page(test, scored))


class _ToDo:
    """The runs whose test cases are not scored yet."""

    def __init__(self, test: TestDir, runs: Sequence[PlannedRun], weights: dict[str, str]):
        self._left = [run for run in runs if not _is_scored(test, run.name, weights[run.name])]

    def take(self) -> PlannedRun | None:
        return self._left.pop(0) if self._left else None

    def hopeless(self, name: str) -> bool:  # noqa: ARG002 - of a source
        return False


def _is_scored(test: TestDir, name: str, weights: str) -> bool:
    state = test.state(name)
    return state.state == "finished" and state.weights == weights and test.run(name).scores.exists()


def _finished(study: StudyDir, runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """Returns the finished runs. Raises ValueError where some are still to come: they would be a second use."""
    waiting = [run.name for run in unsettled(study, runs)]
    if waiting:
        raise ValueError(
            f"{study.path}: {len(waiting)} of {counted(len(runs), 'run')} "
            f"{agreed(len(waiting), 'is', 'are')} not finished, such as {waiting[0]}; run the sweep "
            "to its end without --test, for test cases are used once"
        )
    finished = [run for run in runs if is_finished(study, run)]
    if not finished:
        raise ValueError(f"{study.path}: no run is finished; run the sweep without --test first")
    return finished


def _test_cases(runs: Sequence[PlannedRun], folder: Path) -> list[Case]:
    """Finds the test cases with a reference. Raises DataError where there is none, or where a run has seen one."""
    reading = reading_of(runs[0].config, unseen=True)
    found = [case for case in find_cases(folder, reading) if case.labels is not None]
    if not found:
        raise DataError(f"{folder}: expected test cases with a reference, found none")
    return found


def _check_unseen(study: StudyDir, name: str, cases: Sequence[Case]) -> None:
    """Raises DataError where a run was trained or validated on a patient of the test cases."""
    split = _split(study, name)
    seen, patients = {*split["training"], *split["validation"]}, split["patients"]
    known = {patients.get(case, case) for case in seen}
    leaked = [case.name for case in cases if case.name in seen or case.patient in known]
    if leaked:
        raise DataError(
            f"{name} was trained or validated on the patients of {counted(len(leaked), 'test case')}, such "
            f"as {leaked[0]}; test "
            "cases are those that no run has seen"
        )


def _make_room(test: TestDir, use: Use, say: Say) -> None:
    """Puts the scores of other test cases aside, which would else be taken for those of these ones."""
    if test.test.exists() and not _holds(test, use):
        aside = next(place for number in count(1) if not (place := test.path / f"{test.test.name}_{number}").exists())
        test.test.rename(aside)
        say(f"{test.test} held the scores of other test cases, which lie in {aside} now")
    write_json(test.scored_cases, use.cases)


def _holds(test: TestDir, use: Use) -> bool:
    try:
        return bool(read_json(test.scored_cases) == use.cases)
    except (FileNotFoundError, ValueError):
        return False


def _take_over(study: StudyDir, test: TestDir, name: str, cases: Sequence[Case]) -> None:
    """Makes the folder of a run's test scores, in the form of a run directory; its held-out cases are the test's."""
    run, place = study.run(name), test.run(name)
    split = _split(study, name)
    place.path.mkdir(parents=True, exist_ok=True)
    for kind in TAKEN_OVER:
        if getattr(run, kind).exists():
            shutil.copyfile(getattr(run, kind), getattr(place, kind))
    names = [case.name for case in cases]
    ours = {case.name: case.patient for case in cases}
    write_json(place.split, {**split, "validation": names, "patients": split["patients"] | ours})


def _split(study: StudyDir, name: str) -> dict[str, Any]:
    return read_object(study.run(name).split, {"training": NAMES, "validation": NAMES, "patients": OBJECT})


def _work(order: Order, test: TestDir, run: PlannedRun, cases: Path) -> Work:
    return Work([], str(order.study.run(run.name).path), str(cases), order.launch, True, str(test.run(run.name).path))


def _page(test: TestDir, scored: Sequence[PlannedRun]) -> Path | None:
    from mets3d.reporting import report

    return report([test.run(run.name).path for run in scored], test.report) if scored else None
