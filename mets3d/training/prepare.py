"""Prepares a run directory for a start: refuses what does not fit, repairs what a kill left, finds where to go on."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace

from accelerate import Accelerator

from mets3d.config import to_yaml
from mets3d.files import read_object, write_json, write_text, write_with
from mets3d.rundir import CheckpointDir, RunDir
from mets3d.settings.effects import without_effect
from mets3d.training import checkpoint
from mets3d.training.checkpoint import Whole
from mets3d.training.job import Job
from mets3d.training.progress import Progress, Record
from mets3d.training.same_run import Launch, check_same_run, other_scores
from mets3d.wording import counted


@dataclass(frozen=True)
class Start:
    """Where a run begins: its progress, the checkpoint to load, None at step 0, and remarks for the user."""

    progress: Progress
    found: Whole | None
    remarks: list[str]


def check_is_run(run: RunDir) -> None:
    """Raises ValueError for a folder that holds something else than a run, or than what a killed start left."""
    if run.config.exists() or not run.path.exists():
        return
    if not run.path.is_dir():
        raise ValueError(f"{run.path} is a file, not a run directory; use another --name or --output")
    own = {file.name for file in run.of_training()}
    foreign = [entry.name for entry in run.path.iterdir() if entry.name.rpartition(".tmp.")[2] not in own]
    if foreign:
        raise ValueError(
            f"{run.path} exists and is not a run directory (no config.yaml, but {foreign[0]}); use another --name or "
            "--output"
        )


def prepare_run(job: Job, accelerator: Accelerator) -> Start:
    """Writes the configuration and the records of a job into its run directory; a run found there must be the same.

    The main process calls it, which holds the lock. Damaged checkpoints are named and set aside for the one before.
    Raises ValueError if the directory holds a run with other settings or other data (all differences listed), any
    checkpoint where resume is `never`, or checkpoints of which none is whole.
    """
    run, config = job.run, job.config
    if config.resume == "never" and run.checkpoint_steps():
        raise ValueError(f"{run.path} holds checkpoints and resume is never; use another --name or --resume auto")
    checkpoint.tidy(run)
    found, damaged = checkpoint.newest_whole(run)
    record = None if found is None else found.record
    launch = Launch(accelerator.mixed_precision, accelerator.num_processes, job.store.digest)
    remarks = check_same_run(run, config, launch, record)
    if found is not None:
        _check_records(job)
    elif damaged:
        raise ValueError(_none_is_whole(run, damaged))
    remarks += [
        *_set_aside(run, damaged),
        *job.store.source_remarks(),
        *job.remarks,
        *_dropout(job),
        *(without_effect(config, held_out=len(job.records[run.split]["validation"])) if found is None else []),
        *_room(job),
    ]
    progress = Progress() if record is None else replace(record.progress)
    if record is not None:
        _repair(job, record)
        remark = other_scores(config, record)
        if remark is not None:
            progress.best, progress.stale = Progress().best, Progress().stale
            remarks.append(remark)
    write_text(run.config, to_yaml(config))
    for file, content in job.records.items():
        write_json(file, content)
    return Start(progress, found, remarks)


def _check_records(job: Job) -> None:
    """Raises ValueError where cases would change sides or were prepared otherwise; a broken file is written anew."""
    for file in (job.run.split, job.run.plan):
        try:
            before = read_object(file)
        except (FileNotFoundError, ValueError):
            continue
        if before != json.loads(json.dumps(job.records[file])):
            raise ValueError(
                f"{file} was written for other cases or another preprocessing than {job.config.data.store} holds now; "
                "use another --name, or the store this run began with"
            )


# ---------------------------------------------------------------- checkpoints


def _none_is_whole(run: RunDir, damaged: dict[int, str]) -> str:
    lines = "\n  ".join(f"{run.checkpoint(step).name}: {what}" for step, what in damaged.items())
    return (
        f"{run.checkpoints}: no checkpoint is whole, or of this version. Bring one back from a copy, or begin "
        "anew under another --name:"
        f"\n  {lines}"
    )


def _set_aside(run: RunDir, damaged: dict[int, str]) -> list[str]:
    return [
        f"{run.checkpoint(step)} is damaged: {what}; the one before is used, and this one set aside as "
        f"{checkpoint.set_aside(run, step).name}"
        for step, what in damaged.items()
    ]


def _repair(job: Job, record: Record) -> None:
    """Rebuilds pointers, deletes old checkpoints, and writes weights that a kill left out."""
    run, progress = job.run, record.progress
    checkpoint.settle(run, progress, keep=job.config.train.keep_checkpoints)
    source = progress.best_step or (progress.step if progress.step == job.config.train.steps else 0)
    folder = CheckpointDir(run.checkpoint(source))
    weights = folder.weights if record.averaged_steps is None else folder.averaged
    if not run.weights.exists() and source and weights.exists():
        write_with(run.weights, lambda path: shutil.copyfile(weights, path))


def _dropout(job: Job) -> list[str]:
    """Returns a remark where sequences may be missing in a new case, and the network never sees that in training."""
    settings = job.config.augment
    if job.config.data.missing_sequences != "zero" or (settings.enabled and settings.sequence_dropout):
        return []
    remark = (
        "data.missing_sequences is zero and augment.sequence_dropout 0: the network learns little of what to do "
        "without a sequence; 0.1 drops each in a tenth of the samples"
    )
    return [remark]


# ---------------------------------------------------------------- room on the disk


def _room(job: Job) -> list[str]:
    """Returns a remark where the checkpoints to come may not fit. Raises ValueError where not even one does."""
    run, config = job.run, job.config
    free = shutil.disk_usage(run.path).free
    one = checkpoint_bytes(job)
    # Beside those that are kept: the best, the one being written, and the weights for prediction.
    wanted = one * (config.train.keep_checkpoints + 2) + one // 2
    there = sum(file.stat().st_size for file in run.checkpoints.rglob("*") if file.is_file())
    if free < one:
        raise ValueError(
            f"{run.path}: {_mb(free)} are free, a checkpoint takes {_mb(one)}; free the disk, or use another --output"
        )
    if free + there < wanted:
        remark = (
            f"{run.path}: {_mb(free)} are free; {counted(config.train.keep_checkpoints, 'checkpoint')}, the best, "
            f"one being written and the weights take {_mb(wanted)}: lower train.keep_checkpoints or free the disk"
        )
        return [remark]
    return []


def checkpoint_bytes(job: Job) -> int:
    """Returns the size of a checkpoint: weights, their averages, and what the optimizer keeps of those trained."""
    parameters = list(job.network.parameters())
    buffers = sum(buffer.numel() * buffer.element_size() for buffer in job.network.buffers())
    weights = sum(parameter.numel() * parameter.element_size() for parameter in parameters)
    trained = sum(parameter.numel() * parameter.element_size() for parameter in parameters if parameter.requires_grad)
    settings = job.config.optim
    return (weights + buffers) * (1 if settings.ema is None else 2) + settings.numbers_kept * trained


def _mb(count: int) -> str:
    return f"{count / 1e6:.{0 if count >= 1e7 else 1}f} MB"
