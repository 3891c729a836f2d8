"""The launcher that passes signals on: which launch it makes, what it refuses, and whose exit code it returns."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_simple_launcher_cmd_env

from mets3d.training import launcher
from mets3d.training.launcher import launch, train
from tests.builders.runs import ROOT, write_config
from tests.builders.warm import python

FILES = ROOT / "accelerate_configs"
TWO: dict[str, object] = {"num_machines": 2, "num_processes": 8}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretends a number of GPUs; collects what would be launched instead of doing so."""
    import accelerate.commands.launch as theirs

    launched: list[Any] = []
    monkeypatch.setattr(theirs, "launch_command", launched.append)
    monkeypatch.delenv("ACCELERATE_USE_CPU")

    def pretend(gpus: int, cuda: str | None = None) -> list[Any]:
        monkeypatch.setattr(torch.version, "cuda", cuda)
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
        return launched

    return pretend


@pytest.mark.parametrize(
    ("gpus", "name", "processes"), [(0, "cpu", None), (1, "single_gpu", None), (4, "multi_gpu", 4)]
)
def test_the_gpus_that_are_seen_choose_the_launch(
    world: Any, capsys: pytest.CaptureFixture[str], gpus: int, name: str, processes: int | None
) -> None:
    launched = world(gpus)
    assert train(None, ["--config", "quickstart"], program="mets3d train") == 0
    (options,) = launched
    assert options.config_file == str(FILES / f"{name}.yaml")
    assert options.num_processes == processes
    assert options.training_script == str(ROOT / "train.py")
    assert options.training_script_args == ["--config", "quickstart"]
    assert f"--launch {name}" in capsys.readouterr().out


def test_a_cuda_build_that_sees_no_gpu_does_not_train_on_the_cpu_unasked(
    world: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    launched = world(0, cuda="13.0")
    assert train(None, ["--config", "quickstart"], program="mets3d train") == 2
    assert launched == []
    told = capsys.readouterr().err
    assert "start it with --gpus all" in told
    assert told.rstrip().endswith("or train on the CPU with --launch cpu")
    assert train("cpu", ["--config", "quickstart"], program="mets3d train") == 0
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert train(None, ["--config", "quickstart"], program="mets3d train") == 0
    assert len(launched) == 2


def test_a_named_launch_for_all_gpus_takes_all_and_a_file_what_it_says(world: Any, tmp_path: Path) -> None:
    launched = world(3)
    mine = tmp_path / "mine.yaml"
    mine.write_text((FILES / "multi_gpu.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    for name in ("multi_gpu", str(mine)):
        assert train(name, [], program="mets3d train") == 0
    assert [options.num_processes for options in launched] == [3, None]


def test_several_hosts_meet_at_the_port_of_their_launch_file(world: Any, tmp_path: Path) -> None:
    launched = world(4)
    file = file_of(tmp_path, num_machines=2, num_processes=8, main_process_ip="node0", main_process_port=29501)
    for name in (file, "multi_gpu"):
        assert train(name, [], program="mets3d train") == 0
    assert [options.main_process_port for options in launched] == [None, 0]  # None: as the file says; 0: any free one


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"machine_rank": 2}, "--machine_rank is 2; expected 0 to 1 for --num_machines 2"),
        ({"num_processes": 7}, "--num_processes 7 does not divide over 2 hosts"),
    ],
)
def test_hosts_that_do_not_fit_together_are_one_line(
    world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, object], message: str
) -> None:
    launched = world(4)
    assert train(file_of(tmp_path, **TWO | changes), [], program="mets3d train") == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert errors.count("\n") == 1
    assert launched == []


@pytest.mark.parametrize(
    ("words", "waits"),
    [
        ([], "timeout=300"),
        (["--rdzv_conf", "timeout=7200"], "timeout=7200"),
        (["--rdzv_conf", "join=1"], "join=1,timeout=300"),
    ],
)
def test_launchers_wait_for_each_other_as_long_as_is_said(
    world: Any, tmp_path: Path, words: Sequence[str], waits: str
) -> None:
    launched = world(4)
    assert launch(["--config_file", file_of(tmp_path, **TWO), *words, "train.py"], program="mets3d.launch") == 0
    assert [options.rdzv_conf for options in launched] == [waits]


def test_launchers_that_do_not_meet_are_one_line_with_a_remedy(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import accelerate.commands.launch as theirs

    def refuse(_options: object) -> None:
        raise torch.distributed.DistNetworkError("timed out while trying to connect\nand a trace")

    world(4)
    monkeypatch.setattr(theirs, "launch_command", refuse)
    words = ["--config_file", file_of(tmp_path, **TWO), "--num_machines", "2", "--main_process_ip", "node0"]
    assert launch([*words, "--main_process_port", "29501", "train.py"], program="mets3d.launch") == 1
    errors = capsys.readouterr().err
    assert "the launchers of 2 hosts did not meet at node0 port 29501 (timeout=300): timed out while trying" in errors
    assert "each with a --machine_rank of its own from 0 to 1" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    "content", ["", "a: [1", "- a", "num_processes: two\ndistributed_type: MULTI_GPU", "distributed_type: WHAT", "\0\1"]
)
def test_a_file_that_is_no_launch_file_is_one_line(
    world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    launched = world(2)
    file = tmp_path / "bad.yaml"
    file.write_text(content, encoding="utf-8")
    assert train(str(file), [], program="mets3d train") == 2
    errors = capsys.readouterr().err
    assert errors.startswith(f"mets3d train: {file} is not a launch file: ")
    assert errors.count("\n") == 1
    assert launched == []


def test_processes_on_a_cpu_need_no_variable(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    launched = world(0)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "false")
    assert train("cpu_ddp", [], program="mets3d train") == 0
    assert len(launched) == 1
    assert os.environ["ACCELERATE_USE_CPU"] == "true"


def file_of(folder: Path, **changes: object) -> str:
    import yaml

    tree = yaml.safe_load((FILES / "multi_gpu.yaml").read_text(encoding="utf-8"))
    file = folder / "other.yaml"
    file.write_text(yaml.dump({**tree, **changes}), encoding="utf-8")
    return str(file)


@pytest.mark.parametrize(
    ("gpus", "changes", "message"),
    [
        (0, {}, "expects a GPU and none is visible; use cpu or cpu_ddp"),
        (0, {"distributed_type": "NO", "num_processes": 1}, "expects a GPU and none is visible"),
        (2, {"num_processes": 8}, "starts 8 processes on this host, which has 2 GPUs; use --num_processes 2"),
        (2, {"num_processes": 8, "num_machines": 2}, "starts 4 processes on this host, which has 2 GPUs"),
        (
            0,
            {"distributed_type": "MULTI_CPU", "use_cpu": True},
            "names 2 processes, but its distributed_type MULTI_CPU",
        ),
        (2, {"distributed_type": "NO"}, "names 2 processes, but its distributed_type NO starts one"),
    ],
)
def test_a_launch_file_of_another_world_is_one_line(
    world: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], gpus: int, changes: dict[str, object], message: str
) -> None:
    launched = world(gpus)
    assert train(file_of(tmp_path, **changes), [], program="mets3d train") == 2
    errors = capsys.readouterr().err
    assert errors.startswith("mets3d train: ")
    assert message in errors
    assert errors.count("\n") == 1
    assert launched == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--launch", "tpu", "--config", "quickstart"], "tpu: no such file or name; expected a file or one of cpu, "),
        (["--launch", "a/b.yaml", "--config", "quickstart"], "a/b.yaml: no such launch file"),
        (["--config", "slowstart"], "--config slowstart: no such file or name; expected a file or one of base, "),
        (["--config", "quickstart", "--train.stps=1"], "train.steps"),
    ],
)
def test_a_name_that_is_not_there_is_one_message_before_anything_starts(words: Sequence[str], message: str) -> None:
    done = python("-m", "mets3d", "train", *words)
    assert done.returncode == 2
    assert done.stderr.startswith("mets3d train: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("codes", "code", "message"),
    [
        ({0: 0}, 0, ""),
        ({0: 143, 1: -15}, 143, ""),  # torch's launcher signals the others when the first one leaves
        ({0: -2}, 130, ""),
        ({1: -9, 0: 1}, 137, "training process 1 of this host was ended by SIGKILL, most likely"),
        ({0: 1, 1: -9}, 137, "training process 1 of this host was ended by SIGKILL, most likely"),
        ({0: 1, 2: -9}, 1, ""),  # killed by torch's launcher, seconds after the first one ended
        ({0: -11}, 139, "ended by SIGSEGV"),
    ],
)
def test_the_exit_code_is_that_of_the_process_that_ended_first(
    world: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    codes: dict[int, int], code: int, message: str,
) -> None:  # fmt: skip
    import accelerate.commands.launch as theirs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    world(0)

    def fail(_options: object) -> None:
        if len(codes) == 1 and codes != {0: 0}:
            raise subprocess.CalledProcessError(codes[0], "train.py")
        if codes != {0: 0}:
            failures: Any = {
                rank: SimpleNamespace(exitcode=each, timestamp=600 * (rank == 2)) for rank, each in codes.items()
            }
            error = ChildFailedError.__new__(ChildFailedError)
            error.failures = failures
            raise error

    monkeypatch.setattr(theirs, "launch_command", fail)
    assert launch(["--config_file", "cpu", "train.py"], program="launch") == code
    errors = capsys.readouterr().err
    assert message in errors
    assert bool(errors) is bool(message)


def test_a_signal_before_anything_runs_leaves_at_once(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    import accelerate.commands.launch as theirs

    world(0)
    monkeypatch.setattr(theirs, "launch_command", lambda _options: signal.raise_signal(signal.SIGUSR1))
    monkeypatch.setattr("psutil.Process.children", lambda _self: [])
    before = signal.getsignal(signal.SIGUSR1)
    with pytest.raises(SystemExit) as leaving:
        launch(["--config_file", "cpu", "train.py"], program="launch")
    assert leaving.value.code == 128 + signal.SIGUSR1
    assert signal.getsignal(signal.SIGUSR1) is before


def test_our_launcher_as_a_module_answers_as_accelerate_launch_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mets3d.launch", "--config_file", "nowhere", "train.py"],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("mets3d.launch: nowhere: no such file or name")
    assert launcher.SECONDS_TO_SAVE.isdigit()


@pytest.mark.slow
def test_accelerate_says_nothing_of_processes_it_does_not_start_and_we_do(tmp_path: Path, phantom_store: Path) -> None:
    config = write_config(tmp_path, phantom_store)
    # What it gives to the one process that it starts.
    words = ["--cpu", "--num_processes", "1", "--num_machines", "1", "train.py"]
    options, *_ = _validate_launch_command(launch_command_parser().parse_args(words))
    _, variables = prepare_simple_launcher_cmd_env(options)
    done = python("train.py", "--config", str(config), **variables | {"MASTER_ADDR": "127.0.0.1"})
    assert done.returncode == 2
    assert "names several processes, but its distributed_type starts one" in done.stderr
    assert not (tmp_path / "runs").exists()
