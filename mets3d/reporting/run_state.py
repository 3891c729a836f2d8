"""Tells whether a run is being trained right now, by its lock and by what its last session left."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Literal

from mets3d.files import read_json
from mets3d.rundir import RunDir
from mets3d.training.lock import Holder, holder_of

State = Literal["absent", "training", "ended", "stopped"]


def state_of(run: RunDir) -> State:
    """Returns what has become of a run.

    absent: there is no run directory with settings. training: a process that is alive trains it. ended: its last
    session said how it ended, whether it reached the last step, failed or was told to stop. stopped: neither, as a run
    that was killed, that was copied while it trained, or that has not begun.
    """
    if not run.config.is_file():
        return "absent"
    environment: Any = None
    with suppress(OSError, ValueError):
        environment = read_json(run.environment)
    environment = environment if isinstance(environment, dict) else {}
    holder = None
    with suppress(OSError):  # a lock of another host is judged by a file's time, which needs a folder to write in
        holder = holder_of(run.lock)
    if "exit_code" in environment and (holder is None or _is_of_this_session(environment, holder)):
        return "ended"
    return "training" if holder is not None else "stopped"


def _is_of_this_session(environment: Mapping[str, Any], holder: Holder) -> bool:
    """Returns whether what environment.json says was written by the holder of the lock, not by a session before."""
    try:
        return datetime.fromisoformat(str(environment.get("started"))) >= datetime.fromisoformat(holder.since)
    except (ValueError, TypeError):
        return False
