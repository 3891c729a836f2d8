"""Ends a training when its launcher dies. Imports nothing heavy: this is the first thing a process does."""

from __future__ import annotations

import os
import signal

from mets3d.processes import signal_at_death_of_parent


def follow_launcher() -> None:
    """Has Linux send this process a SIGTERM when its launcher dies.

    `accelerate launch` with one process ends at SIGTERM without passing it on; the training would go on as an orphan.
    A script started by hand has a shell as its parent and may outlive it.
    """
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ or "LOCAL_RANK" in os.environ
    if launched and not signal_at_death_of_parent(signal.SIGTERM):
        os.kill(os.getpid(), signal.SIGTERM)
