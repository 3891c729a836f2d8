"""Defines what the folder of a study holds: its runs, their logs and states, the page, the ledger.

STUDY/
    sweep.json         the sweep file's text, the command, and the values of each run by its name
    runs/NAME/         a run directory, see `mets3d.rundir`
    logs/NAME.log      what its training, prediction and scoring printed, of all sessions
    states/NAME.json   how far it is
    trials.json        bayes: the values that were tried, in order
    report/            the page that compares the finished runs
    locks/             who works here
    ledger.json        every use of test cases
    test/NAME/         predictions and scores of test cases, in the form of a run directory, see `TestDir`
    test/cases.json    which cases these are
    test_1/ ...        the same of other test cases, in an earlier use
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from mets3d.files import TEXT, read_object, write_json
from mets3d.rundir import LEDGER, Inside, RunDir

RunState = Literal["waiting", "running", "finished", "stopped", "interrupted", "failed"]


@dataclass(frozen=True)
class State:
    """How far a run is. `reason`: why it failed or was stopped. `weights`: SHA-256 of those that were scored."""

    state: RunState
    reason: str = ""
    weights: str = ""

    @property
    def settled(self) -> bool:
        """Returns whether nothing more comes of the run in this call of the sweep."""
        return self.state in ("finished", "stopped", "failed")


@dataclass(frozen=True)
class StudyDir:
    """Paths inside the folder of a study; nothing is created by naming it."""

    path: Path

    record = Inside("sweep.json")
    runs = Inside("runs")
    logs = Inside("logs")
    states = Inside("states")
    trials = Inside("trials.json")
    report = Inside("report")
    locks = Inside("locks")
    ledger = Inside(LEDGER)
    test = Inside("test")

    def run(self, name: str) -> RunDir:
        """Returns the directory of a run."""
        return RunDir(self.runs / name)

    def weights(self, name: str) -> Path:
        """Returns the weights of a run."""
        return RunDir(self.runs / name).weights

    def log(self, name: str) -> Path:
        """Returns the log of a run."""
        return Path(self.logs / f"{flat(name)}.log")

    def state(self, name: str) -> State:
        """Reads how far a run is; one of which nothing can be read waits."""
        try:
            content = read_object(self._state_file(name), {"state": TEXT, "reason": TEXT, "weights": TEXT})
            return State(**{key: content[key] for key in ("state", "reason", "weights")})
        except (FileNotFoundError, ValueError):
            return State("waiting")

    def note(self, name: str, state: State) -> None:
        """Writes how far a run is."""
        write_json(self._state_file(name), asdict(state))

    def note_sweep(self, content: dict[str, Any]) -> None:
        """Writes sweep.json."""
        write_json(self.record, content)

    def _state_file(self, name: str) -> Path:
        return Path(self.states / f"{flat(name)}.json")


@dataclass(frozen=True)
class TestDir(StudyDir):
    """The same folder where the runs are those scored on test cases: test/NAME, with logs, states and page beside."""

    logs = Inside("test_logs")
    states = Inside("test_states")
    report = Inside("test_report")
    scored_cases = Inside("test/cases.json")  # name -> digest, of all runs there

    def run(self, name: str) -> RunDir:
        """Returns the folder of a run's test scores."""
        return RunDir(self.test / name)


def flat(name: str) -> str:
    """Returns the name of a run as that of a file: a run may lie in a folder of others."""
    return name.replace("%", "%25").replace("/", "%2F")
