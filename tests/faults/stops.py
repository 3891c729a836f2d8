"""Stops a training by every signal through every launcher, and looks at what it leaves: `python -m tests.faults stops`.

A run has two loader workers in each process. The signal goes to the process that a user started alone, to its whole
process group, as a terminal, `tini -g` and schedulers do it, or to the last training process alone. Torch's launcher
puts its children into sessions of their own, so a group signal does not reach these.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from safetensors.torch import load_file
from torch import Tensor

from mets3d.files import read_json
from mets3d.processes import STOP_SIGNALS
from mets3d.rundir import CheckpointDir, RunDir
from tests.builders.runs import LAUNCH, ROOT, train, write_config

SECONDS = 120  # for anything that is waited for
STEPS = 150


@dataclass(frozen=True)
class Launcher:
    """How a training is started. own: it passes signals and exit codes on, as ours does."""

    words: list[str]
    processes: int
    own: bool
    variables: tuple[tuple[str, str], ...] = ()


PYTHON = [sys.executable]
GLOO = (("ACCELERATE_USE_CPU", "true"),)
LAUNCHERS = {
    "python": Launcher([*PYTHON, "train.py"], 1, True),
    "accelerate": Launcher([*LAUNCH, "--cpu", "--num_processes", "1", "train.py"], 1, False),
    "accelerate 2": Launcher(
        [*LAUNCH, "--multi_gpu", "--num_processes", "2", "--main_process_port", "0", "train.py"], 2, False, GLOO
    ),
    "torchrun 2": Launcher(
        [*PYTHON, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "train.py"], 2, False, GLOO
    ),
    "mets3d train": Launcher([*PYTHON, "-m", "mets3d", "train", "--launch", "cpu"], 1, True),
    "mets3d train 2": Launcher([*PYTHON, "-m", "mets3d", "train", "--launch", "cpu_ddp"], 2, True),
    "mets3d.launch 2": Launcher(
        [*PYTHON, "-m", "mets3d.launch", "--config_file", "cpu_ddp", "--main_process_port", "0", "train.py"], 2, True
    ),
}  # fmt: skip
PAIRS = [
    (name, number, whom)
    for name, launcher in LAUNCHERS.items()
    for number in STOP_SIGNALS
    for whom in (("alone", "group", "rank") if launcher.processes > 1 else ("alone", "group"))
]


def configuration(folder: Path, store: Path, *, workers: int = 2) -> Path:
    """A run of some seconds with workers of its own a process, whose checkpoints are those of its stops."""
    return write_config(
        folder,
        store,
        data={"workers": workers},
        train={"steps": STEPS, "schedule_steps": STEPS, "batch_size": 2, "checkpoint_every": 10_000},
        validate={"every": 10_000},
    )


@contextmanager
def running(launcher: Launcher, config: Path, errors: Path) -> Iterator[psutil.Process]:
    """Starts a training in a process group of its own; whatever is left of it is killed at the end."""
    with errors.open("w", encoding="utf-8") as stream:
        started = psutil.Popen(
            [*launcher.words, "--config", str(config)],
            cwd=ROOT,
            env={**os.environ, "WANDB_MODE": "disabled", **dict(launcher.variables)},
            stdout=subprocess.DEVNULL,
            stderr=stream,
            start_new_session=True,
            preexec_fn=_hear_everything,
        )
        family = {started}
        try:
            yield started
        finally:
            with suppress(psutil.NoSuchProcess):
                family |= set(started.children(recursive=True))
            for process in family:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            started.wait()


def _hear_everything() -> None:
    """A shell's background job inherits that SIGINT is ignored."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def wait_for_steps(run: RunDir, count: int, started: psutil.Process) -> None:
    """Waits until so many steps are logged."""
    end = time.monotonic() + SECONDS
    while not (run.metrics.exists() and run.metrics.read_bytes().count(b"\n") >= count):
        assert time.monotonic() < end, "no step was made"
        assert started.is_running(), "the training ended before its first step"
        assert started.status() != psutil.STATUS_ZOMBIE, "the training ended before its first step"
        time.sleep(0.05)


def stopped(launcher: Launcher, number: int, whom: str, config: Path) -> str:
    """Stops a training and returns what is wrong with what it left, empty if nothing is."""
    run = RunDir(config.parent / "runs" / "run")
    errors = config.parent / "errors.txt"
    with running(launcher, config, errors) as started:
        wait_for_steps(run, 3, started)
        family = [started, *started.children(recursive=True)]
        if whom == "rank":
            trainings(started)[-1].send_signal(number)
        else:
            (os.killpg if whom == "group" else os.kill)(started.pid, number)
        code = started.wait(SECONDS)
        _, alive = psutil.wait_procs(family, timeout=SECONDS)
    faults = [f"{len(alive)} processes are left"] if alive else []
    faults += _faults(run, number, code if launcher.own else None, foreign=not launcher.own)
    if launcher.own and "Traceback" in errors.read_text(encoding="utf-8"):
        faults.append("a traceback was printed")
    return "; ".join(faults)


def trainings(started: psutil.Process) -> list[psutil.Process]:
    return [each for each in started.children() if "train.py" in " ".join(each.cmdline())]


def _faults(run: RunDir, number: int, code: int | None, *, foreign: bool) -> list[str]:
    faults = whole(run)
    noted = read_json(run.environment).get("exit_code")
    # A foreign launcher makes SIGTERM of what it gets, or dies, upon which the kernel sends SIGTERM.
    if noted not in ({128 + number, 128 + signal.SIGTERM} if foreign else {128 + number}):
        faults.append(f"environment.json says {noted}")
    if code not in (None, 128 + number):
        faults.append(f"exit code {code}")
    return faults


def whole(run: RunDir) -> list[str]:
    """What is wrong with the one checkpoint that a stop leaves: it must be of the last step in the log."""
    steps = run.checkpoint_steps()
    logged = [row["step"] for row in run.read_metrics()]
    if len(steps) != 1 or steps[0] >= STEPS:
        return [f"checkpoints {steps}, expected one before the end"]
    if logged != list(range(1, steps[0] + 1)):
        return [f"the checkpoint is of step {steps[0]}, the log goes to {logged[-1]}"]
    return [] if load_file(CheckpointDir(run.checkpoint(steps[0])).weights) else ["the checkpoint is empty"]


def finished(config: Path, *, steps: int = STEPS) -> dict[str, Tensor]:
    """Gives the command again, in this process, and returns the weights of the run's end, or after so many steps."""
    with redirect_stdout(io.StringIO()):
        assert train(config, "--data.workers=0", f"--train.steps={steps}") == 0
    return load_file(RunDir(config.parent / "runs" / "run").weights)


def differing(first: dict[str, Tensor], second: dict[str, Tensor]) -> list[str]:
    """The names of tensors that are not bit-equal."""
    return [name for name in first.keys() | second.keys() if not torch.equal(first[name], second[name])]


# ---------------------------------------------------------------- losses


def worker_killed(started: psutil.Process, _store: Path) -> None:
    """The system's memory killer takes one loader worker."""
    workers = [each for each in started.children(recursive=True) if "spawn_main" in " ".join(each.cmdline())]
    workers[0].kill()


def store_gone(_started: psutil.Process, store: Path) -> None:
    """Every case of the store is removed."""
    for file in (store / "cases").iterdir():
        file.unlink()


LOSSES = {
    "worker killed": (worker_killed, "a loader worker was killed, most likely by the system because memory ran out"),
    "store gone": (store_gone, "this case of the store is gone"),
}


def lost(launcher: Launcher, loss: str, config: Path, store: Path) -> str:
    """Takes something from a training and returns what is wrong with how it ended, empty if nothing is."""
    take, expected = LOSSES[loss]
    run = RunDir(config.parent / "runs" / "run")
    errors = config.parent / "errors.txt"
    with running(launcher, config, errors) as started:
        wait_for_steps(run, 3, started)
        family = [started, *started.children(recursive=True)]
        take(started, store)
        code = started.wait(SECONDS)
        _, alive = psutil.wait_procs(family, timeout=SECONDS)
    faults = [f"{len(alive)} processes are left"] if alive else []
    faults += whole(run)
    if read_json(run.environment).get("exit_code") != 1:
        faults.append(f"environment.json says {read_json(run.environment).get('exit_code')}")
    if code != 1:
        faults.append(f"exit code {code}")
    text = errors.read_text(encoding="utf-8")
    # A foreign launcher adds its own traceback.
    if text.count(expected) != 1 or text.count("train.py: ") != 1 or (launcher.own and "Traceback" in text):
        faults.append(f"expected one message, found {text!r}")
    return "; ".join(faults)


# ---------------------------------------------------------------- the long form


def table(store: Path, folder: Path) -> int:
    """Prints a line for each stop by each signal through each launcher, and each loss; 1 if anything is lost."""
    started, bad = time.monotonic(), 0
    (folder / "whole").mkdir()
    weights = finished(configuration(folder / "whole", store))
    cases: list[tuple[str, Any, str | None]] = [
        *PAIRS, *((name, loss, None) for name in LAUNCHERS for loss in LOSSES)
    ]  # fmt: skip
    for count, (name, what, whom) in enumerate(cases):
        place = folder / str(count)
        own = place / "store"
        shutil.copytree(store, own)
        config = configuration(place, own)
        if whom is None:
            label, faults = what, lost(LAUNCHERS[name], what, config, own)
        else:
            label, faults = f"{signal.Signals(what).name} {whom}", stopped(LAUNCHERS[name], what, whom, config)
        if (
            not faults
            and what != "store gone"
            and LAUNCHERS[name].processes == 1
            and differing(finished(config), weights)
        ):
            faults = "the resumed run ends with other weights than an uninterrupted one"
        bad += bool(faults)
        print(f"{name:16} {label:16} {faults or 'nothing lost'}", flush=True)
    print(f"{len(cases)} runs, {bad} lost something, {time.monotonic() - started:.0f} s", flush=True)
    return int(bad > 0)
