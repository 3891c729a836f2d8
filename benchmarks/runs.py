"""Finishes many short trainings, resumable: what benchmarks/recipe.py and study.py share.

Only imported; run by itself it does nothing.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

from harness import cpu_model
from heads import ROOT, Place, source_digest


class Request(Protocol):
    """One run: a name with a seed on a device. until: when it must have stopped, as `time.time` counts."""

    @property
    def place(self) -> Place: ...
    @property
    def name(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def device(self) -> str: ...
    @property
    def until(self) -> float | None: ...
    @property
    def result(self) -> Path:
        """The file that is there when the run is finished."""


def finish_all(requests: Sequence[Any], jobs: int, finish: Callable[[Any], int]) -> int:
    """Calls `finish` with each request, in so many processes that take one after another; returns how many failed."""
    if not requests:
        return 0
    with ProcessPoolExecutor(min(jobs, len(requests)), mp_context=get_context("spawn")) as pool:
        return sum(done.result() != 0 for done in as_completed([pool.submit(finish, each) for each in requests]))


def finish_one(request: Request, make: Callable[[Any], None]) -> int:
    """Finishes one run, unless it is or the time is over; its output goes to logs/. Returns 0 if it is finished."""
    if request.result.exists():
        return 0
    if request.until is not None and time.time() > request.until:
        return 1
    log = request.place.path / "logs" / f"{request.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    error: BaseException | None = None
    with log.open("a", encoding="utf-8", buffering=1) as stream, redirect_stdout(stream), redirect_stderr(stream):
        try:
            make(request)
        except (Exception, SystemExit) as caught:  # one run that fails stops no other
            traceback.print_exc()
            error = caught
    state = "finished" if request.result.exists() else f"not finished ({error or 'time is over'}), see {log}"
    print(f"{request.name}: {state} after {time.perf_counter() - start:.0f} s", flush=True)
    return 0 if request.result.exists() else 1


def trained(request: Request, words: Sequence[str]) -> dict[str, Any] | None:
    """Trains as `train.py` does, in this process and thread; None where time was over before.

    Returns the settings, the number of parameters and, of a run that was not resumed, its seconds.
    """
    import torch
    from accelerate import Accelerator

    from mets3d.config import load
    from mets3d.training.loop import fit
    from mets3d.training.session import open_session
    from mets3d.training.stop import listening
    from train import compose

    torch.set_num_threads(1)
    place = request.place
    files = [f"--data.store={place.store}", f"--data.split={place.split}", f"--output={place.runs}"]
    config = load([*words, *files, f"--name={request.name}", f"--seed={request.seed}", "--track.wandb=disabled"])
    accelerator = Accelerator(cpu=request.device == "cpu")
    job = compose(config, accelerator)
    start, cpu = time.perf_counter(), time.process_time()
    with listening() as wish:
        alarm = threading.Timer(max(0.0, request.until - time.time()), wish.ask) if request.until else None
        if alarm:
            alarm.daemon = True
            alarm.start()
        with open_session(job, accelerator, wish) as session:
            first = session.progress.step
            fit(session)
        if alarm:
            alarm.cancel()
        if session.stopped_by:
            return None
    seconds = {"train_s": time.perf_counter() - start, "train_cpu_s": time.process_time() - cpu}
    return {
        "settings": list(words),
        "parameters": sum(parameter.numel() for parameter in job.network.parameters()),
        **({name: round(value, 1) for name, value in seconds.items()} if first == 0 else {}),
    }


def predicted(request: Request, out: Path, overrides: Sequence[str] = ()) -> None:
    """Predicts the held-out heads of a trained run by its own settings. Raises ValueError where one cannot be."""
    from mets3d.inference.predict import predict
    from mets3d.inference.setup import Choices

    choices = Choices(decoding="default", overrides=overrides)
    done = predict(request.place.runs / request.name, request.place.cases, out, choices, held_out=True)
    if done.failures:
        raise ValueError(f"not predicted: {done.failures}")


def origin(request: Request) -> dict[str, Any]:
    """Returns from what a run is: data, code and machine."""
    import torch

    device = torch.cuda.get_device_name() if request.device == "cuda" else cpu_model()
    what = request.place.what()
    return {
        "data": {name: what[name] for name in ("phantoms", "content")},
        "commit": _commit(),
        "code": source_digest("mets3d"),
        "device": device,
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def _commit() -> str | None:
    """Returns the commit of the working tree; None where there is no repository."""
    words = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=20, env={**os.environ})
    except OSError:
        return None
    return done.stdout.strip() or None
