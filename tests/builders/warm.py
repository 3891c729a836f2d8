"""Processes that train or predict, as forks of one that has imported what they need: a start costs no seconds.

For tests of what several processes compute. How real launchers start, stop and end them is tested with these, in
`tests/training/test_launch.py` and `tests/faults/test_stops.py`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from torch.distributed import TCPStore

from tests.builders.runs import LAUNCH, ROOT

SECONDS = 240
# What a training or a prediction imports on its way. Nothing here computes: threads of torch would not survive a fork.
IMPORTED = (
    *("torch._dynamo", "scipy.fft", "scipy.optimize", "scipy.sparse.csgraph", "accelerate", "train"),
    *("mets3d.evaluation.lesions", "mets3d.losses.hausdorff", "mets3d.training.loop", "mets3d.training.session"),
    *("mets3d.training.lock", "mets3d.inference.predict", "mets3d.verbs.predict", "tests.builders.runs"),
)


def fresh_processes() -> Any:
    """A context that starts processes which share nothing with this one; where it can be, one imports for all."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*IMPORTED])
    with contextlib.chdir(ROOT):  # where it finds train.py and the tests
        forkserver.ensure_running()
    return context


def python(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python WORDS`: a script, a module by -m or code by -c, with its arguments."""
    variables = {**os.environ, **environment}
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return _run([sys.executable, *words], variables)
    return _forked(words, [variables])


def launch(*words: str, launch_file: str = "cpu_ddp", **environment: str) -> subprocess.CompletedProcess[str]:
    """`accelerate launch WORDS` by one of our launch files for two processes, which are real gloo processes on the CPU.

    Accelerate says which variables they get; the exit code is the first that is not 0.
    """
    file = str(ROOT / "accelerate_configs" / f"{launch_file}.yaml")
    options = ["--config_file", file, "--mixed_precision", "no", "--num_processes", "2", "--main_process_port", "0"]
    if "forkserver" not in multiprocessing.get_all_start_methods():
        variables = os.environ | {"ACCELERATE_USE_CPU": "true"} | environment
        return _run([*LAUNCH, *options, *words], variables)
    # As torch's launcher does it: the store where they meet outlives each of them.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    meeting = {
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
    }
    variables = _variables(options) | meeting | environment
    return _forked(words, [variables | {"RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")])


def _run(command: Sequence[str], variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Where there is no forkserver."""
    return subprocess.run(
        command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def _forked(words: Sequence[str], environments: Sequence[Mapping[str, str]]) -> subprocess.CompletedProcess[str]:
    """A process for each environment."""
    context = fresh_processes()
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder, name) for name in ("stdout", "stderr")]
        started = [context.Process(target=_become, args=(words, each, outputs)) for each in environments]
        for process in started:
            process.start()
        codes = _ends(started)
        said = [file.read_text(encoding="utf-8", errors="replace") if file.exists() else "" for file in outputs]
    return subprocess.CompletedProcess(words, next(filter(None, codes), 0), *said)


def _variables(options: Sequence[str]) -> dict[str, str]:
    """The environment of both ranks, as Accelerate and torch's launcher make it."""
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    arguments, _, _ = _validate_launch_command(launch_command_parser().parse_args([*options, "train.py"]))
    variables = prepare_multi_gpu_env(arguments)
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    return variables | world | {"ACCELERATE_USE_CPU": "true"}


def _ends(started: Sequence[Any]) -> list[int]:
    """The exit codes of all; what takes too long is killed."""
    end = time.monotonic() + SECONDS
    for process in started:
        process.join(max(0.0, end - time.monotonic()))
    late = [process for process in started if process.exitcode is None]
    for process in late:
        process.kill()
        process.join()
    assert not late, f"{len(late)} of {len(started)} processes did not end within {SECONDS} s"
    return [process.exitcode for process in started]


def _become(words: Sequence[str], environment: Mapping[str, str], outputs: Sequence[Path]) -> None:
    """In each process: becomes `python WORDS`."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    for stream, file in zip((1, 2), outputs, strict=True):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, stream)
        os.close(opened)
    if words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        exec(words[1], {"__name__": "__main__"})
    elif words[0] == "-m":
        sys.argv = [*words[1:]]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [*words]
        runpy.run_path(words[0], run_name="__main__")
