"""Ends a training when its launcher dies. Imports nothing heavy: this is the first thing a process does."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def follow_launcher() -> None:
    """Has Linux send this process a SIGTERM when its launcher dies.

    `accelerate launch` with one process ends at SIGTERM without passing it on; the training would go on as an orphan.
    A script started by hand has a shell as its parent and may outlive it.
    """
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ or "LOCAL_RANK" in os.environ
    if launched and sys.platform == "linux":
        launcher = os.getppid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != launcher:  # it died before the call, so no signal will come
            os.kill(os.getpid(), signal.SIGTERM)
