"""Runs Accelerate's launcher in this process, passes signals on to the training and returns the training's exit code.

`accelerate launch` itself ends at a signal without its one training process, and makes 1 of the exit codes of several.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from mets3d.files import read_object
from mets3d.processes import STOP_SIGNALS
from mets3d.shipped import LAUNCH_FILES, TRAIN, file_or_name, shipped
from mets3d.training.accumulation import WORD
from mets3d.training.launch_kinds import check_file
from mets3d.training.stop import exit_code_of
from mets3d.wording import counted

# Seconds that torch's launcher gives the training to write a checkpoint before it kills it; its own default is 30.
SECONDS_TO_SAVE = "600"
SEVERAL = ("MULTI_GPU", "FSDP")  # distributed types with a process for each GPU
NO_GPU = (
    "no GPU is seen, though torch is a CUDA build; in a container start it with --gpus all (the host needs the NVIDIA "
    "Container Toolkit), else look at nvidia-smi"
)
ONE_FOR_EACH_GPU = ("multi_gpu", "fsdp2")  # our launch files for all GPUs of a host, however many it has


def train(launch_file: str | None, words: Sequence[str], *, program: str, find_accumulation: int | None = None) -> int:
    """Runs train.py with these words under a launch file, or a packaged one by name; returns its exit code.

    Without `launch_file` the GPUs that are seen choose: cpu, single_gpu, or multi_gpu with a process for each.
    find_accumulation: instead of training find the accumulation for so many processes, 0 for one on each GPU.
    """
    import torch

    gpus = 0 if _on_cpu() else torch.accelerator.device_count()
    if find_accumulation is not None:
        words = [f"{WORD}={find_accumulation or max(gpus, 1)}", *words]
        gpus = min(gpus, 1)  # it tries in one process
    name = launch_file or ("cpu" if gpus == 0 else "single_gpu" if gpus == 1 else "multi_gpu")
    options = ["--config_file", name]
    if launch_file is None:
        if gpus == 0 and torch.version.cuda and not _on_cpu():
            print(f"{program}: {NO_GPU}, or train on the CPU with --launch cpu", file=sys.stderr)
            return 2
        print(f"{program}: --launch {name}, for the {counted(gpus, 'GPU')} seen", flush=True)
        if gpus and not torch.cuda.is_bf16_supported(including_emulation=False):
            options += ["--mixed_precision", "no"]  # older GPUs and Apple's
    if gpus and name in ONE_FOR_EACH_GPU and not Path(name).is_file():
        options += ["--num_processes", str(gpus)]
    return launch([*options, str(shipped(TRAIN)), *words], program=program, free_port=True)


def launch(words: Sequence[str], *, program: str, free_port: bool = False) -> int:
    """Runs `accelerate launch` with these words and returns the training's exit code.

    The code of a process that a signal killed is 128 + the signal's number. 2 and one line for a launch that cannot be,
    1 and one line for hosts that do not meet.
    free_port: the processes of a single host meet at a port that is free, not at the launch file's.
    """
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", SECONDS_TO_SAVE)
    # Where a connection ends, torch's warning is a stack trace of thirty lines; the training says the same in one.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    with _signals_passed_on():
        from accelerate.commands.launch import launch_command, launch_command_parser
        from torch.distributed import DistError
        from torch.distributed.elastic.multiprocessing.api import SignalException
        from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

        options = launch_command_parser().parse_args(list(words))
        # Torch's launcher handles signals too. Without restarts the handlers here pass them on and hear how the
        # training ended; with restarts it would start a training again that ends, so it must know of the signal.
        heard = [signal.Signals(number).name for number in _heard()] if options.max_restarts else ["SIGQUIT"]
        options.signals_to_handle = ",".join(heard)
        logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
        if options.config_file is not None:  # else it says which defaults it takes
            logging.getLogger("accelerate.commands.launch").setLevel(logging.ERROR)
        try:
            _check_world(options, free_port=free_port)
            launch_command(options)
        except subprocess.CalledProcessError as error:
            return _exit_code({0: error.returncode}, program)
        except ChildFailedError as error:
            return _exit_code(_first_to_end(error.failures), program)
        except SignalException as error:
            return exit_code_of(error.sigval)
        except DistError as error:
            print(f"{program}: {_not_met(options, error)}", file=sys.stderr)
            return 1
        except (ValueError, OSError) as error:
            print(f"{program}: {error}", file=sys.stderr)
            return 2
    return 0


@contextmanager
def _signals_passed_on() -> Iterator[None]:
    """Sends the signals that stop a training to the processes that this one started; what is ignored stays ignored."""
    import psutil

    before = {number: signal.getsignal(number) for number in _heard()}

    def pass_on(number: int, _frame: FrameType | None) -> None:
        children = psutil.Process().children()
        if not children:
            raise SystemExit(exit_code_of(number))  # nothing runs yet
        for child in children:
            child.send_signal(number)

    for number in before:
        signal.signal(number, pass_on)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _heard() -> list[int]:
    return [number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


def _first_to_end(failures: Mapping[int, Any]) -> dict[int, int]:
    """Returns rank and exit code of the process that ended first, of those that torch's launcher saw end.

    Of several that it found at one look the one that a signal killed is the first: the others end because of it.
    """
    first = min(failure.timestamp for failure in failures.values())
    at_once = {rank: failure.exitcode for rank, failure in failures.items() if failure.timestamp <= first + 1}
    rank = next((rank for rank, code in at_once.items() if code < 0 and -code not in STOP_SIGNALS), next(iter(at_once)))
    return {rank: at_once[rank]}


def _exit_code(codes: Mapping[int, int], program: str) -> int:
    """Returns the exit code of the process that ended first; says it where a signal killed one without a word."""
    local_rank, code = next(iter(codes.items()))
    if code >= 0:
        return code
    if -code not in STOP_SIGNALS:
        name = signal.Signals(-code).name
        cause = ", most likely by the system because memory ran out" if -code == signal.SIGKILL else ""
        print(
            f"{program}: training process {local_rank} of this host was ended by {name}{cause}; the same command goes "
            "on from the last checkpoint",
            file=sys.stderr,
        )
    return exit_code_of(-code)


def _check_world(options: Namespace, *, free_port: bool) -> None:
    """Raises ValueError where a launch file expects other devices than this host has; Accelerate would say nothing."""
    import torch

    if options.config_file is None:
        return
    options.config_file = str(file_or_name(options.config_file, LAUNCH_FILES))
    if not Path(options.config_file).is_file():
        raise FileNotFoundError(f"{options.config_file}: no such launch file")
    file = _read_launch_file(options.config_file)
    kind = "MULTI_GPU" if options.multi_gpu else str(getattr(file.distributed_type, "value", file.distributed_type))
    check_file("DEEPSPEED" if options.use_deepspeed else kind, file.fsdp_config or {})
    processes = options.num_processes or file.num_processes
    hosts = max(options.num_machines or file.num_machines, 1)
    here = processes // hosts
    if hosts > 1:
        _check_hosts(options, file, hosts, processes)
    elif free_port:  # several hosts must know the port
        options.main_process_port = 0
    on_cpu = options.cpu or file.use_cpu or _on_cpu()
    if kind not in SEVERAL and processes > 1 and not options.mpirun_hostfile:
        raise ValueError(
            f"{options.config_file} names {processes} processes, but its distributed_type {kind} starts one; use "
            "cpu_ddp for processes on a CPU, multi_gpu for GPUs"
        )
    if on_cpu:
        os.environ["ACCELERATE_USE_CPU"] = "true"  # Accelerate passes it on to one process alone
        return
    gpus = torch.accelerator.device_count()
    if gpus == 0:
        raise ValueError(f"{options.config_file} expects a GPU and none is visible; use cpu or cpu_ddp")
    if here > gpus:
        raise ValueError(
            f"{options.config_file} starts {here} processes on this host, which has {counted(gpus, 'GPU')}; use "
            f"--num_processes {gpus}"
        )


def _check_hosts(options: Namespace, file: Any, hosts: int, processes: int) -> None:
    """Has the hosts of a launch wait for each other for MEET_SECONDS, unless --rdzv_conf says how long.

    Torch's own launcher waits for 15 minutes. Raises ValueError for numbers of hosts that do not fit together.
    """
    from mets3d.training.hosts import MEET_SECONDS, MEET_VARIABLE, seconds_of

    rank = getattr(file, "machine_rank", 0) if options.machine_rank is None else options.machine_rank
    if not 0 <= rank < hosts:
        raise ValueError(f"--machine_rank is {rank}; expected 0 to {hosts - 1} for --num_machines {hosts}")
    if processes % hosts:
        raise ValueError(
            f"--num_processes {processes} does not divide over {hosts} hosts; it counts the processes of all hosts, "
            "the same number on each"
        )
    words = [word for word in (options.rdzv_conf or "").split(",") if word]
    if not any(word.startswith("timeout=") for word in words):
        words.append(f"timeout={math.ceil(seconds_of(MEET_VARIABLE, MEET_SECONDS))}")
    options.rdzv_conf = ",".join(words)


def _not_met(options: Namespace, error: Exception) -> str:
    """Says where hosts did not meet, what torch found there, and what to look at."""
    said = str(error).partition("\n")[0].rstrip(".")
    return (
        f"the launchers of {options.num_machines} hosts did not meet at {options.main_process_ip} port "
        f"{options.main_process_port} ({options.rdzv_conf}): {said}. Start the command on every host, each with a "
        f"--machine_rank of its own from 0 to {int(options.num_machines or 1) - 1}; --main_process_ip and "
        "--main_process_port are those of the host with --machine_rank 0, whose firewall must let that port through. "
        "--rdzv_conf timeout=SECONDS waits longer"
    )


def _read_launch_file(path: str) -> Any:
    """Returns what Accelerate makes of a launch file. Raises ValueError for a file that is none."""
    import yaml
    from accelerate.commands.config.config_args import load_config_from_file

    from mets3d.config.bounded_yaml import read_bounded

    try:
        if not path.endswith(".json"):  # as Accelerate decides; it reads what it is given without bounds
            read_bounded(Path(path).read_text(encoding="utf-8"), yaml.SafeLoader)
        else:
            read_object(Path(path))
        file: Any = load_config_from_file(path)
        counts = (file.num_processes, getattr(file, "num_machines", 1))
        if not all(type(count) is int for count in counts):
            raise ValueError("expected whole numbers as num_processes and num_machines")
        return file
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        said = "; ".join(line.strip() for line in str(error).splitlines())
        raise ValueError(f"{path} is not a launch file: {said}. accelerate_configs has examples") from None


def _on_cpu() -> bool:
    return os.environ.get("ACCELERATE_USE_CPU", "false").lower() in ("true", "1", "yes")
