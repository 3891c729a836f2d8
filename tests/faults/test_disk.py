"""A disk that is full or may only be read: one message, nothing half, and the same command goes on afterwards."""

import errno
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mets3d.rundir import CheckpointDir, RunDir
from mets3d.training import checkpoint, manifest
from mets3d.training.track.tracker import Tracker
from tests.builders.runs import LAUNCH, ROOT, train, write_config
from tests.builders.warm import python

WORDS = ("--train.steps=3", "--train.checkpoint_every=1", "--train.keep_checkpoints=3", "--validate.every=100")


def weights(run: RunDir, step: int) -> dict[str, torch.Tensor]:
    return load_file(CheckpointDir(run.checkpoint(step)).weights)


def equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, two[name]) for name, tensor in one.items())


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, phantom_store: Path) -> RunDir:
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert train(write_config(folder, phantom_store), *WORDS) == 0
    return RunDir(folder / "runs" / "run")


def refuse(error: int, path: Any = None) -> None:
    raise OSError(error, os.strerror(error), None if path is None else str(path))


PLACES = {
    "the folder": ("mkdir", Path, ".writing_step_00000002"),
    "the weights": ("write_bytes", Path, "model.safetensors"),
    "the optimizer": ("_write_state", checkpoint, "optimizer.bin"),
    "the progress": ("write_json", checkpoint, "progress.json"),
    "the manifest": ("write_json", manifest, "manifest.json"),
    "the sync": ("sync", checkpoint, ".writing_step_00000002"),
    "the rename": ("rename", Path, ".writing_step_00000002"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_checkpoint_that_cannot_be_written_leaves_those_before_it(
    tmp_path: Path,
    phantom_store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    uninterrupted: RunDir,
    place: str,
    error: int,
) -> None:
    config = write_config(tmp_path, phantom_store)
    run = RunDir(tmp_path / "runs" / "run")
    name, owner, file = PLACES[place]
    original = getattr(owner, name)

    def failing(path: Path, *arguments: Any, **more: Any) -> Any:
        if path.name == file and "step_00000002" in str(path):
            refuse(error, path)
        return original(path, *arguments, **more)

    monkeypatch.setattr(owner, name, failing)
    assert train(config, *WORDS) == 1
    monkeypatch.undo()
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert f"step_00000002: the checkpoint cannot be written: {os.strerror(error)}" in message
    assert "(step_00000001)" in message
    found, damaged = checkpoint.newest_whole(run)
    assert found is not None
    assert found.record.progress.step == 1
    assert damaged == {}
    assert not list(run.path.rglob("*.tmp.*"))
    assert not run.lock.exists()
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["last", "step_00000001"]
    assert train(config, *WORDS) == 0
    assert equal(weights(run, 3), weights(uninterrupted, 3))


def test_weights_that_cannot_be_written_are_one_message(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from mets3d.training import state

    config = write_config(tmp_path, phantom_store)
    monkeypatch.setattr(state, "save_weights", lambda *_arguments: refuse(errno.ENOSPC))
    assert train(config) == 1
    assert "model.safetensors: the weights cannot be written: No space left on device" in capsys.readouterr().err


def test_a_disk_full_for_log_and_checkpoint_says_both(
    tmp_path: Path, phantom_store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = Tracker.__init__

    def full(tracker: Tracker, *arguments: Any, **more: Any) -> None:
        original(tracker, *arguments, **more)
        assert tracker.file is not None
        tracker.file.close()
        tracker.file = os.fdopen(os.open("/dev/full", os.O_WRONLY), "a", encoding="utf-8")

    monkeypatch.setattr(Tracker, "__init__", full)
    monkeypatch.setattr(checkpoint, "_write_state", lambda file, _content: refuse(errno.ENOSPC, file))
    assert train(write_config(tmp_path, phantom_store)) == 1
    message = capsys.readouterr().err
    assert "the disk is full" in message
    assert "and there is no new checkpoint, because" in message
    assert message.count("\n") == 1


TRAIN = "import train\nraise SystemExit(train.main())\n"


@pytest.mark.slow
def test_a_limit_on_the_size_of_a_file_is_such_an_error(tmp_path: Path, phantom_store: Path) -> None:
    # The kernel's own refusal in the middle of torch.save, which answers with an error about positions.
    config = write_config(tmp_path, phantom_store, model={"features": 8, "max_features": 32})
    assert train(config, "--train.steps=1") == 0
    folder = CheckpointDir(RunDir(tmp_path / "runs" / "run").checkpoint(1))
    limit = Path(folder.optimizer).stat().st_size - 100_000
    assert limit > Path(folder.weights).stat().st_size
    script = tmp_path / "script.py"
    script.write_text(f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n{TRAIN}")
    done = python(str(script), "--config", str(config), "--name=limited", *WORDS)
    assert done.returncode == 1
    assert "step_00000001: the checkpoint cannot be written: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(RunDir(tmp_path / "runs" / "limited").checkpoints.iterdir()) == []


# ---------------------------------------------------------------- before any long work


@pytest.mark.parametrize(
    ("checkpoints", "code", "said"),
    [(0.9, 2, "a checkpoint takes"), (3.5, 0, "lower train.keep_checkpoints"), (6.0, 0, None)],
)
def test_room_is_looked_at_before_the_start(
    tmp_path: Path,
    phantom_store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    checkpoints: float,
    code: int,
    said: str | None,
) -> None:
    # Large enough that names and headers are a small part of the files.
    model = {"features": 16, "max_features": 64}
    config = write_config(tmp_path, phantom_store, model=model, train={"steps": 1, "keep_checkpoints": 2})
    assert train(config, "--name=measured") == 0
    written = sum(file.stat().st_size for file in RunDir(tmp_path / "runs" / "measured").checkpoint(1).iterdir())
    usage = shutil.disk_usage(tmp_path)._replace(free=int(checkpoints * written))
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    capsys.readouterr()
    assert train(config) == code
    printed = capsys.readouterr()
    assert ("are free" in printed.out + printed.err) is (said is not None)
    assert (said or "") in printed.out + printed.err
    assert (tmp_path / "runs" / "run" / "config.yaml").exists() is (code == 0)


# ---------------------------------------------------------------- real file systems


def in_namespace(*commands: str) -> subprocess.CompletedProcess[str]:
    """Runs shell commands where file systems can be mounted."""
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", "; ".join(commands)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def can_mount() -> bool:
    try:
        return in_namespace("mount -t tmpfs -o size=1m tmpfs /mnt").returncode == 0
    except FileNotFoundError:
        return False


MOUNTS = pytest.mark.skipif(not can_mount(), reason="needs the right to mount")


@MOUNTS
@pytest.mark.slow
def test_a_full_disk_ends_every_process_with_one_message(tmp_path: Path, phantom_store: Path) -> None:
    config = write_config(tmp_path, phantom_store, model={"features": 16, "max_features": 64})
    assert train(config, "--train.steps=1") == 0
    run = RunDir(tmp_path / "runs" / "run")
    one = sum(file.stat().st_size for file in run.checkpoint(1).iterdir())
    (tmp_path / "small").mkdir()
    launcher = [*LAUNCH, "--multi_gpu", "--num_processes", "2", "--main_process_port", "0"]
    command = shlex.join(
        [*launcher, "train.py", "--config", str(config), f"--output={tmp_path / 'small'}", *WORDS],
    )
    done = in_namespace(
        f"mount -t tmpfs -o size={one * 5 // 2} tmpfs {tmp_path / 'small'}",
        f"{command}; echo exit code $?",
        f"ls -A {tmp_path / 'small' / 'run' / 'checkpoints'}",
    )
    lines = done.stdout.splitlines()
    assert "exit code 1" in lines
    assert lines[lines.index("exit code 1") + 1 :] == ["last", "step_00000001", "step_00000002"]
    said = [line for line in done.stderr.splitlines() if line.startswith("train.py:")]
    assert len(said) == 1
    assert "step_00000003: the checkpoint cannot be written: No space left on device" in said[0]


@MOUNTS
@pytest.mark.slow
def test_a_disk_that_may_only_be_read_is_refused_before_any_work(tmp_path: Path, phantom_store: Path) -> None:
    config = write_config(tmp_path, phantom_store)
    (tmp_path / "runs").mkdir()
    command = shlex.join([sys.executable, "train.py", "--config", str(config)])
    done = in_namespace(
        f"mount --bind {tmp_path / 'runs'} {tmp_path / 'runs'}",
        f"mount -o remount,bind,ro {tmp_path / 'runs'}",
        f"{command}; echo exit code $?",
    )
    assert "exit code 2" in done.stdout
    assert f"train.py: {tmp_path / 'runs' / 'run'} cannot be written: Read-only file system" in done.stderr
    assert done.stderr.count("\n") == 1
