"""Stops and losses in short: each kind of launcher and signal once; `python -m tests.faults stops` has every pair.

Nothing is lost: the checkpoint is that of the last step in the log, and the exit code says why the run ended.
"""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mets3d.rundir import RunDir
from tests.builders.runs import train
from tests.faults.stops import LAUNCHERS, STEPS, configuration, lost, stopped

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="process groups and PR_SET_PDEATHSIG")


@pytest.mark.parametrize(
    ("launcher", "number", "whom"),
    [
        ("accelerate", signal.SIGTERM, "alone"),
        ("mets3d train", signal.SIGINT, "group"),
        ("mets3d train 2", signal.SIGUSR1, "alone"),
        ("torchrun 2", signal.SIGTERM, "group"),
    ],
)
def test_a_stop_loses_nothing(
    tmp_path: Path, phantom_store: Path, launcher: str, number: signal.Signals, whom: str
) -> None:
    assert stopped(LAUNCHERS[launcher], number, whom, configuration(tmp_path, phantom_store)) == ""


def test_a_stopped_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path, phantom_store: Path) -> None:
    config = configuration(tmp_path, phantom_store)
    assert stopped(LAUNCHERS["python"], signal.SIGHUP, "group", config) == ""
    runs = [RunDir(tmp_path / "runs" / name) for name in ("run", "whole")]
    for run in runs:
        assert train(config, f"--name={run.path.name}", "--data.workers=0") == 0
    cut, whole = (load_file(run.weights) for run in runs)
    assert cut.keys() == whole.keys()
    assert all(torch.equal(cut[name], whole[name]) for name in whole)
    assert [row["step"] for row in runs[0].read_metrics() if row["kind"] == "train"] == list(range(1, STEPS + 1))


@pytest.mark.parametrize(("launcher", "loss"), [("python", "worker killed"), ("mets3d train 2", "store gone")])
def test_a_loss_is_one_message_and_a_checkpoint(tmp_path: Path, phantom_store: Path, launcher: str, loss: str) -> None:
    store = tmp_path / "store"
    shutil.copytree(phantom_store, store)
    assert lost(LAUNCHERS[launcher], loss, configuration(tmp_path, store), store) == ""
