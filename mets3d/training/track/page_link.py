"""Has the run's page written anew at each validation, by `mets3d report` in a process of its own that yields to all.

Nothing of it is waited for while the network trains: where a page is still being written at the next validation, that
one gets none, and the one behind it shows both.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import IO

from mets3d.files import recover
from mets3d.rundir import ReportDir, RunDir
from mets3d.training.track.sender_process import ABOVE_PACKAGE

LOWEST = 19  # niceness of a process where there is no SCHED_IDLE
FINISH_S = 120.0  # for the last page, at the end of a run


class PageLink:
    """The way of a run to its page. A page that fails is said once; the next validation tries again."""

    def __init__(self, run: RunDir, *, say: Callable[[str], None]):
        self.run, self.say = run, say
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - as long as this object
        self._said: str | None = None
        recover(run.report)  # of a training that was killed, and the writing of its page with it
        say(f"page, anew at each validation: {ReportDir(run.report).page}")

    def renew(self) -> None:
        """Starts the writing of a page, unless one is being written."""
        if self._process is None or self._process.poll() is not None:
            self._look()
            self._start()
            self._yield_to_all()

    def close(self) -> None:
        """Has the last page written, which shows how the training ended, and waits at most FINISH_S seconds for it.

        One that is still being written is given up for it.
        """
        self._give_up()
        self._start()
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(FINISH_S)
        self._look()
        self._give_up()
        self._output.close()

    def _start(self) -> None:
        path = os.pathsep.join(filter(None, [str(ABOVE_PACKAGE), os.environ.get("PYTHONPATH")]))
        # One thread, and none of the variables by which a launcher tells its processes what they are.
        alone = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "RANK": "0", "WORLD_SIZE": "1"}
        self._output.seek(0)
        self._output.truncate()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "mets3d", "report", str(self.run.path)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._output,
                env={**os.environ, **alone},
                # A Ctrl-C is for the training. Not a session of its own: Linux gives each an equal share (autogroup),
                # within which alone a priority counts.
                process_group=0,
            )
        except OSError as error:  # no memory for a process
            self._trouble(str(error))

    def _yield_to_all(self) -> None:
        """Gives the process what time the others leave: by Linux at most 3 in 1,000 parts of a core that is in use."""
        if self._process is None:
            return
        with suppress(OSError):  # it has ended, or may not be changed
            if hasattr(os, "SCHED_IDLE"):
                os.sched_setscheduler(self._process.pid, os.SCHED_IDLE, os.sched_param(0))
            elif hasattr(os, "setpriority"):
                os.setpriority(os.PRIO_PROCESS, self._process.pid, LOWEST)

    def _give_up(self) -> None:
        """Ends the writing of a page, if one is being written: the former one stays, or comes back."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
            recover(self.run.report)
        self._process = None

    def _look(self) -> None:
        """Says what was wrong with the last page, if anything was: why it failed, or that it takes too long."""
        if self._process is None:
            return
        code = self._process.poll()
        if code is None:
            self._trouble(f"it took more than {FINISH_S:.0f} s")
        elif code:
            self._output.seek(0)
            lines = self._output.read().decode(errors="replace").strip().splitlines()
            self._trouble(lines[-1] if lines else f"exit code {code}")

    def _trouble(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self.say(f"page: it could not be written ({text}); the training goes on")
