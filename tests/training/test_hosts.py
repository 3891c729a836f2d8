"""The watch over hosts, with a store and a clock that a test holds; and what is read from the environment."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress

import pytest

from mets3d.training import hosts
from mets3d.training.hosts import Place, Watch, cut_connections, meeting, seconds_of, watching


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Store:
    """What the launchers' store holds; `silent` is one behind a network that is down."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.silent = False

    def set(self, key: str, value: str) -> None:
        if not self.silent:
            self.values[key] = value.encode()

    def check(self, keys: list[str]) -> bool:
        if self.silent:
            raise TimeoutError
        return all(key in self.values for key in keys)

    def get(self, key: str) -> bytes:
        return self.values[key]


class World:
    """Three hosts of two processes each, all seen by one process of them."""

    def __init__(self, host: int = 0, local_rank: int = 0) -> None:
        self.clock, self.store = Clock(), Store()
        self.watch = Watch(Place(host, 3, 2 * host + local_rank, local_rank), 120.0, self.clock)
        self.counts = [0, 0, 0]

    def passes(self, seconds: float, beating: tuple[int, ...] = (0, 1, 2)) -> list[float]:
        """The seconds after which a loss was seen, in this time, while these hosts count."""
        seen = []
        for tick in range(int(seconds / 10)):
            self.clock.now += 10
            for host in beating:
                if host != self.watch.place.host or self.watch.place.local_rank:
                    self.counts[host] += 1
                    self.store.set(f"mets3d/host/{host}", f"{self.counts[host]} node{host}")
            if self.watch.place.host in beating:
                with suppress(TimeoutError, KeyError):
                    self.watch.beat(self.store)
            if self.watch.look() is not None:
                seen.append(10.0 * (tick + 1))
        return seen


def test_hosts_that_count_are_never_lost() -> None:
    world = World()
    assert world.passes(3600) == []
    assert world.store.values["mets3d/host/0"].decode() == f"360 {socket.gethostname()}"


@pytest.mark.parametrize("local_rank", [0, 1])
def test_a_silent_host_is_lost_after_the_time_and_named(local_rank: int) -> None:
    world = World(host=1, local_rank=local_rank)
    assert world.passes(600) == []
    first = world.passes(200, beating=(0, 1))[0]
    assert 120 <= first <= 140  # a look comes every ten seconds
    assert world.watch.lost is not None
    assert world.watch.lost.startswith("host node2 (--machine_rank 2) has not been heard from for 120 s")
    assert "run the same command again on every host" in world.watch.lost


def test_a_silence_shorter_than_the_time_is_none() -> None:
    world = World()
    assert world.passes(50) == []
    for _ in range(5):
        assert world.passes(110, beating=(0, 1)) == []
        assert world.passes(20) == []


def test_a_host_that_never_counted_has_a_rank_and_no_name_and_the_others_are_heard() -> None:
    world = World()
    assert world.passes(200, beating=(0, 1))
    assert world.watch.lost is not None
    assert world.watch.lost.startswith("the host with --machine_rank 2 has not been heard from for 120 s")


def test_two_that_fall_silent_are_both_named() -> None:
    world = World()
    world.passes(50)
    assert world.passes(200, beating=(0,))
    assert world.watch.lost is not None
    both = "host node1 (--machine_rank 1) and host node2 (--machine_rank 2) have not been heard from for 120 s"
    assert world.watch.lost.startswith(both)


@pytest.mark.parametrize(
    ("host", "named"),
    [(2, "host node0 (--machine_rank 0) has not been heard from"), (0, "the launcher of this host, host ")],
    ids=["elsewhere", "on its own host"],
)
def test_a_silent_store_is_the_host_that_holds_it(host: int, named: str) -> None:
    world = World(host=host)
    world.passes(50)
    world.store.silent = True
    assert world.passes(200)
    assert world.watch.lost is not None
    assert world.watch.lost.startswith(named)


def test_time_for_which_all_were_suspended_is_no_silence() -> None:
    world = World()
    world.passes(50)
    world.clock.now += 7200
    assert world.watch.look() is None
    assert world.passes(100) == []


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, Place(0, 1, 0, 0)),
        ({"RANK": "1", "LOCAL_RANK": "1", "GROUP_RANK": "0", "GROUP_WORLD_SIZE": "1"}, Place(0, 1, 1, 1)),
        ({"RANK": "5", "LOCAL_RANK": "1", "GROUP_RANK": "2", "GROUP_WORLD_SIZE": "3"}, Place(2, 3, 5, 1)),
    ],
)
def test_the_place_is_what_torchs_launcher_says(variables: Mapping[str, str], place: Place) -> None:
    assert Place.here(variables) == place


def test_one_host_starts_no_thread() -> None:
    before = threading.active_count()
    with meeting(Place(0, 1, 0, 0)), watching(Place(0, 1, 1, 1)) as watch:
        assert watch is None
        assert threading.active_count() == before


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "two"])
def test_seconds_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("METS3D_LOST_SECONDS", text)
    with pytest.raises(ValueError, match=r"METS3D_LOST_SECONDS is .*; expected seconds above 0"):
        seconds_of(hosts.LOST_VARIABLE, hosts.LOST_SECONDS)
    with pytest.raises(ValueError, match="METS3D_LOST_SECONDS"), meeting(Place(0, 2, 0, 0)):
        raise AssertionError("nothing waits for the other hosts before that")


def test_what_is_not_of_the_connections_keeps_its_own_error() -> None:
    with pytest.raises(RuntimeError, match="shapes"), meeting(Place(0, 2, 0, 0)):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


def test_only_connections_to_elsewhere_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.2", 0)) as server:
        address = server.getsockname()
        with socket.create_connection(address, source_address=("127.0.0.3", 0)) as elsewhere:
            there, _ = server.accept()
            with there, socket.create_connection(address, source_address=("127.0.0.2", 0)) as within:
                other, _ = server.accept()
                with other:
                    cut_connections()
                    there.settimeout(5)
                    elsewhere.settimeout(5)
                    assert elsewhere.recv(1) == b""  # ended
                    within.sendall(b"x")
                    other.settimeout(5)
                    assert other.recv(1) == b"x"


def test_giving_up_is_one_message_of_a_host_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", leave)
    for local_rank in range(2):
        with pytest.raises(SystemExit) as leaving:
            hosts.give_up(Place(1, 2, 2 + local_rank, local_rank), "gone")
        assert leaving.value.code == 1
    assert capsys.readouterr().err == "train.py: gone\n"
