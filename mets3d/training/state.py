"""Prepares a run directory, writes checkpoints atomically, and resumes from the newest one."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from accelerate import Accelerator
from torch import nn

from mets3d.config import Config, ConfigError, as_dict, differing_keys, flatten, load_file, to_yaml
from mets3d.files import read_json, sync, sync_entry, write_json, write_text
from mets3d.models.weights import check_weights, save_weights
from mets3d.rundir import CheckpointDir, RunDir
from mets3d.training.together import together

if TYPE_CHECKING:
    from mets3d.training.job import Job

# Settings that may change between a start and its resumption, since no weight depends on them. Validation predicts with
# the rest of `predict`, and so decides with them which weights are the best.
MAY_CHANGE = (
    *("name", "output", "resume", "track", "data.workers"),
    *("train.checkpoint_every", "train.keep_checkpoints"),
    *("predict.window_batch", "predict.mirror", "predict.compile"),
)


@dataclass
class Progress:
    """How far a run is. With the configuration and the weights it is all that resuming needs."""

    step: int = 0  # optimizer steps done
    best: float = -1.0  # highest validation score
    best_step: int = 0
    validated: int = 0  # step of the last validation
    skipped: int = 0  # steps skipped for a non-finite loss
    skipped_in_a_row: int = 0


def prepare_run(job: Job, accelerator: Accelerator) -> None:
    """Writes the configuration and the records of a job into its run directory; a run found there must be the same.

    Raises ValueError if the directory holds a run with another configuration (all keys listed), any checkpoint where
    resume is `never`, or a run of other cases or another preprocessing: its training cases must not change sides.
    """
    run, config = job.run, job.config
    if run.config.exists():
        _check_settings(run, config)
        if config.resume == "never" and run.checkpoint_steps():
            raise ValueError(f"{run.path} holds checkpoints and resume is never; use another --name or --resume auto")
        for file in (run.split, run.plan):
            record = json.loads(json.dumps(job.records[file]))
            if run.checkpoint_steps() and file.exists() and read_json(file) != record:
                raise ValueError(
                    f"{file} was written for other cases or another preprocessing than {config.data.store} holds now; "
                    "use another --name, or the store this run began with"
                )
    elif run.path.exists() and any(run.path.iterdir()):
        raise ValueError(
            f"{run.path} exists and is not a run directory (no config.yaml); use another --name or --output"
        )
    accelerator.wait_for_everyone()
    with together(accelerator):
        if accelerator.is_main_process:
            run.path.mkdir(parents=True, exist_ok=True)
            write_text(run.config, to_yaml(config))
            for file, record in job.records.items():
                write_json(file, record)


def _check_settings(run: RunDir, config: Config) -> None:
    try:
        before = load_file(run.config)
    except ConfigError as error:
        raise ValueError(f"{run.config} cannot be read by this version: {error}; use another --name") from None
    differing = differing_keys(before, config, ignored=MAY_CHANGE)
    if differing:
        was, now = flatten(as_dict(before)), flatten(as_dict(config))
        lines = "\n".join(f"  {key}: {was[key]!r} there, {now[key]!r} now" for key in differing)
        raise ValueError(
            f"{run.path} holds a run with other settings; use another --name or the same settings:\n{lines}"
        )


def save(run: RunDir, accelerator: Accelerator, progress: Progress, *, keep: int) -> None:
    """Writes a checkpoint of every rank's state to a temporary folder, renames it at the end, and prunes older ones."""
    folder = run.checkpoint(progress.step)
    temporary = folder.with_name(f".writing_{folder.name}")
    if accelerator.is_main_process:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(temporary))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        manifest = {
            **asdict(progress),
            "precision": accelerator.mixed_precision,
            "processes": accelerator.num_processes,
        }
        write_json(CheckpointDir(temporary).progress, manifest)
        sync(temporary)
        before = folder.with_name(f".replaced_{folder.name}")
        if folder.exists():  # of this very step, without its validation
            folder.rename(before)
        temporary.rename(folder)
        sync_entry(folder)  # before the pointer that names it
        shutil.rmtree(before, ignore_errors=True)
        run.point("last", progress.step)
        _prune(run, keep)
    accelerator.wait_for_everyone()


def resume(run: RunDir, accelerator: Accelerator, network: nn.Module) -> Progress:
    """Loads the newest whole checkpoint into what the Accelerator prepared; returns a fresh Progress without one.

    Raises ValueError if the checkpoint is of another network, or of another precision's optimizer state.
    """
    steps = run.checkpoint_steps()
    if not steps:
        return Progress()
    folder = run.checkpoint(steps[-1])
    manifest = read_json(CheckpointDir(folder).progress)
    if (manifest["precision"] == "fp16") != (accelerator.mixed_precision == "fp16"):
        raise ValueError(
            f"{folder} was written with precision {manifest['precision']}, this launch has "
            f"{accelerator.mixed_precision}: "
            "fp16 carries a loss scaler that the others lack; launch with the same precision"
        )
    check_weights(CheckpointDir(folder).weights, accelerator.unwrap_model(network))
    try:
        accelerator.load_state(str(folder))
    except RuntimeError as error:
        if "custom checkpoints" not in str(error):
            raise
        raise ValueError(
            f"{folder} holds no running ratio for loss.boundary_schedule=balanced, or one that this "
            "configuration does not use: it was written under another schedule or by an older version; "
            "use another --name"
        ) from None
    return Progress(**{name: manifest[name] for name in Progress.__dataclass_fields__})


def export_weights(run: RunDir, accelerator: Accelerator, network: nn.Module) -> None:
    """Writes model.safetensors, the weights alone, into the run directory, for prediction. All ranks call it."""
    weights = accelerator.get_state_dict(network)
    if accelerator.is_main_process:
        plain = {
            name.removeprefix("_orig_mod."): tensor.detach().cpu().contiguous() for name, tensor in weights.items()
        }
        save_weights(plain, run.weights)


def count_parameters(network: nn.Module) -> int:
    """Counts the numbers that make up a network, frozen ones included."""
    return sum(parameter.numel() for parameter in network.parameters())


def _prune(run: RunDir, keep: int) -> None:
    best = run.pointer("best")
    for step in run.checkpoint_steps()[:-keep]:
        if step != best:
            shutil.rmtree(run.checkpoint(step))
