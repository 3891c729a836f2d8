"""Writes the page of a run anew at each of its validations, until the training has ended."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import sleep

from mets3d.log_names import VALIDATION
from mets3d.reporting.run_state import State, state_of
from mets3d.rundir import RunDir

POLL_S = 2.0  # between two looks at the run, each of which costs a system call or two
PATIENCE_S = 300.0  # for a run that is not there yet, or whose training was killed and may be started again

Say = Callable[[str], None]


def watch(path: Path, write: Callable[[], object], say: Say) -> bool:
    """Calls `write` at once, at each validation, and when the training stops or goes on.

    write: makes the page; a FileNotFoundError of it means that the run has gone, which is waited for like one that is
    not there yet. A page that cannot be written, as on a full disk, is said and made at the next validation; a folder
    that is no page's raises FileExistsError.

    Returns True as soon as the training has ended, for the last page, and False if nobody has trained the run for
    PATIENCE_S.
    """
    run, log = RunDir(path), Validations(RunDir(path))
    before: State | None = None
    waited = 0.0
    while True:
        state = state_of(run)
        if state != before and (words := _words(state, path)):
            say(words)
        if state == "ended":
            return True
        if (log.is_new() or state != before) and state != "absent" and not _written(write, say):
            state = "absent"
        waited = 0.0 if state == "training" else waited + POLL_S
        if waited > PATIENCE_S:
            say(f"{path}: no training for {PATIENCE_S:.0f} s; start the same command again when it goes on")
            return False
        before = state
        sleep(POLL_S)


def _written(write: Callable[[], object], say: Say) -> bool:
    """Makes the page; returns False where the run has gone."""
    try:
        write()
    except FileNotFoundError:
        return False
    except FileExistsError:
        raise
    except OSError as error:
        say(f"the page could not be written ({error}); it is tried again at the next validation")
    return True


def _words(state: State, path: Path) -> str:
    """Says what a state means for who waits; nothing where it goes without saying."""
    if state == "absent":
        return f"{path}: no run directory yet; waiting up to {PATIENCE_S:.0f} s for it (Ctrl-C ends)"
    if state == "stopped":
        return f"{path}: no training is running there; waiting up to {PATIENCE_S:.0f} s for one (Ctrl-C ends)"
    return ""


class Validations:
    """Looks whether a run has validated since the last look; reads only what its log has got since."""

    def __init__(self, run: RunDir):
        self._log = run.metrics
        self._read = 0  # bytes

    def is_new(self) -> bool:
        """Returns whether the log has got the line of a validation since, or is shorter: a run that went on earlier."""
        try:
            size = self._log.stat().st_size
            if size == self._read:
                return False
            shorter = size < self._read
            with self._log.open("rb") as stream:
                stream.seek(0 if shorter else self._read)
                whole, newline, _torn = stream.read().rpartition(b"\n")
        except FileNotFoundError:
            self._read = 0
            return False
        self._read = (0 if shorter else self._read) + len(whole) + len(newline)
        return shorter or f'"kind": "{VALIDATION}"'.encode() in whole
