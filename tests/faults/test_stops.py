"""Stops and losses in short: each kind of launcher and signal once; `python -m tests.faults stops` has every pair.

Nothing is lost: the checkpoint is that of the last step in the log, and the exit code says why the run ended.
"""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

import pytest

from mets3d.rundir import RunDir
from tests.faults.stops import (
    LAUNCHERS,
    configuration,
    differing,
    finished,
    lost,
    running,
    stopped,
    trainings,
    wait_for_steps,
    whole,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="process groups and PR_SET_PDEATHSIG"),
]


@pytest.mark.parametrize(
    ("launcher", "number", "whom"),
    [
        ("mets3d train", signal.SIGINT, "group"),
        ("mets3d train 2", signal.SIGUSR1, "alone"),
        ("torchrun 2", signal.SIGTERM, "group"),
    ],
)
def test_a_stop_loses_nothing(
    tmp_path: Path, phantom_store: Path, launcher: str, number: signal.Signals, whom: str
) -> None:
    """By the launcher of Accelerate: tests/training/test_launch.py."""
    config = configuration(tmp_path, phantom_store, workers=2 // LAUNCHERS[launcher].processes)
    assert stopped(LAUNCHERS[launcher], number, whom, config) == ""


def test_a_stopped_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path, phantom_store: Path) -> None:
    config = configuration(tmp_path, phantom_store)
    assert stopped(LAUNCHERS["python"], signal.SIGHUP, "group", config) == ""
    place = tmp_path / "whole"
    place.mkdir()
    run = RunDir(tmp_path / "runs" / "run")
    steps = run.checkpoint_steps()[-1] + 5
    assert differing(finished(config, steps=steps), finished(configuration(place, phantom_store), steps=steps)) == []
    assert [row["step"] for row in run.read_metrics() if row["kind"] == "train"] == list(range(1, steps + 1))


@pytest.mark.parametrize(("launcher", "loss"), [("python", "worker killed"), ("mets3d train 2", "store gone")])
def test_a_loss_is_one_message_and_a_checkpoint(tmp_path: Path, phantom_store: Path, launcher: str, loss: str) -> None:
    store = tmp_path / "store"
    shutil.copytree(phantom_store, store)
    config = configuration(tmp_path, store, workers=2 // LAUNCHERS[launcher].processes)
    assert lost(LAUNCHERS[launcher], loss, config, store) == ""


def test_a_killed_process_costs_no_step_of_the_others(tmp_path: Path, phantom_store: Path) -> None:
    """The main process writes what it has when the other one's connection breaks."""
    run = RunDir(tmp_path / "runs" / "run")
    config = configuration(tmp_path, phantom_store, workers=0)
    with running(LAUNCHERS["mets3d train 2"], config, tmp_path / "errors") as started:
        wait_for_steps(run, 3, started)
        (second,) = [process for process in trainings(started) if process.environ()["RANK"] == "1"]
        second.kill()
        assert started.wait(120) == 128 + signal.SIGKILL
    assert whole(run) == []
    assert run.checkpoint_steps()[-1] >= 3
