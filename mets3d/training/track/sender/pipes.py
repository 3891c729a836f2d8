"""Speaks with the training over pipes: orders come in as JSON lines, events go out as JSON lines."""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import IO, Any

# How the run ends where the training was killed and could not say how.
KILLED = {"exit_code": 255, "preempted": False, "reason": "The training's process was killed.", "weights": {}}

Inbox = queue.SimpleQueue[dict[str, Any]]
Event = Callable[..., None]


class TroubleError(Exception):
    """Why a logger cannot be used; `may_return` tells whether waiting may help."""

    def __init__(self, reason: str, *, may_return: bool = True):
        super().__init__(reason)
        self.may_return = may_return


def answer(send: Callable[[Mapping[str, Any], Inbox, Event], bool]) -> None:
    """Runs a program of this package: reads the first order, sends until the training has ended, and says how it went.

    send: gets the order, the queue that will have the training's end, and what writes an event; returns whether all was
    sent. The process ends here, without the handlers at exit that a logger may have left, which wait for its service.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # the training decides when this ends
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    orders, answers = _take_over_pipes()
    say = Answers(answers)
    try:
        start = json.loads(orders.readline())
        say(event="finished", complete=send(start, _inbox(orders), say))
    except BaseException as error:  # SystemExit too: whatever a logger does becomes one line
        lasting = isinstance(error, TroubleError) and not error.may_return
        say(event="failed", reason=one_line(error), may_return=not lasting)
    os._exit(0)


class Answers:
    """Writes events to the training, from any thread; a training that is gone hears nothing."""

    def __init__(self, stream: IO[str]):
        self.stream, self.lock = stream, threading.Lock()

    def __call__(self, **event: Any) -> None:
        """Writes one event."""
        with self.lock:
            try:
                self.stream.write(json.dumps(event) + "\n")
                self.stream.flush()
            except OSError:
                pass


def ending(inbox: Inbox, seconds: float) -> dict[str, Any] | None:
    """Returns how the training ended; None where it goes on after so many seconds."""
    try:
        return inbox.get(timeout=seconds)
    except queue.Empty:
        return None


def one_line(error: BaseException) -> str:
    """Returns what an error says in its first line, with its kind unless it is ours."""
    lines = str(error).strip().splitlines()
    if isinstance(error, TroubleError):
        return lines[0]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _take_over_pipes() -> tuple[IO[str], IO[str]]:
    """Returns streams on this process's input and output, and points the standard ones at nothing.

    Loggers and their services print there, and a service that outlives this process must not hold the pipes open.
    """
    orders, answers = (os.dup(number) for number in (0, 1))
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    return os.fdopen(orders, encoding="utf-8"), os.fdopen(answers, "w", encoding="utf-8")


def _inbox(orders: IO[str]) -> Inbox:
    """Returns a queue that gets how the training ended, `KILLED` where the pipe closes before it is told."""
    inbox: Inbox = queue.SimpleQueue()

    def read() -> None:
        line = orders.readline()
        inbox.put(json.loads(line) if line.endswith("\n") else KILLED)

    threading.Thread(target=read, daemon=True).start()
    return inbox


def as_program(start: Mapping[str, Any]) -> None:
    """Makes this process look like the training: its arguments are what a logger shows as the run's command."""
    sys.argv = list(start["argv"])
