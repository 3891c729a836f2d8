"""Two hosts for real: each in a network namespace of its own, a link between them that fails in the middle."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from mets3d.files import read_json
from mets3d.rundir import RunDir
from tests.builders.runs import write_config
from tests.builders.two_hosts import ADDRESSES, TwoHosts, two_hosts

pytestmark = pytest.mark.slow

PATIENCE = 240.0  # for a busy machine; each wait ends when what it waits for is there
LOST = "15"
STEPS = 400
TRACE = re.compile("Traceback|frame #")  # of Python, of torch


def wait_for_step(run: RunDir, step: int, hosts: Sequence[subprocess.Popen[str]]) -> int:
    """The last step in the log, once it is beyond `step`."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        rows = run.read_metrics() if run.metrics.exists() else []
        last = max((row["step"] for row in rows), default=0)
        if last > step:
            return int(last)
        ended = [process.communicate()[0] for process in hosts if process.poll() is not None]
        assert not ended, ended
        time.sleep(0.2)
    raise AssertionError(f"no step beyond {step}")


def end_of(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, said


def both(hosts: TwoHosts, words: Sequence[str]) -> list[subprocess.Popen[str]]:
    return [hosts.launch(rank, words, METS3D_LOST_SECONDS=LOST) for rank in range(2)]


def test_a_lost_host_ends_both_sides_with_a_message_and_the_run_goes_on(tmp_path: Path, phantom_store: Path) -> None:
    train = {"steps": STEPS, "checkpoint_every": STEPS}  # what there is to go on from was written because of the loss
    config = write_config(tmp_path, phantom_store, train=train, validate={"every": STEPS})
    run = RunDir(tmp_path / "runs" / "run")
    words = ["--config", str(config)]
    with two_hosts() as hosts:
        # The link falls silent: no connection is closed, and both sides notice by themselves.
        trainings = both(hosts, words)
        made = wait_for_step(run, 2, trainings)
        hosts.link("down")
        ends = [end_of(process) for process in trainings]
        for rank, (code, said) in enumerate(ends):
            assert code == 1, said
            assert re.search(rf"--machine_rank {1 - rank}\b.* not been heard from for {LOST} s", said), said
            assert said.count("run the same command again on every host") == 1, said
            assert not TRACE.search(said), said
        saved = run.pointer("last")
        assert saved is not None
        assert saved >= made
        assert read_json(run.environment)["exit_code"] == 1

        # The same commands go on from there; then one host goes, while the other one is still reached.
        hosts.link("up")
        trainings = both(hosts, words)
        made = wait_for_step(run, saved, trainings)
        hosts.kill(trainings[1])
        code, said = end_of(trainings[0])
        assert code == 1, said
        assert f"resuming at step {saved} of {STEPS}" in said
        assert f"on the host with the address {ADDRESSES[1]}" in said
        assert said.count("run the same command again on every host") == 1, said
        assert not TRACE.search(said), said
        later = run.pointer("last")
        assert later is not None
        assert later >= made

        # And once more, until a signal to one host stops both.
        trainings = both(hosts, words)
        wait_for_step(run, later, trainings)
        trainings[1].send_signal(signal.SIGTERM)
        ends = [end_of(process) for process in trainings]
        assert [code for code, _ in ends] == [143, 143], ends
        assert f"resuming at step {later} of {STEPS}" in ends[0][1]


def test_a_host_that_does_not_come_is_one_message(tmp_path: Path, phantom_store: Path) -> None:
    words = ["--config", str(write_config(tmp_path, phantom_store))]
    with two_hosts() as hosts:
        first = hosts.launch(0, words, METS3D_MEET_SECONDS="5")
        wrong_port = hosts.launch(1, words, options=["--main_process_port", "29516"], METS3D_MEET_SECONDS="5")
        for process, port in ((first, 29515), (wrong_port, 29516)):
            code, said = end_of(process)
            assert code == 1, said
            assert f"the launchers of 2 hosts did not meet at {ADDRESSES[0]} port {port}" in said
            assert "Start the command on every host" in said
            assert "Traceback" not in said
            assert said.splitlines()[-1].startswith("mets3d.launch: ")  # below what torch says by itself
    assert not (tmp_path / "runs").exists()


def test_processes_that_the_network_keeps_apart_are_one_message(tmp_path: Path, phantom_store: Path) -> None:
    words = ["--config", str(write_config(tmp_path, phantom_store))]
    with two_hosts() as hosts:  # the launchers meet; gloo looks at the loopback of each host, where the other is not
        waits, apart = ["--rdzv_conf", "timeout=240"], {"GLOO_SOCKET_IFNAME": "lo", "METS3D_MEET_SECONDS": "5"}
        for process in [hosts.launch(rank, words, options=waits, **apart) for rank in range(2)]:
            code, said = end_of(process)
            assert code == 1, said
            assert "the processes of 2 hosts did not meet" in said
            assert "GLOO_SOCKET_IFNAME" in said
            assert not TRACE.search(said), said
