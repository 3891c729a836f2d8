"""Finishes runs of benchmarks/study.py: training, predictions of the held-out cases, scores.

Only imported; run by itself it does nothing.
"""

from __future__ import annotations

import json
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import runs
from runs import finish_one, origin, predicted, trained
from study_arms import FULL, KEPT, LEARNED, RULES, TINY, Arm, Scale, fold_of, words_of
from study_data import Place

from mets3d.evaluation.case import Scoring
from mets3d.evaluation.evaluate import Tables, evaluate
from mets3d.files import sha256_of, write_json, write_text
from mets3d.log_names import GRADIENT_SHARE
from mets3d.rundir import RunDir
from mets3d.statistics.score_table import read_scores, values_of
from mets3d.statistics.study_table import step_seconds

SCORES, LESIONS, CONFIG, RECORD = "scores.csv", "lesions.csv", "config.yaml", "run.json"
REGIONS = ("WT", "TC", "ET")


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
        """Whether it is finished, here or on another machine whose results were kept; of a start the weights count."""
        elsewhere = not self.tiny and self.arm.depth > 0 and (KEPT / self.name / RECORD).exists()
        return self.result.exists() or elsewhere

    @property
    def scale(self) -> Scale:
        """How much it trains."""
        return TINY if self.tiny else FULL


def finish_all(requests: Sequence[Request], jobs: int) -> int:
    """Finishes all runs in so many processes, those from the weights of others after them. Returns the exit code."""
    if not requests:
        return 0
    left = [request for request in requests if not request.finished]
    print(f"{len(requests)} runs, {len(requests) - len(left)} of them finished before", flush=True)
    failed = 0
    for depth in sorted({request.arm.depth for request in left}):
        failed += runs.finish_all([each for each in left if each.arm.depth == depth], jobs, finish)
    print(f"{len(left) - failed} runs finished, {failed} not; logs in {requests[0].place.path / 'logs'}", flush=True)
    return 1 if failed else 0


def finish(request: Request) -> int:
    """Finishes one run, unless it is or the time is over. Returns 0 if it is finished."""
    return finish_one(request, _finish)


def counts(start: Request) -> bool:
    """Returns whether a finished start has learned every region, so that what is added can change each."""
    dice = json.loads(start.result.read_text(encoding="utf-8"))["dice"]
    return start.tiny or min(dice.values()) >= LEARNED


def _finish(request: Request) -> None:
    """Trains, predicts and scores; the record is written last."""
    place, arm = request.place, request.arm
    words = words_of(arm, request.scale, place.what()["spacing_mm"])
    from_weights = {}
    if arm.after is not None:
        start = RunDir(place.runs / f"{arm.after}-{request.seed}")
        words.append(f"--weights={start.path}")
        from_weights = {"from_weights": sha256_of(start.weights)[:12]}
    made = trained(request, words)
    if made is None:
        return
    run, out, folder = place.runs / request.name, place.path / "predictions" / request.name, request.result.parent
    shutil.rmtree(out, ignore_errors=True)
    predicted(request, out)
    folder.mkdir(parents=True, exist_ok=True)
    tables = Tables(folder / SCORES, folder / LESIONS)
    report = evaluate(out, place.references(fold_of(arm)), tables, Scoring(RULES))
    if report.problems:
        raise ValueError(f"not scored: {report.problems}")
    write_text(folder / CONFIG, _here_or_there((run / "config.yaml").read_text(encoding="utf-8"), place))
    about = {"arm": request.arm_name, "seed": request.seed, "rules": RULES, "steps": request.scale.steps_of(arm)}
    about |= from_weights | {"dice": _mean_dice(folder / SCORES)}
    made["settings"] = [_here_or_there(word, place) for word in made["settings"]]
    write_json(request.result, {**about, **origin(request), **_of_training(run), **made})
    shutil.rmtree(out)


def _mean_dice(scores: Path) -> dict[str, float]:
    """Returns the mean whole-volume Dice of each region over the heads that have a value, 0 where none has."""
    rows = read_scores(scores)
    by_region = {region: values_of([row for row in rows if row["region"] == region], "dice") for region in REGIONS}
    return {region: round(statistics.fmean(values.values() or (0.0,)), 4) for region, values in by_region.items()}


def _here_or_there(text: str, place: Place) -> str:
    """Returns a text that is kept in the repository, where the folders of this machine mean nothing."""
    return text.replace(str(place.path.resolve()), "runs/study").replace(str(place.path), "runs/study")


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
