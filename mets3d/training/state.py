"""Saves the state of a training as a checkpoint and loads it. Files are touched by the main process alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from mets3d.files import sync
from mets3d.models.weights import save_weights
from mets3d.rundir import RunDir
from mets3d.training import checkpoint, full_state
from mets3d.training.agree import from_main
from mets3d.training.balance import Balance
from mets3d.training.begin_from import Origin
from mets3d.training.checkpoint import Learned, Whole
from mets3d.training.ema import Ema, in_place
from mets3d.training.failure import TrainingError
from mets3d.training.job import Job
from mets3d.training.lock import check_held
from mets3d.training.optimizer_state import check_optimizer
from mets3d.training.progress import Progress, Record
from mets3d.training.same_run import scored_under


class SaveError(TrainingError):
    """A checkpoint or weights that could not be written. What was written before is as it was."""


@dataclass(frozen=True)
class State:
    """All that changes while a run trains, in one process: what a checkpoint holds."""

    accelerator: Accelerator
    network: nn.Module
    optimizer: Optimizer
    balance: Balance | None
    ema: Ema | None
    progress: Progress


def save(job: Job, state: State) -> None:
    """Writes a checkpoint, points `last` and `best` at it, and deletes what is no longer kept. All processes call it.

    Raises SaveError on every process if the disk does not take it, LockError if another training has taken over.
    """
    learned = _learned(state)
    from_main(state.accelerator, lambda: _write(job, state, learned))


def save_alone(job: Job, state: State) -> None:
    """Writes a checkpoint on the main process while the others wait or have ended; nothing is asked of them.

    The network must not be sharded. Raises SaveError and LockError as `save`.
    """
    _write(job, state, _learned(state))


def _learned(state: State) -> Learned:
    """Returns what a checkpoint keeps of network and optimizer. All processes call it; the main one gets it."""
    accelerator, network = state.accelerator, state.network
    weights, averaged = full_state.gather_weights(accelerator, network), None
    if state.ema is not None:
        with state.ema.in_place():
            averaged = full_state.gather_weights(accelerator, network)
    return Learned(weights, averaged, full_state.gather_optimizer(accelerator, state.optimizer))


def _write(job: Job, state: State, learned: Learned) -> None:
    run = job.run
    check_held(run)
    try:
        if run.metrics.exists():
            sync(run.metrics)  # the rows up to here: a resumed run makes those after it alone
        checkpoint.write(run, _record(job, state), learned)
        checkpoint.settle(run, state.progress, keep=job.config.train.keep_checkpoints)
    except OSError as error:
        kept = ", ".join(run.checkpoint(step).name for step in run.checkpoint_steps()) or "there was none"
        raise SaveError(
            f"{run.checkpoint(state.progress.step)}: the checkpoint cannot be written: {error.strerror or error}. "
            f"Those before it are whole ({kept}): free the disk and run the same command again"
        ) from None


def _record(job: Job, state: State) -> Record:
    accelerator, balance = state.accelerator, state.balance
    return Record(
        state.progress,
        precision=accelerator.mixed_precision,
        processes=accelerator.num_processes,
        store=job.store.digest,
        scored=scored_under(job.config),
        balance=None if balance is None else balance.averages.flatten().tolist(),
        scaler=None if accelerator.scaler is None else accelerator.scaler.state_dict(),
        averaged_steps=None if state.ema is None else int(state.ema.steps),
    )


def load(state: State, found: Whole) -> None:
    """Loads a whole checkpoint into the state. All processes call it; the main one reads.

    Raises ValueError if the checkpoint is of another network or lacks what this configuration needs.
    """
    accelerator, record = state.accelerator, found.record
    plain = accelerator.unwrap_model(state.network, keep_torch_compile=False)
    there = (record.balance, record.scaler, record.averaged_steps)
    wanted = (state.balance, accelerator.scaler, state.ema)
    if [one is None for one in there] != [one is None for one in wanted]:
        raise ValueError(
            f"{found.folder.path} holds no running ratio for loss.boundary_schedule=balanced or gradient, no averages "
            "for optim.ema, or no state of a loss scaler, that this configuration needs, or one that it does not use; "
            "use another --name"
        )
    learned = from_main(accelerator, lambda: checkpoint.read(found, plain))
    full_state.spread_weights(accelerator, state.network, learned.weights)
    _take_optimizer(state, found, learned)
    if state.ema is not None:
        state.ema.load(learned.averaged or {}, record.averaged_steps or 0)
    if state.balance is not None:
        try:
            state.balance.load_state_dict({"averages": torch.tensor(record.balance)})
        except ValueError as error:
            raise ValueError(f"{found.folder.path}: {error}; use another --name") from None
    if accelerator.scaler is not None:
        accelerator.scaler.load_state_dict(dict(record.scaler or {}))


def begin(state: State, origin: Origin) -> None:
    """Takes over what is kept of another run's checkpoint: optimizer, step. All processes call it; the main one reads.

    How the optimizer decays and averages is said by this run. That its groups fit, `begin_from` has seen.
    """
    found = origin.checkpoint
    if "optimizer" in origin.keep:
        accelerator = state.accelerator
        plain = accelerator.unwrap_model(state.network, keep_torch_compile=False)
        learned = from_main(accelerator, lambda: checkpoint.read(found, plain))
        full_state.spread_weights(accelerator, state.network, learned.weights)
        _take_optimizer(state, found, learned)
    if "step" in origin.keep:
        # Its last validation was that run's.
        state.progress.step = state.progress.validated = found.record.progress.step


def _take_optimizer(state: State, found: Whole, learned: Learned) -> None:
    check_optimizer(learned.optimizer, state.optimizer, found.folder.optimizer)
    full_state.spread_optimizer(state.optimizer, learned.optimizer)


def export_weights(run: RunDir, state: State) -> None:
    """Writes model.safetensors into the run directory, for prediction: the weights, or their averages. All call it.

    Raises SaveError on every process if the disk does not take it.
    """
    with in_place(state.ema):
        weights = full_state.gather_weights(state.accelerator, state.network)
    from_main(state.accelerator, lambda: _export(run, weights))


def _export(run: RunDir, weights: Mapping[str, Tensor]) -> None:
    try:
        save_weights(weights, run.weights)
    except OSError as error:
        raise SaveError(
            f"{run.weights}: the weights cannot be written: {error.strerror or error}. Free the disk and run the same "
            "command again"
        ) from None


def count_parameters(network: nn.Module) -> int:
    """Counts the numbers that make up a network, frozen ones included."""
    return sum(parameter.numel() for parameter in network.parameters())
