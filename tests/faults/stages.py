"""Runs every stage as often as a table of faults needs, each time in a fork that has imported everything."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

import train as script
from mets3d.__main__ import main as mets3d
from mets3d.files import read_json
from tests.builders.runs import write_config
from tests.faults.kills import copied, differences, exit_code
from tests.faults.kills import fingerprint as of_training

# What the stages import on their way, which every fork would do again.
for module in (
    *("data.preprocess", "inference.predict", "evaluation.evaluate", "statistics.cohort"),
    *("reporting.page", "reporting.read_run"),
):
    import_module(f"mets3d.{module}")
import_module("matplotlib.pyplot")

SECONDS = 300  # for one call, on a machine that has much else to do
NEW_NAMESPACE = 0x00020000  # CLONE_NEWNS of linux/sched.h
MINUTE = re.compile(rb"20\d\d-\d\d-\d\d \d\d:\d\d")
WORDS = ("--validate.every=4", "--train.checkpoint_every=2", "--train.keep_checkpoints=2")


@dataclass(frozen=True)
class Stage:
    """A command, and what lies where it writes before it is given; nothing if `prepared` is None."""

    name: str
    words: tuple[str, ...]
    prepared: Path | None
    jobs: bool = True  # it takes --jobs


def stages(folder: Path, store: Path, names: Collection[str]) -> dict[str, Stage]:
    """Makes what stages of these names need, by the stages before them; all of them write below `folder/place`."""
    place, ready = folder / "place", folder / "ready"
    data, run = str(store.parent / "data"), str(place / "run")
    config = str(
        write_config(
            folder, store, output=str(place), name="run", train={"steps": 4}, model={"mode": "cnn"},
            predict={"overlap": 0.0},
        )
    )  # fmt: skip
    scores = f"{run}/scores.csv"
    table = [
        Stage("preprocess", ("preprocess", data, str(place / "store"), "--config", config), None),
        Stage("train", ("train.py", "--config", config, *WORDS), None, jobs=False),
        Stage("predict", ("predict", run, data, "--held-out"), ready / "predict", jobs=False),
        Stage("evaluate", ("evaluate", f"{run}/predictions", data, "--out", scores), ready / "evaluate"),
        Stage("report", ("report", run, "--out", f"{run}/report"), ready / "report"),
    ]
    place.mkdir()
    last = max(number for number, stage in enumerate(table) if stage.name in names)
    for stage, after in pairwise(table[1 : last + 1]):
        code, text = call(stage, place)
        assert code == 0, text
        assert after.prepared is not None
        copied(place, after.prepared)
    return {stage.name: stage for stage in table if stage.name in names}


# ---------------------------------------------------------------- one call


def begin(
    stage: Stage, place: Path, *, hook: Any = None, mount: str = "", jobs: int = 1, user: int | None = None
) -> tuple[int, Path]:
    """Starts a stage in a fork; returns its number and the file of what it prints.

    hook: an audit hook of the fork. mount: a shell command that gives it a file system of its own. user: as whom it
    runs.
    """
    log = place.with_name(f"output-{time.monotonic_ns()}.txt")
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child, log
    code = 99
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = sys.stderr = os.fdopen(output, "w", encoding="utf-8", buffering=1)  # whatever they were
        torch.set_num_threads(1)
        if mount:
            new_namespace(mount)
        if user is not None:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
        if hook is not None:
            sys.addaudithook(hook)
        code = _run(stage, [*stage.words, "--jobs", str(jobs)] if stage.jobs else [*stage.words])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(stage: Stage, words: list[str]) -> int:
    if stage.name != "train":
        return exit_code(lambda: mets3d(words))
    sys.argv = words
    return exit_code(script.main)


def end(started: tuple[int, Path]) -> tuple[int, str]:
    """Waits for a call; returns its exit code, negative after a signal, and what it printed."""
    child, log = started
    stop = time.monotonic() + SECONDS
    while not (found := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > stop:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return 98, f"hangs: killed after {SECONDS} s"
        time.sleep(0.005)
    text = log.read_text(encoding="utf-8", errors="replace")
    log.unlink()
    return os.waitstatus_to_exitcode(found[1]), text


def call(stage: Stage, place: Path, **how: Any) -> tuple[int, str]:
    """Runs a stage to its end; `how` is that of `begin`."""
    return end(begin(stage, place, **how))


# ---------------------------------------------------------------- file systems of its own


def new_namespace(command: str) -> None:
    """Gives this process its own mounts, and runs a shell command there."""
    if ctypes.CDLL(None, use_errno=True).unshare(NEW_NAMESPACE):
        raise OSError(ctypes.get_errno(), "a namespace of its own is refused")
    subprocess.run(["sh", "-c", f"mount --make-rprivate / && {command}"], check=True, capture_output=True)


def can_mount() -> bool:
    """Returns whether this machine lets a process of this one have its own file systems."""
    return not apart(list, "mount -t tmpfs -o size=1m tmpfs /dev/shm")


def apart(work: Callable[[], list[str]], mount: str) -> list[str]:
    """Returns what `work` returns in a fork with mounts of its own; what it raises is an entry of the list."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            new_namespace(mount)
            found = work()
        except BaseException as error:
            found = [f"{type(error).__name__}: {error}"]
        with os.fdopen(writing, "w") as stream:
            stream.write(json.dumps(found))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        answer = stream.read()
    os.waitpid(child, 0)
    return list(json.loads(answer))


# ---------------------------------------------------------------- what is left


@dataclass(frozen=True)
class Bench:
    """A stage, where it writes, and what it leaves there undisturbed: content by name, "" where two such calls differ.

    Of a training it is what `tests.faults.kills` compares.
    """

    stage: Stage
    place: Path
    expected: dict[str, Any]

    def call(self, **how: Any) -> tuple[int, str]:
        """Runs the stage to its end; `how` is that of `begin`."""
        return call(self.stage, self.place, **how)

    def prepare(self) -> None:
        """Lays out what the stage finds, and nothing else."""
        prepare(self.stage, self.place)

    def lost(self) -> list[str]:
        """Gives the command again, undisturbed, and returns what is not as if nothing had been."""
        code, text = self.call()
        return [f"given again it ends with {code}: {text[-300:]}"] if code else self.differences()

    def differences(self, *, lock: bool = True) -> list[str]:
        """Returns what lies there otherwise than expected. `lock`: also the lock of a training."""
        try:
            found = left(self.stage, self.place)
        except OSError as error:
            return [str(error)]
        if self.stage.name == "train":
            found["files"] = [file for file in found["files"] if lock or file != "train.lock"]
            return differences(self.expected, found)
        return [
            *(f"{name} is gone" for name in self.expected if name not in found),
            *(f"{name} is there" for name in found if name not in self.expected),
            *(f"{name} differs" for name in self.expected if name in found and not self._fits(name, found[name])),
        ]

    def half_written(self) -> list[str]:
        """Returns the files under their final names whose content is neither what was there nor what comes.

        Whole JSON is whole: records grow from case to case.
        """
        if self.stage.name == "train":  # its checkpoints have manifests, by which the next call knows them
            return []
        before = {} if self.stage.prepared is None else hashes(self.stage.prepared)
        found = {name: content for name, content in hashes(self.place).items() if ".tmp." not in name}
        return [
            f"{name} is half-written"
            for name, content in found.items()
            if name in self.expected
            and content != before.get(name)
            and not self._fits(name, content)
            and not (name.endswith(".json") and _parses(self.place / name))
        ]

    def _fits(self, name: str, content: str) -> bool:
        return self.expected[name] in ("", content)


def bench(stage: Stage, place: Path) -> Bench:
    """Runs a stage twice, undisturbed, to see what it leaves."""
    found = []
    for _ in range(1 if stage.name == "train" else 2):
        prepare(stage, place)
        code, text = call(stage, place)
        assert code == 0, text
        found.append(left(stage, place))
    first, second = found[0], found[-1]
    if stage.name == "train":
        return Bench(stage, place, first)
    return Bench(stage, place, {name: each if second.get(name) == each else "" for name, each in first.items()})


def prepare(stage: Stage, place: Path) -> None:
    """Lays out in `place` what a stage finds, and nothing else. The folder itself may be a mount, and stays."""
    place.mkdir(exist_ok=True)
    for path in place.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if stage.prepared is not None:
        shutil.copytree(stage.prepared, place, dirs_exist_ok=True)


def left(stage: Stage, place: Path) -> dict[str, Any]:
    """Returns what a stage has left: of a training what no clock decides, else the hash of every file."""
    return of_training(place / "run") if stage.name == "train" else hashes(place)


def _parses(file: Path) -> bool:
    try:
        return bool(read_json(file))
    except ValueError:
        return False


def hashes(folder: Path) -> dict[str, str]:
    """Returns the hash of every file by its name below a folder; of a page without the minute it was made in."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): _hash(file) for file in files}


def _hash(file: Path) -> str:
    content = file.read_bytes()
    return hashlib.sha256(MINUTE.sub(b"", content) if file.suffix == ".html" else content).hexdigest()
