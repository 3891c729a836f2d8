"""Gives out the runs of a sweep: those of a list, or those that a search proposes one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mets3d.data.shards import Shard
from mets3d.study.combinations import Values
from mets3d.study.folder import State, StudyDir
from mets3d.study.plan import PlannedRun, planned
from mets3d.study.records import is_finished
from mets3d.study.search import Bayes, Halving, Trial
from mets3d.study.sweep_file import Sweep

DONE = ("finished", "stopped", "failed")


class Listed:
    """The runs of a grid or a random sweep, those of one shard where there are several."""

    def __init__(self, sweep: Sweep, study: StudyDir, runs: Sequence[PlannedRun], shard: Shard | None = None):
        self._runs = list(runs)
        mine = shard.of(self._runs) if shard else self._runs
        self._left = [run for run in mine if not is_finished(study, run) and study.state(run.name).state != "stopped"]
        for run in self._left:  # those that failed are tried again
            study.note(run.name, State("waiting"))
        names = [run.name for run in self._runs if run not in self._left]
        self._halving = Halving(sweep, study, names) if sweep.early else None

    def every(self) -> list[PlannedRun]:
        """Returns all runs of the sweep."""
        return self._runs

    def take(self) -> PlannedRun | None:
        """Returns the next run in order."""
        return self._left.pop(0) if self._left else None

    def hopeless(self, name: str) -> bool:
        """Returns whether a run should be stopped early."""
        return self._halving is not None and self._halving.hopeless(name)


class Proposed:
    """The runs of a bayes sweep: those that were begun, then new ones up to the cap."""

    def __init__(self, sweep: Sweep, study: StudyDir, overrides: Sequence[str]):
        self._sweep, self._overrides, self._bayes = sweep, overrides, Bayes(sweep, study)
        self._runs = [self._planned(trial.values, trial.name) for trial in self._bayes.trials]
        self._left = [run for run in self._runs if study.state(run.name).state not in DONE]
        names = [run.name for run in self._runs if run not in self._left]
        self._halving = Halving(sweep, study, names) if sweep.early else None

    def every(self) -> list[PlannedRun]:
        """Returns the runs so far."""
        return self._runs

    def take(self) -> PlannedRun | None:
        """Returns a run that was begun, or proposes one; its number makes its name unique."""
        if self._left:
            return self._left.pop(0)
        if len(self._runs) >= (self._sweep.run_cap or 0):
            return None
        number, shares, values = self._bayes.propose()
        run = planned(self._sweep, values, self._overrides)
        run = replace(run, name=f"{run.name}_{number:03d}")
        self._bayes.add(Trial(run.name, shares, values))
        self._runs.append(run)
        return run

    def hopeless(self, name: str) -> bool:
        """Returns whether a run should be stopped early."""
        return self._halving is not None and self._halving.hopeless(name)

    def _planned(self, values: Values, name: str) -> PlannedRun:
        return replace(planned(self._sweep, values, self._overrides), name=name)
