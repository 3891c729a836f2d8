"""Starts the process that sends a run's numbers to W&B, watches it, and replaces it where W&B fails.

The training never waits for W&B: a thread listens to the process. Where the server cannot be reached or falls silent,
a process that logs offline takes over, and where it comes back, one that logs online. Both read metrics.jsonl from the
first line on, so that nothing is lost in between.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mets3d.config import Config
from mets3d.rundir import RunDir
from mets3d.training.track.sender_process import Program, spawn, write
from mets3d.training.track.wandb_orders import Limits, Mode, first_order, limits_of, order_for, wandb_mode

LIMITS = Limits()


@dataclass(frozen=True)
class Outcome:
    """How a process ended: properly (no trouble), in trouble, or because the server answers again.

    may_return: the trouble may pass, as that of a server which is away.
    """

    trouble: str | None
    may_return: bool = False
    answers: bool = False


class WandbLink:
    """The way of a run's numbers to W&B.

    say: prints a line. stop: called, from another thread, when somebody asks on the server that the run stops.
    """

    def __init__(self, config: Config, run: RunDir, *, say: Callable[[str], None], stop: Callable[[], None]):
        self.say, self.stop, self.limits = say, stop, limits_of(config.track, LIMITS)
        self._first = first_order(config, run, self.limits)
        self._lock = threading.Lock()  # of the four below
        self._process: Program | None = None
        self._mode = wandb_mode(config.track)
        self._ending: dict[str, Any] | None = None
        self._closed = False
        self._offline_logs: list[str] = []  # folders of logs that stand in for the server
        self._lost: set[str] = set()  # kinds of things that could not be sent, each said once
        self._thread = threading.Thread(target=self._accompany, args=(self._mode,), daemon=True)
        self._thread.start()

    def close(
        self, exit_code: int, *, stopped: bool, reason: str | None = None, weights: Mapping[str, Path] | None = None
    ) -> None:
        """Tells W&B how the training ended and waits, at most `Limits.finish` seconds, until all is sent.

        stopped: the run was told to stop and goes on when it is started again; W&B shows it as preempted.
        reason: why it failed, for an alert. weights: files to send, by their alias.
        """
        with self._lock:
            # A sweep hands the runs that are marked as preempted to another agent, even those that it has stopped.
            self._ending = {
                "exit_code": exit_code,
                "preempted": stopped and "WANDB_SWEEP_ID" not in os.environ,
                "reason": reason,
                "weights": {alias: str(file) for alias, file in (weights or {}).items()},
            }
            self._tell_ending()
        self._thread.join(self.limits.finish - self.limits.flush)
        with self._lock:
            if self._process is not None and self._mode != "offline":
                self._process.kill()  # the thread goes on with an offline log
        self._thread.join(self.limits.flush)
        # A long offline log that is still being written is finished by its process, which outlives this one.
        self._closed = True

    # ------------------------------------------------------------ in the thread

    def _accompany(self, mode: Mode) -> None:
        """Has the numbers sent until the training has ended, offline as long as the server is away."""
        outcome, back = self._run(mode, None), self.limits.watch.back
        while outcome.trouble is not None and not self._closed:
            outcome = self._run("offline", outcome, back=back if outcome.may_return else None)
            if outcome.answers:
                outcome, back = self._run(mode, outcome), 2 * back
            elif outcome.trouble is not None:
                self.say(f"W&B: {outcome.trouble}. It is off for this run; metrics.jsonl has all numbers")
                return
            else:
                return
        for folder in self._offline_logs:  # the server has got their numbers
            shutil.rmtree(folder, ignore_errors=True)

    def _run(self, mode: Mode, before: Outcome | None, *, back: float | None = None) -> Outcome:
        """Runs one process to its end, after one that ended as `before` says."""
        with self._lock:
            self._mode, process = mode, spawn("wandb_run")
            self._process = process
            write(process, order_for(mode, self._first, back=back))
            self._tell_ending()
        outcome, late = Outcome("its process was killed", may_return=True), threading.Event()

        def give_up() -> None:
            late.set()
            process.kill()  # ends the loop below

        impatience = threading.Timer(self.limits.start, give_up)
        impatience.start()
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            outcome = self._outcome(event, outcome)
            if event["event"] == "ready":
                impatience.cancel()
                self._note_change(mode, event["folder"], before)
            elif event["event"] == "silent" or outcome.answers:
                process.kill()
        impatience.cancel()
        with self._lock:
            self._process = None
            with suppress(OSError), process:  # closes its pipes and waits for its end
                pass
        return Outcome(f"it was not ready within {self.limits.start:g} s", True) if late.is_set() else outcome

    def _outcome(self, event: Mapping[str, Any], before: Outcome) -> Outcome:
        """Returns how the process has ended if this event of it was the last one."""
        match event["event"]:
            case "failed" | "silent":
                return Outcome(event["reason"], may_return=event["may_return"])
            case "answers" if self._ending is None:  # at the end it is too late to change
                return Outcome(None, answers=True)
            case "finished" if event["complete"]:
                return Outcome(None)
            case "finished":
                return Outcome(f"not all numbers could be sent within {self.limits.finish:g} s")
            case "stop":
                self.stop()
            case "lost" if event["what"] not in self._lost:
                self._lost.add(event["what"])
                self.say(f"W&B: {event['what']} could not be sent, {event['reason']}; the numbers go on")
        return before

    def _note_change(self, mode: Mode, folder: str, before: Outcome | None) -> None:
        if before is None:
            return
        if mode == "offline":
            self._offline_logs.append(folder)
            self.say(f"W&B: {before.trouble}. This run logs offline; to send it later: wandb sync {_short(folder)}")
        else:
            self.say("W&B answers again; this run logs online")

    def _tell_ending(self) -> None:
        if self._process is not None and self._ending is not None:
            write(self._process, self._ending)


def _short(folder: str) -> str:
    """Returns a path from the current folder on where it lies inside."""
    path = Path(folder)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
