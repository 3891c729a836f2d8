"""A trained run meets cases: label maps on each case's own grid."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import nn

from mets3d import models
from mets3d.config import Config
from mets3d.data import Progress, nifti, quiet
from mets3d.data.cases import Case, find_cases
from mets3d.data.check import check_headers
from mets3d.data.preprocess import prepare, put_back
from mets3d.inference.sliding import window_probabilities
from mets3d.models.saved import load_weights
from mets3d.regions import Target
from mets3d.rundir import RunDir, open_run, read_json, write_json

PROBABILITIES = "probabilities"  # folder beside the label maps, which other programs expect alone in theirs


@dataclass
class Prediction:
    """What was written where, and the cases that could not be predicted with the reason."""

    folder: Path
    cases: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


def predict(
    run_path: Path,
    data: Path,
    out: Path | None = None,
    *,
    probabilities: bool = False,
    held_out: bool = False,
    progress: Progress = quiet,
) -> Prediction:
    """Writes OUT/CASE.nii.gz for every case of a data set, or the run's held-out ones. OUT: RUN/predictions.

    With `probabilities` also OUT/probabilities/CASE.nii.gz, float32, channels on the last axis. Cases are shared over
    the processes of the launch. Raises FileNotFoundError or ValueError before the first case if the run is not whole,
    its weights are another network's, or a case lacks a sequence; a case that fails later is named in the result.
    """
    run = open_run(run_path, needs=("config", "plan", "weights"))
    cases = _chosen(run, data, held_out)
    config, plan = run.load_config(), read_json(run.plan)
    accelerator = Accelerator(mixed_precision=config.precision)
    target = Target(config.data.target, config.data.cavity)
    network = load_network(run, config, target, len(plan["sequences"])).to(accelerator.device).eval()
    folder = Path(run.predictions) if out is None else out
    folder.mkdir(parents=True, exist_ok=True)
    result = Prediction(folder)
    mine = cases[accelerator.process_index :: accelerator.num_processes]
    for done, case in enumerate(mine, 1):
        try:
            with accelerator.autocast():
                _predict_case(case, network, config, plan, target, folder, accelerator.device, probabilities)
            result.cases.append(case.name)
        except (ValueError, OSError) as error:
            result.failures[case.name] = str(error)
        progress(done, len(mine), case.name)
    everyone = gather_object([(result.cases, result.failures)])
    result.cases = sorted(name for names, _ in everyone for name in names)
    result.failures = {name: reason for _, failures in everyone for name, reason in failures.items()}
    if accelerator.is_main_process:
        write_json(
            folder / "predict.json",
            {
                "run": str(run_path.resolve()),
                "data": str(data.resolve()),
                "weights_sha256": hashlib.sha256(Path(run.weights).read_bytes()).hexdigest(),
                "cases": result.cases,
                "held_out": held_out,
                "overlap": config.predict.overlap,
                "threshold": config.predict.threshold,
            },
        )
    return result


def load_network(run: RunDir, config: Config, target: Target, sequences: int) -> nn.Module:
    """The run's network with its weights. Raises ValueError if model.safetensors is another network's."""
    settings = config.model.model_copy(update={"vit_pretrained": None})  # all weights are the run's
    network = models.build(settings, in_channels=sequences, target=target, patch=config.data.patch)
    load_weights(network, run.weights)
    return network


def _chosen(run: RunDir, data: Path, held_out: bool) -> list[Case]:
    cases = find_cases(data)
    chosen: list[Case] = list(cases)
    if held_out:
        if not run.split.exists():
            raise FileNotFoundError(f"{run.split} is missing, so the held-out cases are unknown; leave out --held-out")
        names = set(read_json(run.split)["validation"])
        chosen = [case for case in cases if case.name in names]
        absent = sorted(names - {case.name for case in chosen})
        if absent:
            raise FileNotFoundError(
                f"{data} lacks {len(absent)} of the run's held-out cases: {', '.join(absent[:6])}; "
                "name the data set the run was trained on, or leave out --held-out"
            )
    faults = [finding for case in chosen for finding in check_headers(case) if finding.severity == "error"]
    if faults:
        raise ValueError(f"{data}: cases that cannot be predicted\n  " + "\n  ".join(str(fault) for fault in faults))
    return chosen


def _predict_case(
    case: Case,
    network: nn.Module,
    config: Config,
    plan: dict[str, Any],
    target: Target,
    folder: Path,
    device: torch.device,
    probabilities: bool,
) -> None:
    images = [nifti.read_image(case.sequences[sequence]) for sequence in plan["sequences"]]
    prepared = prepare(images, None, tuple(plan["spacing_mm"]), plan["margin_voxels"], config.data.cavity)
    windows = window_probabilities(
        network,
        torch.from_numpy(prepared.image).to(device),
        patch=config.data.patch,
        overlap=config.predict.overlap,
        window_batch=config.predict.window_batch,
    )
    background = [float(target.kind == "labels" and channel == 0) for channel in range(target.channels)]
    on_grid = put_back(windows.float().cpu().numpy(), prepared.entry, outside=background)
    labels = np.asarray(target.decode(on_grid, config.predict.threshold)).astype(np.uint8)
    nifti.write_labels(folder / f"{case.name}.nii.gz", labels, images[0].source)
    if probabilities:
        nifti.write_probabilities(folder / PROBABILITIES / f"{case.name}.nii.gz", on_grid, images[0].source)
