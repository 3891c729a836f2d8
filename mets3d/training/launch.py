"""Starts Accelerate, reports input errors once for all processes, and records on which machine a run trained."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import (
    DistributedDataParallelKwargs,
    GradientAccumulationPlugin,
    InitProcessGroupKwargs,
    TorchDynamoPlugin,
)

from mets3d.config import Config
from mets3d.data.workers import check_shared_memory
from mets3d.files import NUMBER, TEXT, read_json, read_object, write_json
from mets3d.rundir import RunDir
from mets3d.training import hosts, sharding
from mets3d.training.failure import TrainingError, message_of
from mets3d.training.job import Job
from mets3d.training.launch_kinds import check_launch
from mets3d.training.together import PATIENCE, is_first_to_fail, together
from mets3d.training.track.installed import check_installed
from mets3d.wording import counted


@contextmanager
def started(config: Config) -> Iterator[Accelerator]:
    """Starts Accelerate for this process and shuts it down at the end of the block.

    An error in the block ends every process with exit code 1 and one message on each host; so does a host that is lost.
    """
    place = hosts.Place.here()
    with one_message(), hosts.meeting(place):
        accelerator = start(config)
        if place.hosts > 1:
            accelerator.wait_for_everyone()  # under NCCL nothing is connected before
    with hosts.watching(place) as watch:
        try:
            yield accelerator
        except Exception as error:
            speak(error, accelerator, None if watch is None else watch.lost)
            leave(accelerator, 1)
            raise SystemExit(1) from None
        except SystemExit as leaving:
            leave(accelerator, leaving.code if isinstance(leaving.code, int) else 1)
            raise
        finally:
            accelerator.end_training()


def leave(accelerator: Accelerator, code: int) -> None:
    """Ends this process at once if it is one of several; call it when nothing is left to write.

    At Python's own end torch frees the group of processes with Python's lock in hand and joins a thread of gloo that
    may be waiting for that lock: a rank that never ends, seen once in some hundred runs (torch 2.13). After an error
    that the others do not know, shutting down together would wait for them besides.
    """
    if accelerator.num_processes > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def start(config: Config) -> Accelerator:
    """Makes the Accelerator.

    Raises ValueError where launcher and Accelerate disagree on the number of processes, and where a device is missing
    or lacks the precision.
    """
    check_engine(os.environ)
    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "false").lower() in ("true", "1", "yes")
    check_devices(processes_here(), 0 if on_cpu else torch.cuda.device_count())
    check_launch(config)
    check_installed(config.track)
    with sharding.hidden_from_accelerate():
        accelerator = _accelerator(config)
    check_world(int(os.environ.get("WORLD_SIZE", "1")), accelerator.num_processes)
    check_alone(os.environ)
    check_precision(accelerator.mixed_precision, accelerator.device)
    return accelerator


def _accelerator(config: Config) -> Accelerator:
    return Accelerator(
        mixed_precision=config.precision,
        # The loop accumulates itself. Without these two a variable of the environment, which a launch file sets too,
        # would divide the loss once more, or compile the network unasked.
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
        dynamo_plugin=TorchDynamoPlugin(backend="no"),
        kwargs_handlers=[
            # Every trainable parameter has a gradient after every backward, so no search for unused ones.
            DistributedDataParallelKwargs(gradient_as_bucket_view=True, find_unused_parameters=False),
            # Validation of large cases on one rank must not trip the collectives' watchdog on the others.
            InitProcessGroupKwargs(timeout=PATIENCE),
        ],
    )


def processes_here() -> int:
    """Returns the number of training processes on this host."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def check_devices(processes: int, gpus: int) -> None:
    """Raises ValueError where there are GPUs, but fewer than processes on this host."""
    if 0 < gpus < processes:
        raise ValueError(
            f"the launcher started {processes} processes on this host, which has {counted(gpus, 'GPU')}; use "
            f"--num_processes {gpus}"
        )


def check_engine(variables: Mapping[str, str]) -> None:
    """Raises ValueError where the launch asks for an engine or a precision that this loop does not train with."""
    for name in ("DEEPSPEED", "MEGATRON_LM"):
        if variables.get(f"ACCELERATE_USE_{name}", "").lower() == "true":
            raise ValueError(
                f"the launch asks for {name}, which clips and steps by itself, and so does this loop; use "
                "accelerate_configs/multi_gpu.yaml, or another of accelerate_configs"
            )
    precision = variables.get("ACCELERATE_MIXED_PRECISION", "no")
    if precision not in ("", "no", "fp16", "bf16"):
        raise ValueError(f"the launch asks for mixed precision {precision}; expected no, fp16 or bf16")


def check_precision(precision: str, device: torch.device) -> None:
    """Raises ValueError where the device cannot compute in this mixed precision."""
    if precision == "fp16" and device.type == "cpu":
        raise ValueError("precision fp16 on a CPU would run without a loss scaler; use bf16 or no")
    if precision == "bf16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ValueError(f"{torch.cuda.get_device_name(device)} has no bf16; use --precision=fp16 or --precision=no")


def check_world(launched: int, joined: int) -> None:
    """Raises ValueError where N launched processes do not see each other: each would train a network of its own."""
    if launched != joined:
        raise ValueError(
            f"the launcher started {counted(launched, 'process', 'processes')}, but Accelerate sees "
            f"{joined}: they would train {launched} "
            "separate networks. No GPU is visible to this configuration. On CPUs use "
            f"`ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes {launched} train.py ...`; "
            "on one GPU use `accelerate launch --config_file accelerate_configs/single_gpu.yaml train.py ...`"
        )


def check_alone(variables: Mapping[str, str]) -> None:
    """Raises ValueError where a launch file names several processes and its kind, such as MULTI_CPU, starts one.

    Accelerate then says where the others are to be met, but not how many there are. MPI has names of its own.
    """
    met = {"ACCELERATE_MIXED_PRECISION", "MASTER_ADDR"} <= set(variables)
    counted = {"WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"} & set(variables)
    if met and not counted:
        raise ValueError(
            "the launch names several processes, but its distributed_type starts one (MASTER_ADDR is set, WORLD_SIZE "
            "is not). For processes on CPUs use `ACCELERATE_USE_CPU=true accelerate launch --config_file "
            "accelerate_configs/cpu_ddp.yaml train.py ...`; for one set num_processes to 1 and unset MASTER_ADDR"
        )


@contextmanager
def one_message(accelerator: Accelerator | None = None) -> Iterator[None]:
    """Reports an input error once on each host and exits every process with code 2.

    With an Accelerator an error of one process is one of all: the block must not wait for another process.
    """
    try:
        with together(accelerator) if accelerator else nullcontext():
            yield
    except (ValueError, OSError, TrainingError) as error:
        if hosts.Place.here().speaks:
            print(f"train.py: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def speak(error: Exception, accelerator: Accelerator, lost: str | None = None) -> None:
    """Prints the message of an error, once on each host: by its first process if all have it, else the first to fail.

    lost: the message of a lost host, of which the error is a consequence.
    """
    if lost or isinstance(error, TrainingError) or accelerator.num_processes == 1:
        speaks = accelerator.is_local_main_process
    else:
        speaks = is_first_to_fail()
    if speaks:
        print(f"train.py: {lost or message_of(error)}", file=sys.stderr, flush=True)


def check_loader(job: Job, accelerator: Accelerator) -> None:
    """Raises DataError where this host's shared memory is too small for what the workers load ahead."""
    train = job.config.train
    check_shared_memory(
        train.batch_size // (accelerator.num_processes * train.accumulation) * job.samples.bytes,
        workers=job.config.data.workers,
        held=train.accumulation,
        processes=processes_here(),
    )


def note_start(job: Job, accelerator: Accelerator, parameters: int) -> None:
    """Writes environment.json for this start, and keeps the seconds of earlier sessions of the same run.

    `store` is the digest of the training data, by which the report sees whether runs share them.
    """
    before = _before(job.run)
    kept = {"first_started": before.get("first_started", _now()), "seconds": before.get("seconds", 0.0)}
    write_json(job.run.environment, environment(accelerator, parameters) | {"store": job.store.digest} | kept)


def _before(run: RunDir) -> Mapping[str, Any]:
    """Returns what the last start wrote, nothing where that cannot be read: no training depends on it."""
    try:
        return read_object(run.environment, {"first_started": TEXT, "seconds": NUMBER})
    except (FileNotFoundError, ValueError):
        return {}


def note_end(run: RunDir, exit_code: int) -> None:
    """Adds this session's seconds, its end and its exit code to environment.json."""
    _add_session(run, {"finished": _now(), "exit_code": exit_code})


def note_failure(run: RunDir) -> None:
    """Adds this session's seconds and exit code 1 to environment.json; a run that failed did not finish."""
    _add_session(run, {"exit_code": 1})


def _add_session(run: RunDir, end: Mapping[str, Any]) -> None:
    record = read_json(run.environment)
    session = (datetime.now(UTC) - datetime.fromisoformat(record["started"])).total_seconds()
    write_json(run.environment, record | {"seconds": record["seconds"] + session} | end)


def environment(accelerator: Accelerator, parameters: int) -> dict[str, Any]:
    """Returns versions, devices, number of parameters, the command and the time.

    `processor` names what rounding depends on: on another one the same command gives somewhat other weights.
    """
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
        "processor": f"{_processor()}, {torch.backends.cpu.get_cpu_capability()}",
        "processes": accelerator.num_processes,
        "precision": accelerator.mixed_precision,
        "threads": torch.get_num_threads(),
        "parameters": parameters,
        "command": shlex.join(sys.argv),
        "started": _now(),
    }


def _processor() -> str:
    """Returns the name of the host's processor; of its family where the system says no more."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
