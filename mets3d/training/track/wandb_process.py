"""Sends the lines of a run's metrics.jsonl to W&B: the program that `wandb_link.py` starts beside a training.

It is run by its path and imports nothing of the package. It gets JSON lines on its standard input: first what to send
and how, at last how the training ended. It answers with JSON lines on its standard output:

    {"event": "ready", "folder": ...}        W&B has started; its files lie in this folder
    {"event": "failed", "reason": ...}       it has not, or has broken; the program ends
    {"event": "silent", "reason": ...}       the server has stopped answering
    {"event": "answers"}                     it answers again, to a log that is offline for its silence
    {"event": "stop"}                        somebody asks on the server that the run stops
    {"event": "finished", "complete": ...}   the end; whether all was sent

Beside a reason stands `may_return`: whether the trouble may pass.
"""

from __future__ import annotations

import base64
import json
import os
import queue
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

# How the run ends for W&B where the training was killed and could not say how.
KILLED = {"exit_code": 255, "preempted": False}


def main() -> None:
    """Sends until the training has ended, and answers on the standard output."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # the training decides when this ends
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    orders, answers = _take_over_pipes()
    say = Answers(answers)
    try:
        start = json.loads(orders.readline())
        say(event="finished", complete=_send(start, _inbox(orders), say))
    except BaseException as error:  # SystemExit too: whatever W&B does becomes one line
        lasting = isinstance(error, TroubleError) and not error.may_return
        say(event="failed", reason=_one_line(error), may_return=not lasting)
    # W&B's own handlers at exit wait for its service, which ends with this process.
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


def _send(start: Mapping[str, Any], inbox: queue.SimpleQueue[dict[str, Any]], say: Answers) -> bool:
    """Starts W&B, follows metrics.jsonl until the training ends, and returns whether all was sent."""
    sys.argv = list(start["argv"])  # what W&B shows as the run's command
    import wandb

    settings = wandb.Settings(
        **start["settings"],
        stop_fn=lambda: say(event="stop"),
        silent=True,
        console="off",
        program=sys.argv[0],
        x_stats_pid=os.getppid(),
        finish_timeout_raises=True,
    )
    run = _begin(wandb, start, settings)
    run.config.update(start["config"], allow_val_change=True)
    say(event="ready", folder=run.settings.sync_dir)
    _watch_server(run.settings, start["init"]["mode"], start["watch"], say)
    # A resumed run goes on behind the last step that the server has; one that starts is sent from the first line.
    first = run.step
    lines = follow(Path(start["metrics"]))
    while True:
        ending = _ending(inbox, start["poll"])
        for row in next(lines):
            if row["step"] >= first:
                run.log(numbers(row), step=row["step"])
        if ending is not None:
            break
    if ending["preempted"]:
        run.mark_preempting()
    try:
        run.finish(exit_code=ending["exit_code"])
    except TimeoutError:
        return False
    return True


def _begin(wandb: Any, start: Mapping[str, Any], settings: Any) -> Any:
    """Starts a W&B run. Raises TroubleError where the server is why it cannot."""
    try:
        return wandb.init(**start["init"], settings=settings)
    except Exception as error:
        if start["init"]["mode"] == "offline":
            raise
        # Of most troubles the client says no more than that its deadline has passed.
        trouble = _trouble(wandb.setup().settings, start["watch"]["timeout"] / 2)
        raise trouble or TroubleError(_one_line(error), may_return=False) from None


def follow(file: Path) -> Iterator[list[dict[str, Any]]]:
    """Yields, whenever it is asked, the whole lines that a file of JSON lines has got since. Skips what is no JSON."""
    with file.open("rb") as stream:
        rest = b""
        while True:
            *whole, rest = (rest + stream.read()).split(b"\n")
            yield list(_rows(whole))


def _rows(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            yield row


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers of a line under `KIND/NAME`; a value that was not finite is null in the file and NaN here."""
    kind = row.get("kind", "train")
    return {
        f"{kind}/{name}": float("nan") if value is None else value
        for name, value in row.items()
        if name not in ("step", "kind") and (value is None or isinstance(value, int | float))
    }


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    if isinstance(error, TroubleError):
        return lines[0]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


# ---------------------------------------------------------------- pipes


def _take_over_pipes() -> tuple[IO[str], IO[str]]:
    """Returns streams on this process's input and output, and points the standard ones at nothing.

    W&B and its service print there, and a service that outlives this process must not hold the pipes open.
    """
    orders, answers = (os.dup(number) for number in (0, 1))
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    return os.fdopen(orders, encoding="utf-8"), os.fdopen(answers, "w", encoding="utf-8")


def _inbox(orders: IO[str]) -> queue.SimpleQueue[dict[str, Any]]:
    """Returns a queue that gets how the training ended, `KILLED` where the pipe closes before it is told."""
    inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def read() -> None:
        line = orders.readline()
        inbox.put(json.loads(line) if line.endswith("\n") else KILLED)

    threading.Thread(target=read, daemon=True).start()
    return inbox


def _ending(inbox: queue.SimpleQueue[dict[str, Any]], seconds: float) -> dict[str, Any] | None:
    try:
        return inbox.get(timeout=seconds)
    except queue.Empty:
        return None


# ---------------------------------------------------------------- a server that is away


class TroubleError(Exception):
    """Why the server cannot be used; `may_return` tells whether waiting may help."""

    def __init__(self, reason: str, *, may_return: bool = True):
        super().__init__(reason)
        self.may_return = may_return


def _watch_server(settings: Any, mode: str, every: Mapping[str, Any], say: Answers) -> None:
    """Starts a thread that says when the server stops answering or, to an offline log, answers again."""
    if mode != "offline":
        threading.Thread(target=_watch_for_silence, args=(settings, every, say), daemon=True).start()
    elif every["back"] is not None:
        threading.Thread(target=_watch_for_return, args=(settings, every, say), daemon=True).start()


def _watch_for_silence(settings: Any, every: Mapping[str, Any], say: Answers) -> None:
    """Asks until the server has failed to answer twice in a row; the client itself would try for hours, and silently.

    No failure counts before a first answer: where this way to the server is barred, it says nothing of the client's.
    """
    answered, failures = False, 0
    while True:
        trouble = _trouble(settings, every["timeout"])
        if trouble is None:
            answered, failures = True, 0
        elif answered:
            failures += 1
            if failures == 2:
                say(event="silent", reason=_one_line(trouble), may_return=trouble.may_return)
                return
        time.sleep(every["again"] if failures else every["interval"])


def _watch_for_return(settings: Any, every: Mapping[str, Any], say: Answers) -> None:
    """Asks until the server answers."""
    while True:
        time.sleep(every["back"])
        if _trouble(settings, every["timeout"]) is None:
            say(event="answers")
            return


def _trouble(settings: Any, timeout: float) -> TroubleError | None:
    """Asks the server who we are; returns None for an answer, and for none what it does instead."""
    url, key = settings.base_url, os.environ.get("WANDB_API_KEY") or settings.api_key
    query = json.dumps({"query": "query Viewer { viewer { id } }"}).encode()
    request = urllib.request.Request(f"{url}/graphql", query, {"Content-Type": "application/json"})
    if key:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"api:{key}".encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return TroubleError(f"{url} refuses the key, HTTP {error.code}", may_return=False)
        return TroubleError(f"{url} answers HTTP {error.code}") if error.code >= 500 else None
    except TimeoutError:
        return TroubleError(f"{url} does not answer")
    except (OSError, ValueError) as error:
        return TroubleError(f"{url} cannot be reached, {getattr(error, 'reason', error)}")
    return None


if __name__ == "__main__":
    main()
