"""Ends a run of several hosts when one of them is lost or never comes; nothing here runs where there is one host.

A network that fails, or a host without power, closes no connection: a sum over all processes would wait for PATIENCE.
So each host counts up a number of its own in the store at which torch's launchers met, and every process looks whether
the numbers of the others still change. Threads do both, so a process that validates or compiles for long still counts.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn, Protocol, runtime_checkable

import psutil
from torch import distributed

from mets3d.wording import agreed

# A switch that restarts takes a minute or more; a run that ends too late loses some time of the hosts, one that ends
# too early its whole job.
LOST_SECONDS = 120.0
LOST_VARIABLE = "METS3D_LOST_SECONDS"
# From the start of the training on all hosts until they have found each other; imports come before.
MEET_SECONDS = 300.0
MEET_VARIABLE = "METS3D_MEET_SECONDS"
# For the main process to write a checkpoint, and to end the validation that it may be in; as the launcher's.
SECONDS_TO_SAVE = 600.0
BEATS = 12  # in the time after which a host is lost


@dataclass(frozen=True)
class Place:
    """Where this process runs among the hosts, as torch's launcher says: host is --machine_rank."""

    host: int
    hosts: int
    rank: int
    local_rank: int

    @classmethod
    def here(cls, variables: Mapping[str, str] = os.environ) -> Place:
        """Reads the place of this process from its environment; without a launcher it is alone."""
        names = {"GROUP_RANK": 0, "GROUP_WORLD_SIZE": 1, "RANK": 0, "LOCAL_RANK": 0}
        return cls(*(int(variables.get(name, default)) for name, default in names.items()))

    @property
    def speaks(self) -> bool:
        """Whether this process prints for its host what all processes of it know."""
        return self.local_rank == 0


@runtime_checkable
class Store(Protocol):
    """The part of torch's key-value store that is needed here."""

    def set(self, key: str, value: str, /) -> None:
        """Sets the value of a key."""

    def check(self, keys: list[str], /) -> bool:
        """Says whether all keys are set."""

    def get(self, key: str, /) -> bytes:
        """Returns the value of a key; waits for one that is not set yet."""


class Watch:
    """Knows for how long each host has not been heard from, and which is lost.

    Time is counted in looks, each for the interval between two at most: a process that was suspended together with all
    others, as a scheduler does, does not take that time for silence.
    """

    def __init__(
        self, place: Place, lost_seconds: float = LOST_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.place, self.seconds, self._clock = place, lost_seconds, clock
        self.interval = lost_seconds / BEATS
        self.lost: str | None = None  # what to tell the user, from the moment a host is lost
        self._count = 0
        self._time, self._looked = 0.0, clock()
        self._heard = [0.0] * place.hosts
        self._values = [b""] * place.hosts

    def beat(self, store: Store) -> None:
        """Counts up the number of this host, if this process does it for its host, and notes whose number changed."""
        if self.place.speaks:
            self._count += 1
            store.set(_key(self.place.host), f"{self._count} {socket.gethostname()}")
        for host in range(self.place.hosts):
            # A host that fell silent before its first number must not keep the others' from being read.
            value = store.get(_key(host)) if store.check([_key(host)]) else b""
            if value != self._values[host]:
                self._values[host], self._heard[host] = value, self._time

    def look(self) -> str | None:
        """Returns what to tell the user where a host is lost, None while all are heard from."""
        now = self._clock()
        self._time += min(now - self._looked, 2 * self.interval)
        self._looked = now
        silent = [self._time - heard for heard in self._heard]
        if max(silent) > self.seconds:
            # Hosts that fell silent together were last heard from up to an interval apart.
            self.lost = self._message([host for host, time in enumerate(silent) if time > self.seconds * 0.75])
        return self.lost

    def _message(self, silent: Sequence[int]) -> str:
        """Names the hosts that are lost. Where not even the own number comes back it is host 0, which has the store."""
        if len(silent) == self.place.hosts:
            silent = [0]
        names = " and ".join(self._name(host) for host in silent)
        if silent == [self.place.host]:
            names = f"the launcher of this host, {names},"
        have = agreed(len(silent), "has", "have")
        return (
            f"{names} {have} not been heard from for {self.seconds:.0f} s: switched off, hanging, or the network "
            "between the hosts is down. When that is mended, run the same command again on every host: the training "
            "goes on from the last checkpoint"
        )

    def _name(self, host: int) -> str:
        name = self._values[host].decode(errors="replace").partition(" ")[2]
        return f"host {name} (--machine_rank {host})" if name else f"the host with --machine_rank {host}"


def _key(host: int) -> str:
    return f"mets3d/host/{host}"


# ---------------------------------------------------------------- in a training


@contextmanager
def watching(place: Place) -> Iterator[Watch | None]:
    """Watches the other hosts in threads during the block; None where there is one host.

    When a host is lost, a process that has nothing to write ends at once. The main process finds its connections to
    other hosts closed, so that what it waits for fails; it has SECONDS_TO_SAVE to end by itself.
    """
    if place.hosts == 1:
        yield None
        return
    watch, over = Watch(place, seconds_of(LOST_VARIABLE, LOST_SECONDS)), threading.Event()
    # Two threads, for over a connection that is silent the first one may wait without end.
    for work in (_beats, _looks):
        threading.Thread(target=work, args=(watch, over), name=f"hosts{work.__name__}", daemon=True).start()
    try:
        yield watch
    finally:
        over.set()


def _beats(watch: Watch, over: threading.Event) -> None:
    store: Store | None = None
    while not over.wait(watch.interval):
        try:
            store = store or _connected(watch.seconds)
            watch.beat(store)
        except Exception:  # whatever it is, the numbers stay as they are, and that is what is looked at
            store = None


def _looks(watch: Watch, over: threading.Event) -> None:
    while not over.wait(watch.interval):
        message = watch.look()
        if message is None:
            continue
        if watch.place.rank != 0:
            give_up(watch.place, message)
        cut_connections()
        if not over.wait(SECONDS_TO_SAVE):
            give_up(watch.place, message)
        return


def _connected(seconds: float) -> Store:
    """Connects to the store once more: that of the group is in use by whoever waits in it."""
    return distributed.TCPStore(  # type: ignore[attr-defined]
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=False,
        wait_for_workers=False,
        timeout=timedelta(seconds=seconds),
    )


def cut_connections() -> None:
    """Shuts down this process's TCP connections to other hosts, so that a wait for what would come by them fails.

    Torch has no other way: `abort` of a process group leaves a sum over gloo waiting (torch 2.13).
    """
    with suppress(psutil.Error, OSError):
        for connection in psutil.Process().net_connections("tcp"):
            elsewhere = connection.raddr and connection.raddr.ip != connection.laddr.ip
            if elsewhere and connection.fd >= 0:
                # A thread may have closed it by now.
                with suppress(OSError), socket.socket(fileno=os.dup(connection.fd)) as own:
                    own.shutdown(socket.SHUT_RDWR)


@contextmanager
def meeting(place: Place) -> Iterator[None]:
    """Ends the process with a message where the processes of several hosts do not find each other in the block.

    That takes MEET_SECONDS where nothing is heard, and is at once where torch reports an error.
    """
    if place.hosts == 1:
        yield
        return
    met, seconds = threading.Event(), seconds_of(MEET_VARIABLE, MEET_SECONDS)
    seconds_of(LOST_VARIABLE, LOST_SECONDS)  # a fault in it is reported before the hosts wait for each other

    def wait() -> None:
        if not met.wait(seconds):
            give_up(place, f"the processes of {place.hosts} hosts did not meet within {seconds:.0f} s. {MEET_REMEDY}")

    threading.Thread(target=wait, name="hosts_meet", daemon=True).start()
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, distributed.DistError) and "gloo" not in str(error).lower():
            raise
        first = str(error).partition("\n")[0]
        give_up(place, f"the processes of {place.hosts} hosts did not meet: {first}. {MEET_REMEDY}")
    finally:
        met.set()


MEET_REMEDY = (
    "See whether the training ended on another host; whether a firewall closes ports between the hosts, for the "
    "processes take any free ones; and whether GLOO_SOCKET_IFNAME, under NCCL NCCL_SOCKET_IFNAME too, names on each "
    "host the network interface by which it reaches the others (`ip address` lists them). Then run the same command "
    "again on every host"
)


def seconds_of(variable: str, default: float) -> float:
    """Returns the seconds that a variable of the environment sets. Raises ValueError for what is not above 0."""
    text = os.environ.get(variable, "")
    try:
        seconds = float(text) if text else default
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"{variable} is {text!r}; expected seconds above 0, the same on every host")
    return seconds


def give_up(place: Place, message: str) -> NoReturn:
    """Ends this process at once with exit code 1; the first one of its host says why."""
    if place.speaks:
        print(f"train.py: {message}", file=sys.stderr, flush=True)
    os._exit(1)
