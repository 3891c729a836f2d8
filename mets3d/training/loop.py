"""Runs the training loop.

Everything random in a step follows from the step's number, so a resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from mets3d.augment.changes import augment
from mets3d.data.loader import Batch, batches
from mets3d.losses.value import StepContext, count_masks
from mets3d.training import optim, state
from mets3d.training.due import due
from mets3d.training.schedule import learning_rate
from mets3d.training.session import Session


def fit(session: Session) -> None:
    """Trains to the last step.

    After a signal it stops at the end of the step that notices it, on a GPU one step later, because numbers are read
    one step late. Raises RuntimeError after `train.max_skipped` non-finite losses in a row.
    """
    config, progress, readback = session.job.config, session.progress, session.readback
    # A resumed run may still owe the validation of its last step.
    if due(config, progress).validation and _finish_step(session, stop=False):
        return
    for step, micro_batches in _steps(session):
        readback.push(step, train_step(session, step, micro_batches))
        progress.step = step + 1
        pause = due(config, progress).pause
        rows = readback.drain() if pause else readback.ready()
        stops = [_account(session, logged_step, numbers) for logged_step, numbers in rows]
        if _finish_step(session, stop=any(stops)):
            return
        if pause:
            readback.restart_clock()


def _steps(session: Session) -> Iterator[tuple[int, list[Batch]]]:
    """Yields each remaining step with the micro-batches of this process."""
    config, accelerator = session.job.config, session.accelerator
    remaining = range(session.progress.step, config.train.steps)
    micro_batches = batches(
        session.job.samples,
        steps=remaining,
        batch_size=config.train.batch_size,
        processes=accelerator.num_processes,
        rank=accelerator.process_index,
        accumulation=config.train.accumulation,
        workers=config.data.workers if remaining else 0,  # a finished run starts no workers
        pin_memory=accelerator.device.type == "cuda",
    )
    yield from zip(remaining, micro_batches, strict=True)


# ---------------------------------------------------------------- one step


def train_step(session: Session, step: int, micro_batches: Sequence[Batch]) -> dict[str, Tensor]:
    """Makes one optimizer step on this process's share of the global batch and returns its numbers for the log.

    The numbers are averaged over all processes and stay on the device. The gradient is the mean over the global batch
    however that is split: each micro-batch has the same size, backward divides by their number, and DDP by the number
    of processes. The query loss is divided by the number of target masks, so these are counted over the global batch
    before the first forward pass.
    """
    job, accelerator, network = session.job, session.accelerator, session.network
    prepared = [_on_device(session, batch) for batch in micro_batches]
    context = _context(session, step, [target for _, target in prepared])
    # Accelerate skips `optimizer.zero_grad` while gradients are accumulated, so clear them on the network.
    network.zero_grad(set_to_none=True)
    rows = []
    for micro, (image, target) in enumerate(prepared):
        torch.manual_seed(_dropout_seed(session, step, micro))
        last = micro == len(prepared) - 1
        # DDP averages gradients only in the last micro-batch.
        with contextlib.nullcontext() if last else accelerator.no_sync(network):
            value = job.loss(network(image), target, context)
            accelerator.backward(value.total / len(prepared))
        rows.append(value.as_row())
    norm = accelerator.clip_grad_norm_(network.parameters(), job.config.optim.clip_norm)
    means, stop = _averaged(session, rows)
    # The parts are those of the last micro-batch; their numbers become the averages.
    value = value.with_numbers(means)
    if session.balance is not None:
        session.balance.update(value)
    finite = torch.isfinite(value.total)
    # Under fp16 the loss scaler skips steps with a non-finite gradient and lowers its scale. Such a step does not count
    # as skipped unless the loss itself is not finite. `skip` is equal on every process, because loss and gradients are
    # averaged over all of them.
    scaled = accelerator.scaler is not None
    skip = ~finite if scaled else ~(finite & torch.isfinite(norm))
    rate = learning_rate(step, job.config.train.steps, job.config.optim)
    optim.step_unless(session.optimizer, None if scaled else skip, rate)
    of_step = {"stop": stop, "skipped": skip.float(), "grad_norm": norm.detach().float(), "lr": torch.tensor(rate)}
    return value.named() | of_step


def _on_device(session: Session, batch: Batch) -> tuple[Tensor, Tensor]:
    """Returns the image [B, C, X, Y, Z], augmented, and the target masks [B, R, X, Y, Z], copied without waiting."""
    job = session.job
    image, labels = batch.on(session.accelerator.device)
    if job.config.augment.enabled:
        image, labels = augment(image, labels, batch.drawn, job.spacing_mm)
    return image, torch.stack(job.target.masks(labels), dim=1)


def _context(session: Session, step: int, targets: Sequence[Tensor]) -> StepContext:
    """Returns the numbers that the loss declares as needed: the masks of the global batch, the running ratio."""
    masks = None
    if session.job.loss.needs_mask_count:
        own = torch.stack([count_masks(target) for target in targets]).sum()
        parts = session.accelerator.num_processes * len(targets)
        masks = session.accelerator.reduce(own).clamp_min(1) / parts
    return StepContext(step, masks, None if session.balance is None else session.balance.ratio())


def _dropout_seed(session: Session, step: int, micro: int) -> int:
    """Returns a seed of torch's own generator, which only dropout uses.

    It is a function of the seed, the step and the micro-batch's place in the global batch, so resuming needs no state.
    """
    place = session.accelerator.process_index + session.accelerator.num_processes * micro
    sequence = np.random.SeedSequence([session.job.config.seed, step, place])
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def _averaged(session: Session, rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Averages the numbers over micro-batches and processes. The same reduction averages the wishes to stop."""
    means = torch.stack(list(rows)).mean(0)
    wish = torch.tensor([float(bool(session.wish))]).to(means.device, non_blocking=True)
    reduced = session.accelerator.reduce(torch.cat([means, wish]), reduction="mean")
    return reduced[:-1], reduced[-1]


# ---------------------------------------------------------------- after a step


def _account(session: Session, step: int, numbers: dict[str, float]) -> bool:
    """Logs the numbers of a step and counts skipped steps; returns whether any process wishes to stop.

    `seconds`, the duration of the step, is added by `Readback`.
    """
    config, progress = session.job.config, session.progress
    skipped, stop = numbers.pop("skipped") > 0, numbers.pop("stop") > 0
    progress.skipped += skipped
    progress.skipped_in_a_row = progress.skipped_in_a_row + 1 if skipped else 0
    speed = config.train.batch_size / numbers.pop("seconds")
    session.tracker.train(step + 1, numbers | {"samples_per_second": speed, "skipped": progress.skipped})
    if progress.skipped_in_a_row >= config.train.max_skipped:
        raise RuntimeError(
            f"the loss was not finite in {progress.skipped_in_a_row} steps in a row, up to step {step + 1}; they "
            f"changed no weight. The last checkpoint is step {session.job.run.pointer('last') or 0}. Lower optim.lr, "
            "or look at the parts of the loss in metrics.jsonl"
        )
    return stop


def _finish_step(session: Session, *, stop: bool) -> bool:
    """Does what is due after a step; returns whether the run stops here.

    `stop` and the answer are the same on every process.
    """
    job, accelerator, progress = session.job, session.accelerator, session.progress
    better = False
    if due(job.config, progress, stop=stop).validation:
        scores = _validate(session)
        # No validation is due after a stop, so no earlier stop is overwritten.
        stop = scores is None
        better = scores is not None and _note_if_best(scores, progress)
    now = due(job.config, progress, stop=stop, better=better)
    # Write the weights before the checkpoint that calls them best: after a crash in between, the resumed run writes
    # them again.
    if now.weights:
        state.export_weights(job.run, accelerator, session.network)
    if now.checkpoint:
        state.save(job.run, accelerator, progress, keep=job.config.train.keep_checkpoints)
        if better and accelerator.is_main_process:
            job.run.point("best", progress.step)
    if now.stop:
        session.tracker.say(f"stopped by a signal at step {progress.step}; run the same command again to go on")
    return now.stop


def _validate(session: Session) -> Mapping[str, float] | None:
    """Scores the held-out cases and logs the scores.

    Returns the scores, `{}` if there is no held-out case, `None` if a signal came during validation.
    """
    started = time.monotonic()
    session.network.eval()
    scores = session.job.validate(session.accelerator.unwrap_model(session.network), session.wish)
    session.network.train()
    if scores is None:
        return None
    session.progress.validated = session.progress.step
    if scores:
        session.tracker.validation(session.progress.step, {**scores, "seconds": time.monotonic() - started})
    return scores


def _note_if_best(scores: Mapping[str, float], progress: state.Progress) -> bool:
    """Records score and step in `progress` if the mean Dice is the highest so far; returns whether it is."""
    if not scores or scores["dice/mean"] <= progress.best:
        return False
    progress.best, progress.best_step = scores["dice/mean"], progress.step
    return True
