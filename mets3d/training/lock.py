"""Locks a run directory for one training at a time, and takes over the lock of a training that is dead.

The lock is a file that names its holder and is touched every 15 seconds. On the same machine the holder is looked up
among the processes. From elsewhere - another host, another container, after a restart - nobody can see it: then the
lock is watched, and one that nobody touches is stale. No clocks are compared but that of the file system with itself.
"""

from __future__ import annotations

import errno
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from mets3d.files import COUNT, TEXT, Kind, is_alive, read_object, remove, sync, write_json
from mets3d.rundir import RunDir

REFRESH_S = 15.0
WATCH_S = 4 * REFRESH_S  # a lock that is not touched for so long under our eyes is stale
FORGOTTEN_S = 20 * REFRESH_S  # one that was not touched for so long is stale at once
CANNOT_LINK = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL, errno.EMLINK}


class LockError(ValueError):
    """A run directory that another training works in, or a study's in which another sweep does."""

    holder: Holder | None = None


@dataclass(frozen=True)
class Holder:
    """A process that trains.

    machine: within which process numbers are unique: this start of the kernel and its namespace of processes; empty
    where the system does not say. born: when the process started, in the kernel's ticks, since numbers are used again.
    """

    host: str
    machine: str
    process: int
    born: int
    since: str

    @classmethod
    def here(cls) -> Holder:
        """Returns this process."""
        process = os.getpid()
        since = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(platform.node(), _machine(), process, _born(process), since)

    def __str__(self) -> str:
        return f"process {self.process} on {self.host or 'this host'}"

    def is_same(self, other: Holder | None) -> bool:
        """Returns whether both are one process."""
        return other is not None and replace(other, since=self.since) == self


@contextmanager
def held(run: RunDir, say: Callable[[str], None]) -> Iterator[None]:
    """Holds the lock of a run until the block ends. Makes the run directory where there is none.

    Raises LockError if another training holds it, and ValueError for a directory that cannot be written.
    """
    me = Holder.here()
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        _take(run.lock, me, say)
    except OSError as error:
        raise ValueError(
            f"{run.path} cannot be written: {error.strerror or error}; free the disk or its rights, or use another "
            "--output"
        ) from None
    done = threading.Event()
    threading.Thread(target=_refresh, args=(run.lock, me, done), daemon=True).start()
    try:
        yield
    finally:
        done.set()
        try:
            if me.is_same(_read(run.lock)[0]):
                run.lock.unlink(missing_ok=True)
        except OSError as error:
            say(f"{run.lock} cannot be removed: {error.strerror or error}; the next start of this run takes it over")


def check_held(run: RunDir) -> None:
    """Raises LockError if another training has taken over the lock, as after a long sleep of this machine."""
    holder, _ = _read(run.lock)
    if holder is not None and not Holder.here().is_same(holder):
        raise LockError(f"{run.path} was taken over by {holder} while this process slept or could not reach the disk")


def holder_of(lock: Path) -> Holder | None:
    """Returns the process that holds a lock and may be alive, None where there is none. Takes nothing over."""
    holder, touched = _read(lock)
    if holder is None or touched is None:
        return None
    if _is_of_this_machine(holder):
        return holder if _is_running(holder) else None
    now = lock.with_name(f".{os.getpid()}.tmp.now")
    try:
        now.touch()  # the file system's own time, not this host's
        age_s = now.stat().st_mtime - touched
    finally:
        remove(now)
    return holder if age_s < FORGOTTEN_S else None


# ---------------------------------------------------------------- taking


def _take(lock: Path, me: Holder, say: Callable[[str], None]) -> None:
    draft = lock.with_name(f".{me.process}.tmp.{lock.name}")
    try:
        while True:
            write_json(draft, asdict(me))  # each time: who got the lock meanwhile may have tidied it away
            if _create(lock, draft):
                return
            holder, touched = _read(lock)
            if touched is None:
                continue  # it has just been released
            why = _why_stale(lock, holder, draft, say)
            with _alone(lock.parent):
                if _read(lock) != (holder, touched):
                    continue  # somebody was faster
                lock.unlink()
            say(f"taking over the lock of {holder or 'an unknown process'}, {why}")
    finally:
        remove(draft)


def _create(lock: Path, draft: Path) -> bool:
    """Makes the lock, complete from its first moment; returns False if there is one."""
    try:
        os.link(draft, lock)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in CANNOT_LINK:
            raise
        return _create_without_links(lock, draft.read_bytes())
    return True


def _create_without_links(lock: Path, content: bytes) -> bool:
    try:
        with lock.open("xb") as stream:
            stream.write(content)
    except FileExistsError:
        return False
    sync(lock)
    return True


def _why_stale(lock: Path, holder: Holder | None, draft: Path, say: Callable[[str], None]) -> str:
    """Returns why the holder is known to be dead. Raises LockError if it is alive."""
    in_use = LockError(
        f"{lock.parent} is being trained by {holder or 'a process that cannot be named'}, "
        f"since {holder.since if holder else 'some time'}; wait for it, stop it, or use another --name"
    )
    in_use.holder = holder
    if holder is not None and _is_of_this_machine(holder):
        if _is_running(holder):
            raise in_use
        return "which is dead"
    _, touched = _read(lock)
    os.utime(draft)  # the file system's own time, not this host's
    age_s = draft.stat().st_mtime - (touched or 0)
    if age_s < FORGOTTEN_S:
        say(f"watching for {WATCH_S:.0f} s whether {holder or 'the holder of the lock'} is alive")
        end = time.monotonic() + WATCH_S
        while time.monotonic() < end:
            time.sleep(min(1.0, WATCH_S / 10))
            if _read(lock)[1] != touched:
                raise in_use
    return f"which has not touched it for {max(age_s, WATCH_S):.0f} s"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lets one process at a time into the block, where system and file system know how."""
    descriptor = os.open(folder, os.O_RDONLY) if os.name == "posix" else None
    try:
        if descriptor is not None:
            import fcntl

            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


# ---------------------------------------------------------------- reading and refreshing


def _read(lock: Path) -> tuple[Holder | None, float | None]:
    """Returns the holder, None if it cannot be read, and when the lock was last touched, None without a lock."""
    try:
        with lock.open("rb") as stream:  # network file systems look anew when a file is opened
            touched = os.fstat(stream.fileno()).st_mtime
        content = read_object(lock, _NEEDS)
        return Holder(**{name: content[name] for name in _NEEDS}), touched
    except FileNotFoundError:
        return None, None
    except ValueError:
        return None, touched


def _refresh(lock: Path, me: Holder, done: threading.Event) -> None:
    while not done.wait(REFRESH_S):
        with suppress(OSError):
            if me.is_same(_read(lock)[0]):
                os.utime(lock)


_NEEDS = {"host": TEXT, "machine": TEXT, "process": COUNT, "born": Kind("a number", lambda value: type(value) is int),
          "since": TEXT}  # fmt: skip


# ---------------------------------------------------------------- who a process is


def _is_of_this_machine(holder: Holder) -> bool:
    return holder.machine == _machine() and bool(holder.machine or holder.host == platform.node())


def _is_running(holder: Holder) -> bool:
    """Returns whether the holder, of this machine, is alive; its number may be another process's by now."""
    born = _born(holder.process)
    return born != -1 and (born == holder.born or 0 in (born, holder.born))


def _machine() -> str:
    if sys.platform != "linux":
        return ""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _born(process: int) -> int:
    """Returns when a process started, 0 where the system does not say, -1 if there is no such process."""
    if not is_alive(process):
        return -1
    try:
        # proc_pid_stat(5): the name in brackets may hold anything; state is field 3, the start field 22.
        fields = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0
    return -1 if fields[0] in "ZX" else int(fields[19])
