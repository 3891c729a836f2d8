"""Runs a study: plans a sweep's runs, runs them or this shard's, and writes the page when all are settled."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mets3d.config import ConfigError
from mets3d.data.shards import Shard
from mets3d.data.store import open_store
from mets3d.files import read_text
from mets3d.rundir import RunDir
from mets3d.study.claim import claimed
from mets3d.study.folder import State, StudyDir
from mets3d.study.machine import Machine
from mets3d.study.plan import PlannedRun, plan
from mets3d.study.records import is_trained, unsettled
from mets3d.study.runner import Say, Workshop, run_all
from mets3d.study.sources import Listed, Proposed
from mets3d.study.sweep_file import Sweep
from mets3d.study.work import Work
from mets3d.training.lock import LockError, held
from mets3d.training.stop import StopWish, listening


@dataclass(frozen=True)
class Order:
    """What a user asks for beside the sweep file."""

    study: StudyDir
    machine: Machine
    launch: str | None = None
    data: Path | None = None  # the data set; None: where the store of a run was made from
    shard: Shard | None = None
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """How a call ended: the state of each run, the page, None where it is not due, and the signal that stopped it."""

    states: dict[str, State]
    page: Path | None
    signal: int = 0


def run_study(sweep: Sweep, order: Order, say: Say, **shop: Any) -> Result:
    """Runs a sweep to its page.

    Finished runs are kept, interrupted ones go on, failed ones are tried again and do not stop the others. With a shard
    every n-th run is run; the call that finds all settled writes the page. `shop`: see `runner.Workshop`.

    Raises ConfigError and ValueError before anything runs: as `plan`, and where another sweep works in the folder.
    """
    if order.shard is not None and (sweep.method == "bayes" or sweep.early is not None):
        raise ValueError("--shard: bayes and early termination look at all runs; use one call with --jobs")
    runs = plan(sweep, order.study, order.overrides)
    _check_data(runs, order)
    workshop = Workshop(order.study, order.machine, partial(_work, order), say, **shop)
    with claimed(order.study, order.shard), listening() as wish:
        source: Listed | Proposed
        if sweep.method == "bayes":
            source = Proposed(sweep, order.study, order.overrides)
        else:
            source = Listed(sweep, order.study, runs, order.shard)
        run_all(source, workshop, wish)
        _note(sweep, order.study, source.every())
        return _result(order.study, source.every(), wish, say)


def planned_so_far(
    sweep: Sweep, study: StudyDir, runs: Sequence[PlannedRun], overrides: Sequence[str]
) -> list[PlannedRun]:
    """Returns the runs of a sweep: those of its plan, of a bayes sweep those that were proposed."""
    return list(runs) if sweep.method != "bayes" else Proposed(sweep, study, overrides).every()


# ---------------------------------------------------------------- before the first run


def _check_data(runs: Sequence[PlannedRun], order: Order) -> None:
    """Raises ConfigError where the scans that a run's held-out cases are predicted from are not there."""
    faults = []
    for run in runs:
        folder = Path(_data_of(order, run))
        if not folder.is_dir():
            faults.append(
                f"{folder}: no such data set, from which held-out cases are predicted; {run.config.data.store} was "
                "made from it. Name where it is now by --data"
            )
    if faults:
        raise ConfigError(list(dict.fromkeys(faults)))


def _work(order: Order, run: PlannedRun) -> Work:
    """Returns what is to be done for a run: one that is trained is only scored."""
    directory = order.study.run(run.name)
    placed, data = run.placed(order.study), _data_of(order, run)
    return Work(placed, str(directory.path), data, order.launch, is_trained(directory, run))


def _data_of(order: Order, run: PlannedRun) -> str:
    if order.data is not None:
        return str(order.data)
    return str(open_store(Path(run.config.data.store)).index["source"]["folder"])


# ---------------------------------------------------------------- after the last run


def _note(sweep: Sweep, study: StudyDir, runs: Sequence[PlannedRun]) -> None:
    study.note_sweep(
        {
            "file": str(sweep.file),
            "text": read_text(sweep.file),
            "command": shlex.join(sys.argv),
            "runs": {run.name: run.values for run in runs},
        }
    )


def _result(study: StudyDir, runs: Sequence[PlannedRun], wish: StopWish, say: Say) -> Result:
    states = {run.name: study.state(run.name) for run in runs}
    if wish:
        return Result(states, None, wish.signal)
    if unsettled(study, runs):
        return Result(states, None)
    return Result(states, _page(study, [run for run in runs if states[run.name].state == "finished"], say))


def _page(study: StudyDir, finished: Sequence[PlannedRun], say: Say) -> Path | None:
    """Writes the page of the finished runs; of two shards that end together one does."""
    from mets3d.reporting import report

    if not finished:
        return None
    try:
        with held(RunDir(study.locks / "page"), lambda _: None):
            return report([study.run(run.name).path for run in finished], study.report)
    except LockError as error:
        say(f"the page is being written by {error.holder}")
        return None
