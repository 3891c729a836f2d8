"""Trains very many tiny steps and looks on the way whether memory, open files or threads grow."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.builders.runs import write_config
from tests.faults.stages import Stage, begin, end

LOOKS = 20  # on the way; the first quarter of them has caches to fill
ROOM_MB = 1.0  # between two quarters; of 100,000 steps, 40 bytes a step


@dataclass(frozen=True)
class Look:
    """What a training holds after a number of steps."""

    step: int
    memory_mb: float
    handles: int
    threads: int

    def __str__(self) -> str:
        return f"| {self.step} | {self.memory_mb:.0f} | {self.handles} | {self.threads} |"


def many_steps(store: Path, folder: Path, steps: int, seconds: float) -> int:
    """Trains so many tiny steps, or as many as fit in the time, and prints what it holds; 1 if any of that grows."""
    config = write_config(
        folder, store, name="run", data={"patch": [8, 8, 8], "workers": 0}, train={"steps": steps, "batch_size": 1,
        "checkpoint_every": max(1, steps // LOOKS)}, validate={"every": steps}, track={"console_every": steps},
        model={"mode": "cnn", "features": 2, "max_features": 4},
    )  # fmt: skip
    print("| step | memory, MB | handles | threads |\n|---|---|---|---|", flush=True)
    started = begin(Stage("train", ("train.py", "--config", str(config)), None, jobs=False), folder / "place")
    log = folder / "runs" / "run" / "metrics.jsonl"
    looks = _looks(psutil.Process(started[0]), log, steps, seconds)
    code, text = end(started)
    if code not in (0, 128 + signal.SIGTERM) or len(looks) < 4:
        print(f"exit code {code}, {len(looks)} looks: {text[-500:]}")
        return 1
    grows = growing(looks)
    said = f"growing: {', '.join(grows)}" if grows else "memory, handles and threads are flat"
    print(f"\n{last_step(log):,} of {steps:,} steps: {said}")
    return int(bool(grows))


def growing(looks: Sequence[Look]) -> list[str]:
    """Lists what the last quarter of the looks holds more of than the second, by the lowest of each.

    Memory grows where it is more in each quarter: once it may rise, by what the allocator keeps.
    """
    count = len(looks)
    quarters = [looks[part * count // 4 : (part + 1) * count // 4] for part in (1, 2, 3)]
    second, third, last = (min(look.memory_mb for look in quarter) for quarter in quarters)
    grows = ["memory"] if third > second + ROOM_MB and last > third + ROOM_MB else []
    for name in ("handles", "threads"):
        second, _, last = (min(getattr(look, name) for look in quarter) for quarter in quarters)
        grows += [name] if last > second else []
    return grows


def _looks(process: psutil.Process, log: Path, steps: int, seconds: float) -> list[Look]:
    """Looks at even times or step counts, whichever comes first, until the training ends or its time is over."""
    started, looks, next_step, next_time = time.monotonic(), list[Look](), steps // LOOKS, seconds / LOOKS
    while process.status() != psutil.STATUS_ZOMBIE:
        passed, step = time.monotonic() - started, last_step(log)
        if step >= next_step or passed >= next_time:
            try:
                memory_mb = process.memory_info().rss / 1e6
                looks.append(Look(step, memory_mb, process.num_fds(), process.num_threads()))
            except psutil.Error:  # it has just ended
                break
            print(looks[-1], flush=True)
            next_step, next_time = step + steps // LOOKS, passed + seconds / LOOKS
        if passed >= seconds:
            process.send_signal(signal.SIGTERM)
            break
        time.sleep(0.5)
    return looks


def last_step(log: Path) -> int:
    """Returns the step of the last whole line of a run's metrics."""
    if not log.exists():
        return 0
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 4000))
        lines = stream.read().split(b"\n")[:-1]
    return int(json.loads(lines[-1])["step"]) if len(lines) > 1 else 0
