"""Processes: launched as the headers of accelerate_configs say, refused when lonely, stopped without orphans."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file

from mets3d.rundir import RunDir, read_json
from mets3d.training.launch import check_world
from mets3d.training.stop import listening
from tests.runs import LAUNCH, ROOT, launch, write_config

CONFIGS = sorted((ROOT / "accelerate_configs").glob("*.yaml"))


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_accelerates_own_loader_takes_every_launch_config(file: Path) -> None:
    config = load_config_from_file(str(file))
    assert config.num_processes >= 1
    assert config.main_training_function == "main"


def header_command(file: Path) -> list[str]:
    """The command in a launch config's header, continuation lines joined."""
    lines = [line.removeprefix("#").strip() for line in file.read_text().splitlines() if line.startswith("#   ")]
    return shlex.split(" ".join(lines).replace("\\ ", ""))


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_header_carries_a_command_that_names_its_file(file: Path) -> None:
    command = header_command(file)
    assert f"accelerate_configs/{file.name}" in command
    assert "train.py" in command


@pytest.mark.slow
def test_cpu_ddp_by_the_command_in_its_header_sees_two_ranks(tmp_path: Path, phantom_store: Path) -> None:
    command = header_command(ROOT / "accelerate_configs" / "cpu_ddp.yaml")
    variables = dict(word.split("=", 1) for word in command if re.fullmatch(r"[A-Z_]+=.*", word))
    assert variables == {"ACCELERATE_USE_CPU": "true"}
    words = command[len(variables) :]
    assert words[:2] == ["accelerate", "launch"]
    config = write_config(tmp_path, phantom_store, train={"steps": 1})
    words[words.index("configs/quickstart.yaml")] = str(config)
    done = subprocess.run(
        [*LAUNCH, "--main_process_port", "0", *words[2:]],
        cwd=ROOT,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run = RunDir(tmp_path / "runs" / "run")
    assert read_json(run.environment)["processes"] == 2
    assert [row["step"] for row in run.read_metrics() if row["kind"] == "train"] == [1]


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="with GPUs the launch is a world")
def test_without_the_variable_two_lonely_trainings_are_refused(tmp_path: Path, phantom_store: Path) -> None:
    config = write_config(tmp_path, phantom_store)
    done = launch("train.py", "--config", str(config), processes=2, ACCELERATE_USE_CPU="false")
    assert done.returncode != 0
    assert "the launcher started 2 processes, but Accelerate sees 1" in done.stderr
    assert "ACCELERATE_USE_CPU=true" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_check_world_lets_equal_worlds_pass() -> None:
    check_world(4, 4)
    with pytest.raises(ValueError, match="2 separate"):
        check_world(2, 1)


@pytest.mark.slow
def test_two_ranks_say_a_configuration_fault_once_and_leave_with_2(tmp_path: Path) -> None:
    done = launch("train.py", "--los.boundary=x", "--data.fold=7", processes=2)
    assert done.stderr.count("loss.boundary") == 1
    assert done.stderr.count("fold is 7") == 1
    assert "exitcode  : 2" in done.stderr or done.returncode == 2


def children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux")
def test_sigterm_to_a_one_process_launch_saves_and_leaves_no_process(tmp_path: Path, phantom_store: Path) -> None:
    config = write_config(tmp_path, phantom_store, train={"steps": 100_000, "checkpoint_every": 100_000})
    launcher = subprocess.Popen(
        [*LAUNCH, "--cpu", "--num_processes", "1", "train.py", "--config", str(config)],
        cwd=ROOT,
        env={**os.environ, "WANDB_MODE": "disabled"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    run = RunDir(tmp_path / "runs" / "run")
    try:
        wait_until(lambda: run.metrics.exists() and run.metrics.read_text().count("\n") >= 3, 120)
        training = children(launcher.pid)
        assert training
        launcher.send_signal(signal.SIGTERM)
        launcher.wait(30)
        _, alive = psutil.wait_procs(training, timeout=60)
        assert not alive, "an orphan is left"
    finally:
        for process in [*children(launcher.pid), launcher]:
            process.kill()
        launcher.wait()
    steps = run.checkpoint_steps()
    assert len(steps) == 1, "the checkpoint of the step at which the signal came"
    assert steps[0] >= 3
    assert run.pointer("last") == steps[0]


def wait_until(condition: object, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_wish_and_a_second_one_acts(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    caught: list[int] = []
    signal.signal(number, lambda n, _: caught.append(n))
    try:
        with listening() as wish:
            assert not wish
            signal.raise_signal(number)
            assert wish
            assert wish.exit_code == 128 + number
            assert not caught
            signal.raise_signal(number)
            assert caught == [number]
    finally:
        signal.signal(number, before)
