"""Runs the training loop.

Everything random in a step follows from the step's number, so a resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from mets3d.data.loader import Batch, batches
from mets3d.training import state
from mets3d.training.due import due
from mets3d.training.session import Session
from mets3d.training.step import train_step


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
