"""Finishes runs of benchmarks/recipe.py: training, predictions of the held-out heads, scores.

Only imported; run by itself it does nothing.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import runs
from recipe_arms import ARMS, RULES, SCALES, Arm, Scale, words_of
from recipe_data import Place
from runs import finish_one, origin, predicted, trained

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
    """Finishes all runs in so many processes. Returns the exit code."""
    left = [request for request in requests if not request.result.exists()]
    print(f"{len(requests)} runs, {len(requests) - len(left)} of them finished before", flush=True)
    failed = runs.finish_all(left, jobs, finish)
    print(f"{len(left) - failed} runs finished, {failed} not; logs in {requests[0].place.path / 'logs'}", flush=True)
    return 1 if failed else 0


def finish(request: Request) -> int:
    """Finishes one run, unless it is or the time is over. Returns 0 if it is finished."""
    return finish_one(request, _finish)


def _finish(request: Request) -> None:
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
    """Trains and predicts; None where time was over before."""
    made = trained(request, words_of(arm, scale, request.place.what()["spacing_mm"]))
    if made is None:
        return None
    for kind in (PLAIN, MIRRORED) if arm.mirrored else (PLAIN,):
        predicted(request, out / kind, [f"--predict.mirror={'[0, 1, 2]' if kind == MIRRORED else '[]'}"])
    return made


def _of_nnunet(request: Request, scale: Scale, out: Path) -> dict[str, Any]:
    import recipe_nnunet
    import torch

    torch.set_num_threads(1)
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
    """Returns from what the run is."""
    return {
        "scale": {"patch": scale.patch, "batch": scale.batch, "steps": scale.steps},
        "cases": request.place.held_out(),
        "rules": RULES,
        **origin(request),
    }
