"""Starts Accelerate, reports input errors once for all processes, and records on which machine a run trained."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

from mets3d.config import Config
from mets3d.files import read_json, write_json
from mets3d.rundir import RunDir
from mets3d.training.track import wandb_is_wanted


@contextmanager
def started(config: Config) -> Iterator[Accelerator]:
    """Starts Accelerate for this process and shuts it down at the end of the block."""
    with one_message():
        accelerator = start(config)
    try:
        yield accelerator
    finally:
        accelerator.end_training()


def start(config: Config) -> Accelerator:
    """Makes the Accelerator. Raises ValueError where launcher and Accelerate disagree on the number of processes."""
    accelerator = Accelerator(
        mixed_precision=config.precision,
        log_with="wandb" if wandb_is_wanted(config.track) else None,
        kwargs_handlers=[
            # Every trainable parameter has a gradient after every backward, so no search for unused ones.
            DistributedDataParallelKwargs(gradient_as_bucket_view=True, find_unused_parameters=False),
            # Validation of large cases on one rank must not trip the collectives' watchdog on the others.
            InitProcessGroupKwargs(timeout=timedelta(hours=2)),
        ],
    )
    check_world(int(os.environ.get("WORLD_SIZE", "1")), accelerator.num_processes)
    if accelerator.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        accelerator.print("fp16 on a CPU runs without a loss scaler; bf16 is the safer choice there")
    return accelerator


def check_world(launched: int, joined: int) -> None:
    """Raises ValueError where N launched processes do not see each other: each would train a network of its own."""
    if launched != joined:
        raise ValueError(
            f"the launcher started {launched} processes, but Accelerate sees {joined}: they would train {launched} "
            "separate networks. No GPU is visible to this configuration. On CPUs use "
            f"`ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes {launched} train.py ...`; "
            "on one GPU use `accelerate launch --config_file accelerate_configs/single_gpu.yaml train.py ...`"
        )


@contextmanager
def one_message(accelerator: Accelerator | None = None) -> Iterator[None]:
    """Reports an input error once, from rank 0, and exits every process with code 2."""
    try:
        yield
    except (ValueError, OSError) as error:
        main = accelerator.is_main_process if accelerator else os.environ.get("RANK", "0") == "0"
        if main:
            print(f"train.py: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def note_start(run: RunDir, accelerator: Accelerator, parameters: int) -> None:
    """Writes environment.json for this start, and keeps the seconds of earlier sessions of the same run."""
    before = read_json(run.environment) if run.environment.exists() else {}
    kept = {"first_started": before.get("first_started", _now()), "seconds": before.get("seconds", 0.0)}
    write_json(run.environment, environment(accelerator, parameters) | kept)


def note_end(run: RunDir, exit_code: int) -> None:
    """Adds this session's seconds, its end and its exit code to environment.json."""
    record = read_json(run.environment)
    session = (datetime.now(UTC) - datetime.fromisoformat(record["started"])).total_seconds()
    record |= {"seconds": record["seconds"] + session, "finished": _now(), "exit_code": exit_code}
    write_json(run.environment, record)


def environment(accelerator: Accelerator, parameters: int) -> dict[str, Any]:
    """Returns versions, devices, number of parameters, the command and the time."""
    device = accelerator.device
    return {
        "mets3d": _version("mets3d"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "accelerate": _version("accelerate"),
        "monai": _version("monai"),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{device.type}, {os.cpu_count()} cores",
        "processes": accelerator.num_processes,
        "precision": accelerator.mixed_precision,
        "threads": torch.get_num_threads(),
        "parameters": parameters,
        "command": shlex.join(sys.argv),
        "started": _now(),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
