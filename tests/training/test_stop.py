"""Signals: a wish to stop at any moment of a training, and a second one that leaves at once."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mets3d.files import read_json
from mets3d.processes import STOP_SIGNALS
from mets3d.rundir import RunDir
from mets3d.training import checkpoint, launch, loop, session, stop
from mets3d.training.stop import exit_code_of, listening
from mets3d.training.track.tracker import Tracker
from mets3d.training.validation import HeldOutCases
from tests.builders.runs import train, write_config


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_is_a_wish_and_its_echoes_change_nothing(number: signal.Signals) -> None:
    before = {each: signal.getsignal(each) for each in STOP_SIGNALS}
    with listening() as wish:
        assert not wish
        signal.raise_signal(number)
        assert wish
        for again in STOP_SIGNALS:  # the launcher's death, the process group
            signal.raise_signal(again)
        assert exit_code_of(wish.signal) == 128 + number
    assert {each: signal.getsignal(each) for each in STOP_SIGNALS} == before


def test_in_a_notebook_a_second_interrupt_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop, "IMPATIENT_SECONDS", 0.0)
    with listening() as wish:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert wish.signal == signal.SIGINT


def test_what_nohup_and_a_shell_in_the_background_ignore_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with listening() as wish:
            signal.raise_signal(signal.SIGHUP)
            assert not wish
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


IMPATIENT = """
import os, signal, sys, threading, time
from mets3d.training import stop
stop.IMPATIENT_SECONDS = 0.3
with stop.listening(to_the_end=True) as wish:
    wish.last_words = lambda code: print("last words", code, flush=True)
    signal.raise_signal(signal.SIGUSR1)
    signal.raise_signal(signal.SIGHUP)
    print("still here", flush=True)
    time.sleep(0.5)
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
    {busy}
"""


@pytest.mark.parametrize(
    "busy", ["time.sleep(60)", "threading.Lock().acquire(); import ctypes; ctypes.CDLL(None).sleep(60)"]
)
def test_a_second_signal_leaves_at_once_with_the_first_ones_code(busy: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPATIENT.replace("{busy}", busy)],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (128 + signal.SIGUSR1, "still here\nlast words 138\n")
    assert done.stderr == ""


def signal_in(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, number: int) -> None:
    """Sends this process a signal whenever that function is called."""
    original: Callable[..., Any] = getattr(place, name)

    def signalled(*arguments: Any, **options: Any) -> Any:
        signal.raise_signal(number)
        return original(*arguments, **options)

    monkeypatch.setattr(place, name, signalled)


@pytest.mark.parametrize(
    ("place", "name", "steps"),
    [
        (launch, "start", []),  # importing, joining the others
        (session, "prepare_run", []),
        (HeldOutCases, "_scores", [2]),
        (checkpoint, "write", [2]),
    ],
    ids=["start", "preparation", "validation", "checkpoint"],
)
def test_a_signal_at_any_moment_loses_nothing(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, steps: list[int]
) -> None:
    config = write_config(tmp_path, phantom_store, validate={"every": 2, "cases": 2})
    run = RunDir(tmp_path / "runs" / "run")
    with monkeypatch.context() as patched:
        signal_in(patched, place, name, signal.SIGHUP)
        assert train(config) == 128 + signal.SIGHUP
    assert run.checkpoint_steps() == steps
    assert read_json(run.environment)["exit_code"] == 128 + signal.SIGHUP
    assert train(config) == 0
    rows = run.read_metrics()
    assert [row["step"] for row in rows if row["kind"] == "train"] == [1, 2, 3, 4]
    assert [row["step"] for row in rows if row["kind"] == "validation"] == [2, 4]


def test_a_signal_after_the_last_step_comes_too_late(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal_in(monkeypatch, Tracker, "close", signal.SIGTERM)
    assert train(write_config(tmp_path, phantom_store)) == 0
    run = RunDir(tmp_path / "runs" / "run")
    assert run.checkpoint_steps() == [2, 4]
    assert read_json(run.environment)["exit_code"] == 0


def failing_at(step: int, error: Exception, original: Callable[..., Any]) -> Callable[..., Any]:
    def fail(owner: Any, now: int, *arguments: Any) -> Any:
        if now == step:
            raise error
        return original(owner, now, *arguments)

    return fail


@pytest.mark.parametrize("kind", ["memory", "log", "case", "validation"])
def test_an_error_is_one_message_and_a_checkpoint_of_the_steps_before_it(
    tmp_path: Path,
    phantom_store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    import torch

    every = 2 if kind == "validation" else 4
    config = write_config(
        tmp_path, phantom_store, train={"checkpoint_every": 100}, validate={"every": every, "cases": 1}
    )
    run = RunDir(tmp_path / "runs" / "run")
    with monkeypatch.context() as patched:
        if kind == "memory":
            error: Exception = torch.OutOfMemoryError("CUDA out of memory")
            patched.setattr(loop, "train_step", failing_at(2, error, loop.train_step))
        elif kind == "log":
            error = OSError(28, "No space left on device", "metrics.jsonl")
            patched.setattr(Tracker, "train", failing_at(2, error, Tracker.train))
        elif kind == "validation":

            def unreadable(*_arguments: Any) -> Any:
                raise OSError("case.safetensors: Input/output error")

            patched.setattr(HeldOutCases, "_scores", unreadable)
        else:
            from mets3d.data.loader import Samples

            original = Samples.__getitem__

            def gone(samples: Samples, key: tuple[int, int]) -> Any:
                if key[0] == 2:
                    raise FileNotFoundError("this case of the store is gone")
                return original(samples, key)

            patched.setattr(Samples, "__getitem__", gone)
        assert train(config) == 1
    message = capsys.readouterr().err
    expected = {
        "memory": "the device's memory ran out",
        "log": "the disk is full: metrics.jsonl",
        "case": "the store is gone",
        "validation": "case.safetensors: Input/output error",
    }[kind]
    assert message.startswith("train.py: ")
    assert expected in message
    assert "Traceback" not in message
    assert run.checkpoint_steps() == [2]
    record = read_json(run.environment)
    assert record["exit_code"] == 1
    assert "finished" not in record
    assert train(config) == 0
