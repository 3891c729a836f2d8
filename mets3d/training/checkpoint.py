"""Writes and reads the checkpoints of a run on the main process: each is whole or not there.

A checkpoint is a folder with the weights, their averages under optim.ema, the optimizer's state, progress.json and,
written last, manifest.json. It is made under another name, synced to disk and renamed; older ones are renamed before
they are deleted. So a name always stands for a whole checkpoint unless the disk damages it, which the manifest shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import torch
from safetensors.torch import save as as_safetensors
from torch import Tensor, nn

from mets3d.files import leftovers, read_object, remove, sync, sync_entry, write_json
from mets3d.models.weights import check_weights, read_tensors
from mets3d.rundir import CheckpointDir, RunDir
from mets3d.training.manifest import DamagedError, check_manifest, write_manifest
from mets3d.training.optimizer_state import read_optimizer
from mets3d.training.progress import NEEDS, Progress, Record

# Folders beside the checkpoints: being written, replaced by one of the same step, being deleted, found damaged.
WRITING, REPLACED, REMOVING, DAMAGED = ".writing_", ".replaced_", ".removing_", "damaged_"


@dataclass(frozen=True)
class Whole:
    """A checkpoint that agrees with its manifest."""

    folder: CheckpointDir
    record: Record


@dataclass(frozen=True)
class Learned:
    """What a training has learned: weights by name, their averages, None without optim.ema, and optimizer state."""

    weights: Mapping[str, Tensor]
    averaged: Mapping[str, Tensor] | None
    optimizer: Mapping[str, Any]


def write(run: RunDir, record: Record, learned: Learned) -> None:
    """Writes the checkpoint of a step, then the pointers, then deletes what is no longer kept.

    Raises OSError where the disk does not take it; the checkpoints before it are then as they were.
    """
    folder = run.checkpoint(record.progress.step)
    temporary = CheckpointDir(folder.with_name(WRITING + folder.name))
    remove(temporary.path)
    temporary.path.mkdir(parents=True)
    try:
        temporary.weights.write_bytes(as_safetensors(dict(learned.weights)))
        if learned.averaged is not None:
            temporary.averaged.write_bytes(as_safetensors(dict(learned.averaged)))
        _write_state(temporary.optimizer, learned.optimizer)
        write_json(temporary.progress, record.as_json())
        write_manifest(temporary.path)
        sync(temporary.path)
        _rename(temporary.path, folder)
    except BaseException:
        remove(temporary.path)
        raise


def _write_state(file: Path, content: Mapping[str, Any]) -> None:
    """Writes what torch.save makes. It answers a full disk with an error about positions; this one names the cause."""
    with file.open("wb") as stream:
        noting = _Noting(stream)
        try:
            torch.save(content, cast(IO[bytes], noting))
        except Exception:
            if noting.error is not None:
                raise noting.error from None
            raise


class _Noting:
    """A binary stream that keeps the error of a failed write; no class of io, whose end flushes closed files."""

    def __init__(self, stream: Any):
        self.stream = stream
        self.error: OSError | None = None

    def write(self, content: Any) -> int:
        try:
            return int(self.stream.write(content))
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.stream.flush()


def _rename(temporary: Path, folder: Path) -> None:
    before = folder.with_name(REPLACED + folder.name)
    if folder.exists():  # of this very step, without its validation
        remove(before)
        folder.rename(before)
    try:
        temporary.rename(folder)
    except OSError:
        if before.exists():
            before.rename(folder)
        raise
    sync_entry(folder)  # before the pointer that names it
    remove(before)


# ---------------------------------------------------------------- which ones there are


def newest_whole(run: RunDir) -> tuple[Whole | None, dict[int, str]]:
    """Returns the newest checkpoint that is whole, and by their step what is wrong with newer ones."""
    damaged: dict[int, str] = {}
    for step in reversed(run.checkpoint_steps()):
        folder = CheckpointDir(run.checkpoint(step))
        try:
            return Whole(folder, _checked(folder, step)), damaged
        except DamagedError as error:
            damaged[step] = str(error)
    return None, damaged


def _checked(folder: CheckpointDir, step: int) -> Record:
    needed = (folder.weights, folder.optimizer, folder.progress)
    listed = check_manifest(folder.path, needs=[file.name for file in needed])
    try:
        record = Record.from_json(read_object(folder.progress, NEEDS))
    except (ValueError, OSError) as error:
        raise DamagedError(str(error).removeprefix(f"{folder.path}/")) from None
    if record.progress.step != step:
        raise DamagedError(f"it is a copy of the checkpoint of step {record.progress.step}")
    if record.averaged_steps is not None and folder.averaged.name not in listed:
        raise DamagedError(f"its manifest lists no {folder.averaged.name}")
    return record


def read(found: Whole, network: nn.Module) -> Learned:
    """Reads what a whole checkpoint holds: tensors alone. Raises WrongWeightsError for those of another network."""
    folder, averaged = found.folder, None
    check_weights(folder.weights, network)
    if found.record.averaged_steps is not None:
        check_weights(folder.averaged, network)
        averaged = read_tensors(folder.averaged)
    return Learned(read_tensors(folder.weights), averaged, read_optimizer(folder.optimizer))


# ---------------------------------------------------------------- order


def tidy(run: RunDir) -> None:
    """Removes what a killed training left, and gives a checkpoint its name back that was to be replaced.

    Only for the process that holds the run's lock.
    """
    dead = leftovers(run.path)
    for file in run.of_training():
        for leftover in run.path.glob(f".*.tmp.{file.name}"):
            if file != run.lock or leftover in dead:  # not that of a second start, which is about to be refused
                remove(leftover)
    for before in run.checkpoints.glob(f"{REPLACED}*"):
        folder = before.with_name(before.name.removeprefix(REPLACED))
        if not folder.exists():
            before.rename(folder)
    for pattern in (f"{WRITING}*", f"{REPLACED}*", f"{REMOVING}*", ".*.tmp.*"):
        for leftover in run.checkpoints.glob(pattern):
            remove(leftover)


def settle(run: RunDir, progress: Progress, *, keep: int) -> None:
    """Points `last` and `best` at what they name, and deletes all but the newest `keep` checkpoints and the best.

    Damaged ones that were set aside go when training has passed their step.
    """
    steps = run.checkpoint_steps()
    best = progress.best_step if progress.best_step in steps else None
    for name, step in (("last", progress.step if progress.step in steps else None), ("best", best)):
        if run.pointer(name) != step:
            run.point(name, step)
    done = [step for step in steps if step <= progress.step]
    for step in done[:-keep]:
        if step != best:
            _delete(run.checkpoint(step))
    for folder in run.checkpoints.glob(f"{DAMAGED}step_*"):
        if folder.name <= DAMAGED + run.checkpoint(progress.step).name:
            _delete(folder)


def set_aside(run: RunDir, step: int) -> Path:
    """Renames a damaged checkpoint, so that it is not counted; somebody may wish to look at it. Returns its place."""
    folder = run.checkpoint(step)
    aside = folder.with_name(DAMAGED + folder.name)
    remove(aside)
    folder.rename(aside)
    return aside


def _delete(folder: Path) -> None:
    # First the name, at once, then the content: a kill in between leaves no half checkpoint under its name.
    doomed = folder.with_name(REMOVING + folder.name)
    folder.rename(doomed)
    remove(doomed)
