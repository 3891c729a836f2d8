"""Finishes runs of benchmarks/recipe.py: training, predictions of the held-out heads, scores.

Only imported; run by itself it does nothing.
"""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from harness import cpu_model
from recipe_arms import ARMS, RULES, SCALES, Arm, Scale, words_of
from recipe_data import ROOT, Place, source_digest

from mets3d.evaluation.case import Scoring
from mets3d.evaluation.evaluate import Tables, evaluate
from mets3d.files import write_json

REGIONS = ("WT", "TC", "ET")
COLUMNS = ("dice", "lesion_wise_dice", "lesions_found", "lesions_missed", "lesions_false")
PLAIN, MIRRORED = "plain", "mirrored"


@dataclass(frozen=True)
class Request:
    """One run: an arm with a seed on a device. until: when it must have stopped, as `time.time` counts."""

    place: Place
    arm: str
    seed: int
    device: str
    until: float | None
    tiny: bool

    @property
    def name(self) -> str:
        """The run's name, of its folder and files."""
        return f"{self.arm}-{self.seed}"

    @property
    def result(self) -> Path:
        """The file that is there when the run is finished."""
        return self.place.results / f"{self.name}.json"


def finish_all(requests: Sequence[Request], jobs: int) -> int:
    """Finishes all runs in so many processes, each of which takes the next one. Returns the exit code."""
    left = [request for request in requests if not request.result.exists()]
    print(f"{len(requests)} runs, {len(requests) - len(left)} of them finished before", flush=True)
    if not left:
        return 0
    failed = 0
    with ProcessPoolExecutor(min(jobs, len(left)), mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(finish, request): request for request in left}
        for future in as_completed(waiting):
            failed += future.result() != 0
    print(f"{len(left) - failed} runs finished, {failed} not; logs in {requests[0].place.path / 'logs'}", flush=True)
    return 1 if failed else 0


def finish(request: Request) -> int:
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
            _finish(request)
        except (Exception, SystemExit) as caught:  # one run that fails stops no other
            traceback.print_exc()
            error = caught
    state = "finished" if request.result.exists() else f"not finished ({error or 'time is over'}), see {log}"
    print(f"{request.name}: {state} after {time.perf_counter() - start:.0f} s", flush=True)
    return 0 if request.result.exists() else 1


def _finish(request: Request) -> None:
    import torch

    torch.set_num_threads(1)
    arm, place = ARMS[request.arm], request.place
    scale = SCALES["tiny" if request.tiny else arm.scale]
    out = place.path / "predictions" / request.name
    shutil.rmtree(out, ignore_errors=True)
    made = _of_nnunet(request, scale, out) if arm.side == "nnunet" else _of_ours(request, arm, scale, out)
    if made is None:
        return
    scores = {kind: _scores(place, out / kind, request.name) for kind in (PLAIN, MIRRORED) if (out / kind).is_dir()}
    write_json(request.result, {"arm": request.arm, "seed": request.seed, **_record(request, scale), **made, **scores})
    shutil.rmtree(out)


# ---------------------------------------------------------------- either side


def _of_ours(request: Request, arm: Arm, scale: Scale, out: Path) -> dict[str, Any] | None:
    """Trains and predicts as `train.py` and `mets3d predict` do, in this process; None where time was over before."""
    from accelerate import Accelerator

    from mets3d.config import load
    from mets3d.inference.predict import predict
    from mets3d.inference.setup import Choices
    from mets3d.training.loop import fit
    from mets3d.training.session import open_session
    from mets3d.training.stop import listening
    from train import compose

    place = request.place
    words = words_of(arm, scale, place.what()["spacing_mm"])
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
    for kind in (PLAIN, MIRRORED) if arm.mirrored else (PLAIN,):
        mirror = "[0, 1, 2]" if kind == MIRRORED else "[]"
        choices = Choices(decoding="default", overrides=[f"--predict.mirror={mirror}"])
        done = predict(place.runs / request.name, place.cases, out / kind, choices, held_out=True)
        if done.failures:
            raise ValueError(f"not predicted: {done.failures}")
    return {
        "settings": words,
        "parameters": sum(parameter.numel() for parameter in job.network.parameters()),
        **({name: round(value, 1) for name, value in seconds.items()} if first == 0 else {}),
    }


def _of_nnunet(request: Request, scale: Scale, out: Path) -> dict[str, Any]:
    import recipe_nnunet

    made = recipe_nnunet.train(request.place, request.name, request.seed, scale.steps, request.device)
    for kind in (PLAIN, MIRRORED):
        recipe_nnunet.predict(request.place, request.name, out / kind, request.device, mirror=kind == MIRRORED)
    return made


# ---------------------------------------------------------------- what is kept


def _scores(place: Place, predictions: Path, name: str) -> dict[str, Any]:
    """Returns for each region and column the values of the held-out cases in their order; None where there is none."""
    table = place.path / "scores" / f"{name}-{predictions.name}.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    report = evaluate(predictions, place.references, Tables(table), Scoring(RULES))
    if report.problems:
        raise ValueError(f"not scored: {report.problems}")
    rows = {(row["case"], row["region"]): row for row in report.rows}
    return {
        region: {column: [_number(rows[case, region][column]) for case in place.held_out()] for column in COLUMNS}
        for region in REGIONS
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 5)


def _record(request: Request, scale: Scale) -> dict[str, Any]:
    """Returns from what the run is: data, code and machine."""
    import torch

    device = torch.cuda.get_device_name() if request.device == "cuda" else cpu_model()
    return {
        "scale": {"patch": scale.patch, "batch": scale.batch, "steps": scale.steps},
        "data": {name: request.place.what()[name] for name in ("phantoms", "content")},
        "cases": request.place.held_out(),
        "rules": RULES,
        "commit": commit(),
        "code": source_digest("mets3d"),
        "device": device,
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def commit() -> str | None:
    """Returns the commit of the working tree; None where there is no repository."""
    words = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=20, env={**os.environ})
    except OSError:
        return None
    return done.stdout.strip() or None
