"""Finishes runs of benchmarks/study.py: training, predictions of the held-out cases, scores.

Only imported; run by itself it does nothing.
"""

from __future__ import annotations

import json
import shutil
import statistics
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
from recipe_run import commit
from study_arms import FULL, KEPT, RULES, TINY, Arm, Scale, words_of
from study_data import Place, source_digest

from mets3d.evaluation.case import Scoring
from mets3d.evaluation.evaluate import Tables, evaluate
from mets3d.files import write_json, write_text
from mets3d.log_names import GRADIENT_SHARE
from mets3d.statistics.study_table import step_seconds

SCORES, LESIONS, CONFIG, RECORD = "scores.csv", "lesions.csv", "config.yaml", "run.json"


@dataclass(frozen=True)
class Request:
    """One run: an arm with a seed on a device. until: when it must have stopped, as `time.time` counts."""

    place: Place
    arm_name: str
    arm: Arm
    seed: int
    device: str
    until: float | None
    tiny: bool

    @property
    def name(self) -> str:
        """The run's name, of its folders."""
        return f"{self.arm_name}-{self.seed}"

    @property
    def result(self) -> Path:
        """The file that is written last: there when the run is finished."""
        return self.place.results / self.name / RECORD

    @property
    def finished(self) -> bool:
        """Whether it is finished, here or on another machine whose results were kept."""
        return self.result.exists() or (not self.tiny and (KEPT / self.name / RECORD).exists())

    @property
    def scale(self) -> Scale:
        """How much it trains."""
        return TINY if self.tiny else FULL


def finish_all(requests: Sequence[Request], jobs: int) -> int:
    """Finishes all runs in so many processes, each of which takes the next one. Returns the exit code.

    Runs that start from the weights of others come after these.
    """
    left = [request for request in requests if not request.finished]
    print(f"{len(requests)} runs, {len(requests) - len(left)} of them finished before", flush=True)
    failed = 0
    for after in (False, True):
        now = [request for request in left if (request.arm.after is not None) == after]
        if not now:
            continue
        with ProcessPoolExecutor(min(jobs, len(now)), mp_context=get_context("spawn")) as pool:
            for future in as_completed([pool.submit(finish, request) for request in now]):
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
    """Trains, predicts and scores, as `train.py`, `mets3d predict` and `mets3d evaluate` do, in this process."""
    import torch
    from accelerate import Accelerator

    from mets3d.config import load
    from mets3d.training.loop import fit
    from mets3d.training.session import open_session
    from mets3d.training.stop import listening
    from train import compose

    torch.set_num_threads(1)
    place, arm = request.place, request.arm
    words = words_of(arm, request.scale, place.what()["spacing_mm"])
    files = [f"--data.store={place.store}", f"--data.split={place.split}", f"--output={place.runs}"]
    if arm.after is not None:
        files.append(f"--weights={place.runs / f'{arm.after}-{request.seed}'}")
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
            return
    seconds = {"train_s": time.perf_counter() - start, "train_cpu_s": time.process_time() - cpu}
    whole = {name: round(value, 1) for name, value in seconds.items()} if first == 0 else {}
    _score(request, {"settings": words, "steps": config.train.steps, **whole})


def _score(request: Request, made: dict[str, Any]) -> None:
    from mets3d.inference.predict import predict
    from mets3d.inference.setup import Choices

    place, run = request.place, request.place.runs / request.name
    out = place.path / "predictions" / request.name
    shutil.rmtree(out, ignore_errors=True)
    done = predict(run, place.cases, out, Choices(decoding="default"), held_out=True)
    if done.failures:
        raise ValueError(f"not predicted: {done.failures}")
    folder = request.result.parent
    folder.mkdir(parents=True, exist_ok=True)
    tables = Tables(folder / SCORES, folder / LESIONS)
    report = evaluate(out, place.references(1 if request.arm.inner else 0), tables, Scoring(RULES))
    if report.problems:
        raise ValueError(f"not scored: {report.problems}")
    # Kept in the repository, where the folders of this machine mean nothing.
    config = (run / "config.yaml").read_text(encoding="utf-8").replace(str(place.path.resolve()), "runs/study")
    write_text(folder / CONFIG, config.replace(str(place.path), "runs/study"))
    write_json(request.result, {"arm": request.arm_name, "seed": request.seed, **_record(request, run), **made})
    shutil.rmtree(out)


def _record(request: Request, run: Path) -> dict[str, Any]:
    """Returns from what the run is: data, code and machine; and the numbers of its training that the table shows."""
    import torch

    device = torch.cuda.get_device_name() if request.device == "cuda" else cpu_model()
    what = request.place.what()
    return {
        "data": {name: what[name] for name in ("phantoms", "content")},
        "rules": RULES,
        "commit": commit(),
        "code": source_digest("mets3d"),
        "device": device,
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        **_of_training(run),
    }


def _of_training(run: Path) -> dict[str, Any]:
    """Returns medians over the second half of the steps: seconds a step, and the term's share of the gradient."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = [row for row in rows if row["kind"] == "train"]
    late = steps[len(steps) // 2 :]
    step_s = step_seconds(late, FULL.batch)
    shares = [row[GRADIENT_SHARE] for row in late if row.get(GRADIENT_SHARE) is not None]
    return ({} if step_s is None else {"step_s": round(step_s, 4)}) | (
        {"gradient_share": round(statistics.median(shares), 4)} if shares else {}
    )
