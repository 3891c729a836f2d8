"""The hostile day: every stage meets every fault, and the same command given again ends as if nothing had been.

`python -m tests.faults day` prints a table. The faults are made by an audit hook at a stage's file-system operations,
by file systems and users of its own, or by signals. What training does under signals and damage has tables of its
own: `stops` and `damage`.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psutil

from tests.faults.kills import Killer
from tests.faults.stages import Bench, Stage, apart, begin, bench, can_mount, end, hashes, stages

NAMES = ("preprocess", "train", "predict", "evaluate", "report")
FULL, DENIED, READ_ONLY = errno.ENOSPC, errno.EACCES, errno.EROFS
SAYS = {FULL: (os.strerror(FULL), "disk is full", "free the disk")}  # else what the system says
TAKES_ROOM = ("open", "os.mkdir", "os.symlink", "os.link", "shutil.copyfile")
SIZES = 8  # of a small disk: no room at all, then each eighth of what the stage needs
NOBODY = 65534
SMALL_SHM = "64m"
MAY_NOT_MOUNT, MAY_NOT_CHANGE_USER = "needs the right to mount", "needs root"


@dataclass
class Cell:
    """What came of one fault in one stage."""

    tried: int = 0
    faults: list[str] = field(default_factory=list)
    skipped: str = ""

    def __str__(self) -> str:
        if self.skipped:
            return self.skipped
        lost = f"{len(self.faults)} lost" if self.faults else "nothing lost"
        return f"{self.tried}: {lost}"


def day(store: Path, folder: Path, *, stride: int = 1, stage: str | None = None, words: str = "", jobs: int = 2) -> int:
    """Prints the table and what was lost; 1 if anything was.

    stride: every Nth operation alone. stage: it alone. words: the faults alone whose names have them.
    """
    started = time.monotonic()
    names = [name for name in NAMES if stage in (None, name)]
    faults = [fault for fault in FAULTS if words in fault]
    folder.chmod(0o755)  # for whom nobody is
    # The longest first: pages take the longest, and kills are the most.
    wanted = [(fault, name) for name in reversed(names) for fault in faults]
    cells: dict[tuple[str, str], Cell] = {}
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(store, folder, names)) as pool:
        for (fault, name), (cell, seconds) in zip(wanted, pool.map(_cell, wanted, [stride] * len(wanted)), strict=True):
            print(f"{fault}, {name}: {cell}, {seconds:.0f} s", file=sys.stderr, flush=True)
            for what in cell.faults:
                print(f"    {what}", file=sys.stderr, flush=True)
            cells[fault, name] = cell
    print(f"| fault | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for fault in faults:
        print(f"| {fault} | {' | '.join(str(cells[fault, name]) for name in names)} |")
    made, lost = sum(cell.tried for cell in cells.values()), sum(len(cell.faults) for cell in cells.values())
    print(f"\n{made} faults made, {lost or 'nothing'} lost, {time.monotonic() - started:.0f} s", flush=True)
    return int(lost > 0)


@dataclass
class Workshop:
    """A process's own copy of all that the stages need."""

    folder: Path
    stages: dict[str, Stage]
    benches: dict[str, Bench] = field(default_factory=dict)


_workshop: list[Workshop] = []


def _begin(store: Path, folder: Path, names: Sequence[str]) -> None:
    own = folder / str(os.getpid())
    own.mkdir()
    _workshop[:] = [Workshop(own, stages(own, store, names))]


def _cell(wanted: tuple[str, str], stride: int) -> tuple[Cell, float]:
    started, shop, (fault, name) = time.monotonic(), _workshop[0], wanted
    if name not in shop.benches:
        shop.benches[name] = bench(shop.stages[name], shop.folder / "place")
    return FAULTS[fault](shop.benches[name], stride), time.monotonic() - started


# ---------------------------------------------------------------- at every operation


class Refuser(Killer):
    """An audit hook that refuses the file-system operations from one number on, as a disk does that is full."""

    def __init__(self, below: Path, number: int, error: int):
        super().__init__(below, number)
        self.error = error

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.counts(event, arguments) or (self.error == FULL and event not in TAKES_ROOM):
            return
        self.left -= 1
        if self.left == 0:
            os.write(2, f"REFUSED AT {event} {arguments[0]}\n".encode())
        if self.left <= 0:
            raise OSError(self.error, os.strerror(self.error), str(arguments[0]))


def _killed(at: Bench, stride: int) -> Cell:
    return _swept(at, stride, lambda number: Killer(at.place, number), "KILLED AT ")


def _refused(error: int) -> Callable[[Bench, int], Cell]:
    return lambda at, stride: _swept(
        at, stride, lambda number: Refuser(at.place, number, error), "REFUSED AT ", *_says(error)
    )


def _swept(at: Bench, stride: int, hook: Callable[[int], Killer], mark: str, *words: str) -> Cell:
    """Makes a fault at each operation in turn, until the stage ends before it."""
    cell = Cell()
    for number in count(1, stride):
        at.prepare()
        code, text = at.call(hook=hook(number))
        if mark not in text:
            return cell
        cell.tried += 1
        text, _, place = text.partition(mark)
        place, _, after = place.partition("\n")
        wrong = at.half_written()
        wrong += _ended(at, code, text + after, *words) if words else []
        wrong += at.lost()
        cell.faults += [f"{number} ({place.replace(str(at.place), '')}): {what}" for what in wrong]
    raise AssertionError("not reached")


def _says(error: int) -> tuple[str, ...]:
    return SAYS.get(error, (os.strerror(error),))


def _ended(at: Bench, code: int, text: str, *words: str) -> list[str]:
    """Returns what is wrong with how a stage ended: done, all is there; not done, one message says why."""
    wrong = [] if code in (0, 1, 2) else [f"exit code {code}"]
    wrong += [f"a traceback: {text[-900:]}"] if "Traceback" in text else []
    said = any(word in text for word in words)
    if code == 0:
        # A training's lock that cannot be removed stays, which is to be said: the next start takes it over.
        return [*wrong, *(f"it ends as if all were well: {what}" for what in at.differences(lock=not said))]
    if not said:
        wrong.append(f"exit code {code}, and nothing says {words[0]!r}: {text[-300:]}")
    return wrong


# ---------------------------------------------------------------- file systems and users


def _small_disk(at: Bench, _stride: int) -> Cell:
    if not can_mount():
        return Cell(skipped=MAY_NOT_MOUNT)
    at.prepare()
    before = _blocks(at.place)
    code, text = at.call()
    assert code == 0, text
    needs = _blocks(at.place) - before
    at.prepare()
    cell = Cell()
    for part in range(SIZES):
        blocks = before + needs * part // SIZES

        def work() -> list[str]:
            at.prepare()
            code, text = at.call()
            wrong = [] if code else ["it ends as if all were well"]
            wrong += [*_ended(at, code, text, *_says(FULL)), *at.half_written()]
            os.system(f"mount -o remount,size=1g {at.place}")  # somebody has made room
            return [*wrong, *at.lost()]

        wrong = apart(work, f"mount -t tmpfs -o size={max(1, blocks) * 4}k tmpfs {at.place}")
        cell.tried += 1
        cell.faults += [f"{part} of {SIZES} of the room it needs: {what}" for what in wrong]
    return cell


def _blocks(folder: Path) -> int:
    """Returns how many blocks of 4 KiB the files of a folder take."""
    return sum(-(-file.lstat().st_size // 4096) for file in folder.rglob("*") if not file.is_dir())


def _read_only(at: Bench, _stride: int) -> Cell:
    if not can_mount():
        return Cell(skipped=MAY_NOT_MOUNT)
    at.prepare()
    before = hashes(at.place)
    code, text = at.call(mount=f"mount --bind {at.place} {at.place} && mount -o remount,bind,ro {at.place}")
    return Cell(1, [*_changed_nothing(at, before, code, text, READ_ONLY), *at.lost()])


def _other_user(at: Bench, _stride: int) -> Cell:
    """Gives the command as a user who may write nothing there, before and after its owner does."""
    if os.geteuid() != 0:
        return Cell(skipped=MAY_NOT_CHANGE_USER)
    at.prepare()
    before = hashes(at.place)
    code, text = at.call(user=NOBODY)
    wrong = [*_changed_nothing(at, before, code, text, DENIED), *at.lost()]
    after = hashes(at.place)
    code, text = at.call(user=NOBODY)
    wrong += [f"when all is there: {what}" for what in _ended(at, code, text, *_says(DENIED))]
    wrong += [] if hashes(at.place) == after else ["when all is there: something was written"]
    return Cell(2, wrong)


def _changed_nothing(at: Bench, before: dict[str, str], code: int, text: str, error: int) -> list[str]:
    wrong = _ended(at, code, text, *_says(error))
    wrong += [] if hashes(at.place) == before else ["something was written"]
    return wrong if code else [*wrong, "it ends as if all were well"]


def _small_shm(at: Bench, _stride: int) -> Cell:
    if not can_mount():
        return Cell(skipped=MAY_NOT_MOUNT)
    at.prepare()
    stage = at.stage
    if stage.name == "train":
        stage = Stage(stage.name, (*stage.words, "--data.workers=2"), None, jobs=False)
    code, text = Bench(stage, at.place, at.expected).call(
        mount=f"mount -t tmpfs -o size={SMALL_SHM} tmpfs /dev/shm", jobs=2
    )
    return Cell(1, [*([f"exit code {code}: {text[-300:]}"] if code else at.differences()), *at.lost()])


# ---------------------------------------------------------------- other processes


def _two_calls(at: Bench, _stride: int) -> Cell:
    at.prepare()
    started = [begin(at.stage, at.place), begin(at.stage, at.place)]
    ended = [end(each) for each in started]
    wrong = []
    for code, text in ended:
        wrong += [f"a traceback: {text[-500:]}"] if "Traceback" in text else []
        wrong += [f"exit code {code}: {text[-300:]}"] if code not in (0, 1, 2) else []
    if any(code == 0 for code, _ in ended):
        wrong += [f"one has ended well, and {what}" for what in at.differences()]
    else:
        wrong.append(f"neither ends well: {[text[-300:] for _, text in ended]}")
    return Cell(1, [*wrong, *at.lost()])


def _slow_reads(at: Bench, _stride: int) -> Cell:
    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(at.place.parents[1]) in str(arguments[0]):
            time.sleep(0.05)

    at.prepare()
    code, text = at.call(hook=hook)
    return Cell(1, [*([f"exit code {code}: {text[-300:]}"] if code else at.differences()), *at.lost()])


def _worker_killed(at: Bench, _stride: int) -> Cell:
    if not at.stage.jobs:
        return Cell(skipped="see `stops`" if at.stage.name == "train" else "has no workers")
    at.prepare()
    started = begin(at.stage, at.place, jobs=2)
    killed = _kill_first_worker(psutil.Process(started[0]))
    code, text = end(started)
    if not killed:
        return Cell(0, [f"exit code {code}: {text[-300:]}"] if code else [], "starts no worker")
    wrong = _ended(at, code, text, "memory")
    return Cell(1, [*wrong, *at.half_written(), *at.lost()])


def _kill_first_worker(process: psutil.Process) -> bool:
    """Kills the first worker that a call starts; False if it ends without one."""
    while process.status() != psutil.STATUS_ZOMBIE:
        for worker in _workers(process):
            worker.send_signal(signal.SIGKILL)
            return True
        time.sleep(0.01)
    return False


def _workers(process: psutil.Process) -> Iterator[psutil.Process]:
    for child in process.children():
        try:
            if "spawn_main" in " ".join(child.cmdline()):
                yield child
        except psutil.NoSuchProcess:
            continue


FAULTS: dict[str, Callable[[Bench, int], Cell]] = {
    "killed at every file-system operation": _killed,
    "disk full from every such operation on": _refused(FULL),
    "permission denied from every such operation on": _refused(DENIED),
    "a disk with too little room, eight sizes": _small_disk,
    "a file system that may only be read": _read_only,
    "a user who may not write there": _other_user,
    "two calls in one folder": _two_calls,
    "slow reads": _slow_reads,
    "a worker killed, as for memory": _worker_killed,
    "`/dev/shm` of 64 MB": _small_shm,
}
