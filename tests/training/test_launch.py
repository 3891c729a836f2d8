"""Processes: launched as the headers of accelerate_configs say, refused when lonely, stopped without orphans."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import torch
from accelerate.commands.config.config_args import load_config_from_file

from mets3d.config import Config
from mets3d.files import read_json
from mets3d.rundir import RunDir
from mets3d.training.launch import check_alone, check_devices, check_precision, check_world, start
from tests.builders.runs import LAUNCH, ROOT, forget_accelerator, train, write_config
from tests.builders.warm import launch
from tests.faults.stops import whole

CONFIGS = sorted((ROOT / "accelerate_configs").glob("*.yaml"))


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_accelerates_own_loader_takes_every_launch_config(file: Path) -> None:
    config = load_config_from_file(str(file))
    assert config.num_processes >= 1
    assert config.main_training_function == "main"


def header_command(file: Path) -> list[str]:
    """The command in a launch config's header, continuation lines joined."""
    lines = [
        line.removeprefix("#").strip()
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.startswith("#   ")
    ]
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
    done = launch("train.py", "--config", str(config), ACCELERATE_USE_CPU="false")
    assert done.returncode == 2
    assert "the launcher started 2 processes, but Accelerate sees 1" in done.stderr
    assert "ACCELERATE_USE_CPU=true" in done.stderr
    assert not (tmp_path / "runs").exists()


def test_check_world_lets_equal_worlds_pass() -> None:
    check_world(4, 4)
    with pytest.raises(ValueError, match="2 separate"):
        check_world(2, 1)


def test_a_launch_that_names_several_processes_and_starts_one_is_refused() -> None:
    multi_cpu = {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1"}
    with pytest.raises(ValueError, match="names several processes, but its distributed_type starts one"):
        check_alone(multi_cpu)
    check_alone({"ACCELERATE_MIXED_PRECISION": "no"})
    check_alone({"MASTER_ADDR": "node0"})
    for counted in ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE"):
        check_alone({**multi_cpu, counted: "2"})


def test_a_process_for_each_gpu_and_none_more() -> None:
    check_devices(8, 8)
    check_devices(2, 0)  # processes on a CPU
    with pytest.raises(ValueError, match="4 processes on this host, which has 2 GPUs; use --num_processes 2"):
        check_devices(4, 2)


def test_a_precision_that_the_device_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    for precision in ("no", "bf16"):
        check_precision(precision, cpu)
    with pytest.raises(ValueError, match="fp16 on a CPU"):
        check_precision("fp16", cpu)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "an old GPU")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    check_precision("fp16", gpu)
    with pytest.raises(ValueError, match="an old GPU has no bf16"):
        check_precision("bf16", gpu)


@pytest.mark.slow
def test_two_ranks_say_a_configuration_fault_once_and_leave_with_2(tmp_path: Path) -> None:
    done = launch("train.py", "--los.boundary=x", "--data.fold=7")
    assert done.stderr.count("loss.boundary") == 1
    assert done.stderr.count("fold is 7") == 1
    assert done.returncode == 2


def children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux")


@contextmanager
def launched(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A one-process launch in a process group of its own; whatever is left of it is killed at the end."""
    launcher = subprocess.Popen(
        [*LAUNCH, "--cpu", "--num_processes", "1", "train.py", "--config", str(config)],
        cwd=ROOT,
        env={**os.environ, "WANDB_MODE": "disabled"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    known = [psutil.Process(launcher.pid)]
    try:
        wait_until(lambda: children(launcher.pid), 60)
        known += children(launcher.pid)
        yield launcher
    finally:
        for process in known:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        launcher.wait()


@ON_LINUX
@pytest.mark.slow
@pytest.mark.parametrize("whom", ["launcher", "group"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_at_the_step_boundary_and_leaves_no_process(
    tmp_path: Path, phantom_store: Path, whom: str, number: signal.Signals
) -> None:
    if whom == "launcher" and number == signal.SIGINT:
        pytest.skip("a terminal interrupts the group")
    config = write_config(
        tmp_path,
        phantom_store,
        # Steps of about a second: longer than the launcher outlives the signal.
        data={"patch": [32, 32, 32], "workers": int(whom == "launcher")},
        model={"features": 24, "max_features": 48},
        train={"steps": 100_000, "batch_size": 6, "checkpoint_every": 100_000},
        validate={"every": 100_000},
    )
    run = RunDir(tmp_path / "runs" / "run")
    with launched(config) as launcher:
        wait_until(lambda: run.metrics.exists() and run.metrics.read_text().count("\n") >= 2, 120)
        training = children(launcher.pid)
        assert training
        if whom == "launcher":
            launcher.send_signal(number)
        else:
            os.killpg(launcher.pid, number)
        launcher.wait(60)
        _, alive = psutil.wait_procs(training, timeout=60)
        assert not alive, "an orphan is left"
    assert whole(run) == []
    (step,) = run.checkpoint_steps()
    assert step >= 2
    assert run.pointer("last") == step
    # The launcher makes SIGTERM of what it gets, or dies, upon which the kernel sends SIGTERM.
    assert read_json(run.environment)["exit_code"] in (128 + number, 128 + signal.SIGTERM)


@ON_LINUX
@pytest.mark.slow
def test_a_launcher_that_dies_during_start_up_leaves_no_process(tmp_path: Path, phantom_store: Path) -> None:
    config = write_config(tmp_path, phantom_store, train={"steps": 100_000}, validate={"every": 100_000})
    with launched(config) as launcher:
        time.sleep(1.0)
        training = children(launcher.pid)
        launcher.send_signal(signal.SIGTERM)
        launcher.wait(30)
        _, alive = psutil.wait_procs(training, timeout=30)
        assert not alive, "an orphan is left"


def wait_until(condition: object, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def test_the_environment_divides_no_gradient(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_config(tmp_path, phantom_store, train={"steps": 1})
    assert train(config, "--name=plain") == 0
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    assert train(config, "--name=under") == 0
    norms = [RunDir(tmp_path / "runs" / name).read_metrics()[0]["grad_norm"] for name in ("plain", "under")]
    assert norms[0] == norms[1]


def test_the_environment_compiles_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "EAGER")
    forget_accelerator()
    network = torch.nn.Linear(1, 1)
    assert start(Config()).prepare(network) is network
    forget_accelerator()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ACCELERATE_USE_DEEPSPEED", "true", "asks for DEEPSPEED"),
        ("ACCELERATE_USE_MEGATRON_LM", "true", "asks for MEGATRON_LM"),
        ("ACCELERATE_MIXED_PRECISION", "fp8", "mixed precision fp8; expected no, fp16 or bf16"),
    ],
)
def test_an_engine_or_precision_that_the_loop_does_not_know_is_refused(
    tmp_path: Path,
    phantom_store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
    said: str,
) -> None:
    monkeypatch.setenv(variable, value)
    assert train(write_config(tmp_path, phantom_store)) == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1
    assert not (tmp_path / "runs").exists()
