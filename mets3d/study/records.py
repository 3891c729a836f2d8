"""Finds out how far the runs of a study are, from their directories and the study's own notes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mets3d.config import ConfigError
from mets3d.files import COUNT, read_object, sha256_of
from mets3d.rundir import RunDir
from mets3d.study.folder import State, StudyDir
from mets3d.study.plan import PlannedRun

PREFIXES = ("train.py: ", "mets3d ", "mets3d.launch: ")  # of the one line with which our programs end


def is_trained(run: RunDir, planned: PlannedRun) -> bool:
    """Returns whether a training has gone to its end: it left with exit code 0, and was as long as it is planned."""
    try:
        ended = read_object(run.environment, {"exit_code": COUNT})["exit_code"] == 0
        return ended and run.weights.exists() and run.load_config().train == planned.config.train
    except (FileNotFoundError, ValueError, ConfigError):
        return False


def is_finished(study: StudyDir, planned: PlannedRun) -> bool:
    """Returns whether a run is trained and its held-out cases are scored with the weights that it has."""
    run, state = study.run(planned.name), study.state(planned.name)
    if state.state != "finished" or not run.scores.exists() or not is_trained(run, planned):
        return False
    return state.weights == sha256_of(run.weights)


def unsettled(study: StudyDir, runs: Sequence[PlannedRun]) -> list[PlannedRun]:
    """Returns the runs of which something is still to come, in any call of the sweep."""
    return [run for run in runs if not study.state(run.name).settled]


def outcome(study: StudyDir, name: str, code: int, log_from: int) -> State:
    """Returns the state of a run whose process has ended by itself; log_from: where in the log it began to write."""
    run = study.run(name)
    if code == 0 and study.weights(name).exists() and run.scores.exists():
        return State("finished", weights=sha256_of(study.weights(name)))
    if code == 0:
        return State("failed", "it left no weights or no scores")
    return State("failed", _reason(study.log(name), log_from, code))


def _reason(log: Path, start: int, code: int) -> str:
    """Returns the line of a log that says why a run failed: the last of our programs' own, else the last one."""
    with log.open("rb") as stream:
        stream.seek(start)
        lines = [line.rstrip() for line in stream.read().decode("utf-8", "replace").splitlines() if line.strip()]
    own = [place for place, line in enumerate(lines) if line.startswith(PREFIXES)]
    traced = [place for place, line in enumerate(lines) if line.startswith("Traceback")]
    if own and (not traced or own[-1] > traced[-1]):
        return f"{lines[own[-1]]} (exit code {code})"
    return f"{lines[-1].strip() if lines else 'it said nothing'} (exit code {code})"
