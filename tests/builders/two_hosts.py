"""Two hosts on one machine: network namespaces that a pair of virtual cards joins."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.builders.runs import ROOT

ADDRESSES = ("10.77.15.1", "10.77.15.2")
PORT = "29515"


class TwoHosts:
    """The namespaces, in which commands run, and the link between them."""

    def __init__(self) -> None:
        self.names = [f"mets3d-{os.getpid()}-{rank}" for rank in range(2)]
        self.cards = [f"m3d{os.getpid() % 100000}{end}" for end in "ab"]
        self.started: list[subprocess.Popen[str]] = []

    def make(self) -> None:
        for name in self.names:
            _ip("netns", "add", name)
        _ip("link", "add", self.cards[0], "type", "veth", "peer", "name", self.cards[1])
        for name, card, address in zip(self.names, self.cards, ADDRESSES, strict=True):
            _ip("link", "set", card, "netns", name)
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", card)
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "link", "set", card, "up")

    def link(self, state: str) -> None:
        """Takes the link between the hosts `down`, so that sockets fall silent, or `up`.

        At host 1's end, for host 0 has the store, and would not reach it by its own address without a card.
        """
        _ip("-n", self.names[1], "link", "set", self.cards[1], state)

    def launch(
        self, rank: int, words: Sequence[str], *, options: Sequence[str] = (), **environment: str
    ) -> subprocess.Popen[str]:
        """Starts train.py with these words on the host of this rank, by the command in multi_node.yaml's header."""
        command = [sys.executable, "-m", "mets3d.launch", "--config_file", "accelerate_configs/multi_node.yaml"]
        command += ["--num_machines", "2", "--num_processes", "2", "--machine_rank", str(rank)]
        command += ["--main_process_ip", ADDRESSES[0], "--main_process_port", PORT, "--mixed_precision", "no", *options]
        variables = {"ACCELERATE_USE_CPU": "true", "GLOO_SOCKET_IFNAME": self.cards[rank], "WANDB_MODE": "disabled"}
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.names[rank], *command, "train.py", *words],
            cwd=ROOT,
            env={**os.environ, **variables, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def kill(self, process: subprocess.Popen[str]) -> None:
        """Ends a launcher and its training at once, as when the host goes."""
        with suppress(psutil.NoSuchProcess):
            launcher = psutil.Process(process.pid)
            for one in [*launcher.children(recursive=True), launcher]:  # training first: it outlives a launcher's death
                with suppress(psutil.NoSuchProcess):
                    one.kill()

    def remove(self) -> None:
        """Ends what still runs and takes the hosts away."""
        for process in self.started:
            self.kill(process)
            process.wait(timeout=60)
            assert process.stdout is not None
            process.stdout.close()
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=20, check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], capture_output=True, text=True, timeout=20, check=True)


@contextmanager
def two_hosts() -> Iterator[TwoHosts]:
    """Makes two hosts for the block; skips the test where this system does not let it."""
    if (
        sys.platform != "linux"
        or os.geteuid() != 0
        or not any(Path(folder, "ip").exists() for folder in os.get_exec_path())
    ):
        pytest.skip("network namespaces need Linux, root and the command ip")
    hosts = TwoHosts()
    try:
        try:
            hosts.make()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces are refused here: {error.stderr.strip()}")
        yield hosts
    finally:
        hosts.remove()
