"""Runs what a source of runs gives, several at once, each in a process of its own; passes a stop on to them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from mets3d.study.folder import State, StudyDir
from mets3d.study.machine import Machine
from mets3d.study.plan import PlannedRun
from mets3d.study.records import outcome
from mets3d.study.work import Work
from mets3d.training.lock import holder_of
from mets3d.training.stop import StopWish
from mets3d.wording import counted

POLL_S = 0.2
LOOK_S = 5.0  # between two looks at whether a run is worth going on with
SAVING_S = 660.0  # for checkpoints after a stop, as the launcher gives a training

Say = Callable[[str], None]


@runtime_checkable
class Source(Protocol):
    """Where runs come from."""

    def take(self) -> PlannedRun | None:
        """Returns the next run, None where there is none."""
        ...

    def hopeless(self, name: str) -> bool:
        """Returns whether a run should be stopped early."""
        ...


@dataclass(frozen=True)
class Workshop:
    """What the runs share. `work`: what is to be done for each; `begin` starts the process of a run."""

    study: StudyDir
    machine: Machine
    work: Callable[[PlannedRun], Work]
    say: Say
    begin: Callable[..., Any] = field(default=subprocess.Popen)


@dataclass
class _Running:
    run: PlannedRun
    process: Any
    gpu: str | None
    log_from: int
    begun: float = field(default_factory=time.monotonic)
    looked: float = field(default_factory=time.monotonic)
    early: bool = False


def run_all(source: Source, shop: Workshop, wish: StopWish) -> None:
    """Runs until the source is empty, or until the wish to stop; each run's state is noted.

    A stop is passed on to the runs, which write checkpoints, and waited for. Whatever raises ends them first.
    """
    running: list[_Running] = []
    passed_on = False
    try:
        while True:
            while not wish and len(running) < shop.machine.jobs:
                run = source.take()
                if run is None or not _is_free(run, shop, wish):
                    break
                running.append(_begun(run, shop, [one.gpu for one in running if one.gpu is not None]))
            if not running:
                return
            if wish and not passed_on:
                shop.say(f"stopping: {counted(len(running), 'run')} told to write a checkpoint")
                _signal(running, wish.signal or signal.SIGTERM)
                passed_on = True
            time.sleep(POLL_S)
            for one in list(running):
                if one.process.poll() is not None:
                    running.remove(one)
                    _settle(one, shop, stopping=bool(wish))
                else:
                    _look(one, source)
    finally:
        _end(running, shop)


def _begun(run: PlannedRun, shop: Workshop, taken: Sequence[str]) -> _Running:
    """Starts the process of a run."""
    study, directory = shop.study, shop.study.run(run.name)
    gpu = shop.machine.free_gpu(taken)
    work = shop.work(run)
    study.note(run.name, State("running"))
    log = study.log(run.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as stream:
        stream.write(f"--- {datetime.now().astimezone():%Y-%m-%d %H:%M:%S}: {' '.join(run.words)}\n".encode())
        stream.flush()
        begin = stream.tell()
        process = shop.begin(
            [sys.executable, "-m", "mets3d.study.work", json.dumps(asdict(work))],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, **shop.machine.environment(gpu)},
            start_new_session=True,  # a terminal's Ctrl-C comes from here alone
        )
    goes_on = bool(directory.checkpoint_steps()) and not work.trained
    where = f" on GPU {gpu}" if gpu is not None else ""
    verb = "is scored" if work.trained else "goes on" if goes_on else "begins"
    shop.say(f"{run.name} {verb}{where}")
    return _Running(run, process, gpu, begin)


def _is_free(run: PlannedRun, shop: Workshop, wish: StopWish) -> bool:
    """Waits while a training of a sweep that was killed writes its checkpoint; False where a stop came first."""
    said = False
    while (holder := holder_of(shop.study.run(run.name).lock)) is not None and not wish:
        if not said:
            shop.say(f"{run.name} is still being trained by {holder}; waiting for its end")
            said = True
        time.sleep(POLL_S)
    return not wish


def _settle(one: _Running, shop: Workshop, *, stopping: bool) -> None:
    code, name = one.process.returncode, one.run.name
    by_signal = code < 0 or code > 128
    if one.early and by_signal:
        state = State("stopped", "early termination: others were better after as many validations")
    elif stopping and by_signal:
        state = State("interrupted")
    else:
        state = outcome(shop.study, name, code, one.log_from)
    shop.study.note(name, state)
    took = f"{(time.monotonic() - one.begun) / 60:.1f} min"
    shop.say(f"{name} {state.state} after {took}" + (f": {state.reason}" if state.reason else ""))


def _look(one: _Running, source: Source) -> None:
    if not one.early and time.monotonic() - one.looked > LOOK_S:
        one.looked = time.monotonic()
        if source.hopeless(one.run.name):
            one.early = True
            one.process.send_signal(signal.SIGTERM)


def _signal(running: Sequence[_Running], number: int) -> None:
    for one in running:
        one.process.send_signal(number)


def _end(running: Sequence[_Running], shop: Workshop) -> None:
    """Ends processes that are left when an error, or a second Ctrl-C, leaves the loop."""
    _signal(running, signal.SIGTERM)
    for one in running:
        try:
            one.process.wait(SAVING_S)
        except subprocess.TimeoutExpired:
            one.process.kill()
        shop.study.note(one.run.name, State("interrupted"))
