"""Kills a small training at each of its file-system operations in turn and gives the same command again.

An audit hook sees the operations, so kill number n is always at the same place. Every attempt is a fork of a process
that has imported everything and computed nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

import train as script
from mets3d.files import read_json
from mets3d.rundir import CheckpointDir, RunDir
from tests.builders.runs import write_config

# What a training imports on its way, which every fork would do again.
for module in ("torch._dynamo", "scipy.fft", "scipy.optimize", "scipy.sparse.csgraph", "mets3d.evaluation.lesions",
               "mets3d.losses.hausdorff", "mets3d.training.loop", "mets3d.training.session"):  # fmt: skip
    import_module(module)

STEPS = 4
CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.copyfile")
OF_CLOCK = ("samples_per_second", "seconds", "data_wait", "memory_gb")  # differ between runs
NO_SUCH_KILL = "the run ended before"


@dataclass(frozen=True)
class Outcome:
    """A kill: its number and place, and what is not as in the run that was left alone, nothing if all is well."""

    scenario: str
    number: int
    place: str
    faults: list[str]


@dataclass(frozen=True)
class Scenario:
    """A run that is killed: its settings, and what is done to the run directory before it starts."""

    name: str
    words: tuple[str, ...]
    before: Callable[[Path, Path], None] = lambda _config, _runs: None


def _stopped_before_validation(config: Path, runs: Path) -> None:
    """A run of which SIGTERM came in step 2, whose only checkpoint lacks the validation and will be replaced."""
    code, text = attempt(config, runs, "run", REPLACED.words, stop_at=2)
    assert code == 128 + signal.SIGTERM, text


def _newest_damaged(config: Path, runs: Path) -> None:
    """A run that was killed after step 3, and whose newest checkpoint has lost its optimizer."""
    code, text = attempt(config, runs, "run", DAMAGED.words, stop_at=3)
    assert code == 128 + signal.SIGTERM, text
    CheckpointDir(RunDir(runs / "run").checkpoint(3)).optimizer.write_bytes(b"")


FRESH = Scenario("fresh", ("--validate.every=2", "--train.checkpoint_every=1", "--train.keep_checkpoints=2"))
REPLACED = Scenario(
    "replaced",
    ("--validate.every=2", "--train.checkpoint_every=4", "--train.keep_checkpoints=1"),
    _stopped_before_validation,
)
DAMAGED = Scenario(
    "damaged", ("--validate.every=4", "--train.checkpoint_every=1", "--train.keep_checkpoints=3"), _newest_damaged
)
SCENARIOS = (FRESH, REPLACED, DAMAGED)


def sweep(store: Path, folder: Path, scenario: Scenario, *, stride: int, first: int = 1) -> Iterator[Outcome]:
    """Yields the outcome of kill `first`, `first` + `stride`, ... until the run ends before the kill."""
    config = configuration(folder, store)
    prepared = folder / "prepared"
    scenario.before(config, prepared)
    prepared.mkdir(exist_ok=True)
    alone = copied(prepared, folder / "alone")
    code, text = attempt(config, alone, "run", scenario.words)
    assert code == 0, text
    expected = fingerprint(alone / "run")
    number = first
    while True:
        runs = copied(prepared, folder / "killed")
        code, text = attempt(config, runs, "run", scenario.words, kill_at=number)
        if code != -signal.SIGKILL:
            if code != 0:
                yield Outcome(scenario.name, number, NO_SUCH_KILL, [f"exit code {code}: {text[-400:]}"])
            return
        place = text.rpartition("KILLED AT ")[2].strip()
        code, text = attempt(config, runs, "run", scenario.words)
        faults = [f"exit code {code}: {text[-400:]}"] if code else differences(expected, fingerprint(runs / "run"))
        yield Outcome(scenario.name, number, place, faults)
        number += stride


def configuration(folder: Path, store: Path) -> Path:
    """Writes the settings of a run of `STEPS` steps that takes a second."""
    sections = {"model": {"mode": "cnn"}, "validate": {"cases": 1}, "predict": {"overlap": 0.0}}
    return write_config(folder, store, train={"steps": STEPS}, **sections)


def copied(source: Path, target: Path) -> Path:
    """Copies a folder over another one."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return target


# ---------------------------------------------------------------- one attempt


def attempt(
    config: Path, runs: Path, name: str, words: tuple[str, ...], *, kill_at: int = 0, stop_at: int = 0
) -> tuple[int, str]:
    """Trains in a fork; returns its exit code, negative after a signal, and what it printed.

    kill_at: number of the operation below `runs` before which the fork is killed. stop_at: the step, counted from 1, in
    which it gets a SIGTERM.
    """
    log = runs.parent / "output.txt"
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        code = 99
        try:
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            code = _train(config, runs, name, words, kill_at, stop_at)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), log.read_text(encoding="utf-8", errors="replace")


def _train(config: Path, runs: Path, name: str, words: tuple[str, ...], kill_at: int, stop_at: int) -> int:
    from mets3d.training import loop

    torch.set_num_threads(1)
    if stop_at:
        original = loop.train_step

        def stopping(session: Any, step: int, *arguments: Any) -> Any:
            if step + 1 == stop_at:
                signal.raise_signal(signal.SIGTERM)
            return original(session, step, *arguments)

        loop.train_step = stopping
    sys.argv = ["train.py", "--config", str(config), f"--output={runs}", f"--name={name}", *words]
    if kill_at:
        sys.addaudithook(Killer(runs, kill_at))
    return exit_code(script.main)


def exit_code(program: Callable[[], int]) -> int:
    """Runs a program in this process; returns what it would end with, and prints the traceback of an exception."""
    try:
        return program()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return 1


class Killer:
    """An audit hook that kills its process before the file-system operation of a number."""

    def __init__(self, below: Path, number: int):
        self.below, self.left = str(below), number

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.counts(event, arguments):
            return
        self.left -= 1
        if self.left == 0:
            shown = ", ".join(str(argument).replace(self.below, "") for argument in arguments[:2])
            os.write(2, f"KILLED AT {event} {shown}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def counts(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "open":
            path, mode, flags = arguments
            writes = any(letter in mode for letter in "wxa+") if isinstance(mode, str) else flags & os.O_ACCMODE
            return bool(writes) and self.below in str(path)
        if event not in CHANGES:
            return False
        # Deleting a tree names its entries by a folder's descriptor; nothing else deletes by a plain name here.
        return any(self.below in str(argument) for argument in arguments) or event in ("os.remove", "os.rmdir")


# ---------------------------------------------------------------- what is left


def fingerprint(folder: Path) -> dict[str, Any]:
    """Returns all that a finished run has left and that no clock decides."""
    run = RunDir(folder)
    last = CheckpointDir(run.checkpoint(STEPS))
    rows = [{name: value for name, value in row.items() if name not in OF_CLOCK} for row in run.read_metrics()]
    return {
        "weights": load_file(last.weights),
        "exported weights": load_file(run.weights),
        "optimizer": _tensors(torch.load(last.optimizer, weights_only=True)["state"]),
        "progress": read_json(last.progress),
        "metrics": json.dumps(rows),
        "pointers": [run.pointer("last"), run.pointer("best")],
        "files": sorted(str(file.relative_to(folder)) for file in folder.rglob("*")),
    }


def _tensors(state: dict[int, dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {f"{index}.{name}": value for index, entry in state.items() for name, value in entry.items()}


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Lists what differs between two fingerprints; tensors are compared bit by bit."""
    faults = []
    for part, value in expected.items():
        if isinstance(next(iter(value.values()), None) if isinstance(value, dict) else None, torch.Tensor):
            unequal = [name for name in value if not torch.equal(value[name], found[part][name])]
            if unequal:
                faults.append(f"{part}: {len(unequal)} of {len(value)} tensors differ")
        elif value != found[part]:
            faults.append(f"{part}: {found[part]} instead of {value}")
    return faults
