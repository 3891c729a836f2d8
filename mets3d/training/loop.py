"""Runs the training loop.

Everything random in a step follows from the step's number, so a resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator, Mapping, Sequence

from torch import Tensor

from mets3d.data.loader import Batch, batches
from mets3d.log_names import DATA_WAIT, MEMORY_GB, SAMPLES_PER_SECOND, SECONDS, SKIPPED
from mets3d.training import blame, state
from mets3d.training.ahead import on_device
from mets3d.training.anomaly import first_bad_layer
from mets3d.training.due import due, ended_early
from mets3d.training.ema import in_place
from mets3d.training.failure import TrainingError
from mets3d.training.heartbeat import beat
from mets3d.training.memory import NoMemoryError, is_out_of_memory, memory_gb, out_of_memory_message
from mets3d.training.profile import part, profiled
from mets3d.training.selection import note_if_best, scores_all, without_value
from mets3d.training.session import Session
from mets3d.training.sharding import gathered, is_sharded
from mets3d.training.step import train_step
from mets3d.training.validation import Scores
from mets3d.wording import agreed, counted


def fit(session: Session) -> None:
    """Trains to the last step, or to that after which `validate.patience` ends the run.

    Before each step all processes agree whether to go on. A signal to one of them, or an error such as a batch that
    cannot be loaded, ends the run on all, with a checkpoint of the steps made. Raises TrainingError for an error, and
    after `train.max_skipped` non-finite losses in a row, and any error of a process that the others do not know.
    """
    try:
        _make_steps(session)
    except TrainingError:
        raise
    except Exception:
        _save_alone(session)
        raise


def _make_steps(session: Session) -> None:
    config, progress, readback = session.job.config, session.progress, session.readback
    if _ends_here(session):  # a signal that came while the training started; no worker runs yet
        return
    # A resumed run may still owe the validation of its last step.
    if due(config, progress).validation and _finish_step(session):
        return
    with contextlib.closing(_steps(session)) as steps, profiled(session) as traced:
        for step, micro_batches in steps:
            if _ends_here(session):
                return
            with session.wish.noting(*_leaves_weights_whole(session)):
                readback.push(step, _made(session, step, micro_batches))
                progress.step = step + 1
            beat()
            traced()
            if progress.step == step and _ends_here(session):
                return
            if config.train.debug_non_finite:
                _end_if_not_finite(session, step, micro_batches)
            if not due(config, progress).pause:
                _account(session, readback.ready())
                continue
            _account(session, readback.drain())
            if _finish_step(session):
                return
            if ended_early(config, progress):
                break
            readback.restart_clock()
    if ended_early(config, progress):
        session.tracker.say(
            f"ended at step {progress.step} of {config.train.steps}: no score better than {progress.best:.3f}, that of "
            f"step {progress.best_step}, in {counted(progress.stale, 'validation')} (validate.patience)"
        )
    session.boundary.agreed(session.wish)  # an error is one of all to the end; a signal comes too late to stop anything


def _leaves_weights_whole(session: Session) -> tuple[type[Exception], ...]:
    """Returns the errors of a step after which a checkpoint can be written: memory runs out before the update.

    With several processes the others wait in the middle of the step.
    """
    return (NoMemoryError,) if session.accelerator.num_processes == 1 else ()


def _made(session: Session, step: int, micro_batches: Sequence[Batch]) -> Mapping[str, Tensor]:
    """Makes a step and returns its numbers. Raises NoMemoryError where memory ran out, of the device or the host.

    In the middle of the update, where some weights may have moved, the error stays what it is: no checkpoint follows.
    """
    try:
        return train_step(session, step, micro_batches)
    except Exception as error:
        if not is_out_of_memory(error) or session.updating:
            raise
        message = out_of_memory_message(error)
    # Raised out here it does not hold the step's feature maps, whose memory the checkpoint may need.
    raise NoMemoryError(message)


def _save_alone(session: Session) -> None:
    """Writes a checkpoint on the main process after an error of several processes that not all know.

    The others wait in the middle of a step or have ended, so nothing is asked of them. Up to the update of a step the
    main process has all that the steps before made. A second error is not raised: the first one ended the run.
    """
    accelerator, progress = session.accelerator, session.progress
    alone = accelerator.num_processes > 1 and accelerator.is_main_process and not is_sharded(session.network)
    if not alone or session.updating or session.saved_step == progress.step:
        return
    with contextlib.suppress(Exception):
        _account(session, session.readback.drain())
        state.save_alone(session.job, session.state)
        session.saved_step = progress.step
        session.tracker.say(f"checkpoint of step {progress.step} written; the same command goes on from there")


def _steps(session: Session) -> Generator[tuple[int, list[Batch]], None, None]:
    """Yields each remaining step with the micro-batches of this process; without, after an error of the loader."""
    config, accelerator = session.job.config, session.accelerator
    end = session.progress.step if ended_early(config, session.progress) else config.train.steps
    remaining = range(session.progress.step, end)
    loaded = batches(
        session.job.samples,
        steps=remaining,
        batch_size=config.train.batch_size,
        processes=accelerator.num_processes,
        rank=accelerator.process_index,
        accumulation=config.train.accumulation,
        workers=config.data.workers if remaining else 0,  # a finished run starts no workers
        pin_memory=accelerator.device.type == "cuda",
    )
    with contextlib.closing(loaded):
        coming = on_device(loaded, accelerator.device)
        for step in remaining:
            micro_batches: list[Batch] = []
            asked = time.monotonic()
            with session.wish.noting(Exception), part("data"):
                micro_batches = next(coming)
            session.waits[step] = time.monotonic() - asked
            yield step, micro_batches


def _ends_here(session: Session) -> bool:
    """Returns whether a signal to any process ends the run before the next step, after the checkpoint.

    Raises TrainingError, after the checkpoint too, if any process has an error. The same on every process.
    """
    try:
        session.stopped_by = session.boundary.agreed(session.wish)
    except TrainingError as failure:
        _save_what_is_whole(session, failure)
        raise
    if not session.stopped_by:
        return False
    _account(session, session.readback.drain())
    return _finish_step(session, stop=True)


def _save_what_is_whole(session: Session, failure: TrainingError) -> None:
    """Writes a checkpoint of the steps made before a failure; a second failure is added to the first."""
    try:
        _account(session, session.readback.drain())
        _finish_step(session, stop=True)
    except TrainingError as second:
        if str(second) not in str(failure):
            raise TrainingError(f"{failure}; and there is no new checkpoint, because {second}") from failure


# ---------------------------------------------------------------- after a step


def _account(session: Session, rows: Sequence[tuple[int, dict[str, float]]]) -> None:
    """Logs the numbers of steps and counts skipped ones.

    `seconds`, the duration of a step, is added by `Readback`.
    """
    config, progress = session.job.config, session.progress
    for step, numbers in rows:
        faults = blame.take_faults(numbers)
        skipped = numbers.pop(SKIPPED) > 0
        progress.skipped += skipped
        progress.skipped_in_a_row = progress.skipped_in_a_row + 1 if skipped else 0
        if skipped:
            _note_skipped(session, step, faults)
        else:
            session.skipped_in_a_row.clear()
        seconds = numbers.pop(SECONDS)
        of_host = {
            SAMPLES_PER_SECOND: config.train.batch_size / seconds,
            # On a GPU the batch of the next step is waited for, while this one is computed.
            DATA_WAIT: min(session.waits.pop(step, 0.0) / seconds, 1.0),
            MEMORY_GB: memory_gb(session.accelerator.device),
            SKIPPED: progress.skipped,
        }
        with session.wish.noting(OSError):
            session.tracker.train(step + 1, numbers | of_host)
        # With train.debug_non_finite the first one ends the run in any case, with the layer's name.
        if progress.skipped_in_a_row >= config.train.max_skipped and not config.train.debug_non_finite:
            raise TrainingError(
                f"{counted(progress.skipped_in_a_row, 'step')} in a row, up to step {step + 1}, "
                f"{agreed(progress.skipped_in_a_row, 'was', 'were')} not finite and changed no "
                f"weight. {blame.verdict(session.skipped_in_a_row)}. The last checkpoint is step "
                f"{session.job.run.pointer('last') or 0}"
            )


def _end_if_not_finite(session: Session, step: int, micro_batches: Sequence[Batch]) -> None:
    """Waits for the numbers of a step; raises TrainingError naming the first layer if it was skipped."""
    rows = session.readback.drain()
    skipped = any(numbers[SKIPPED] > 0 for _, numbers in rows)
    _account(session, rows)
    if skipped:
        raise TrainingError(first_bad_layer(session, step, micro_batches))


def _note_skipped(session: Session, step: int, faults: Mapping[int, float]) -> None:
    """Says which samples made a step fail, and counts their cases."""
    samples, train = session.job.samples, session.job.config.train
    split = {
        "batch_size": train.batch_size,
        "processes": session.accelerator.num_processes,
        "accumulation": train.accumulation,
    }
    skipped = blame.explain(step, faults, samples, split)
    blame.count(session.progress, skipped)
    session.skipped_in_a_row.append(skipped)
    if session.accelerator.is_main_process:
        with session.wish.noting(OSError):
            session.tracker.say("\n".join([str(skipped), *blame.in_store(skipped, samples)]))


def _finish_step(session: Session, *, stop: bool = False) -> bool:
    """Does what is due after a step; returns whether the run stops here.

    `stop` and the answer are the same on every process.
    """
    job, progress = session.job, session.progress
    better = False
    if due(job.config, progress, stop=stop).validation:
        scores = _validate(session)
        if scores is None:
            # The validation stays due. No validation is due after a stop, so this happens once.
            return _ends_here(session)
        better = note_if_best(job.config, progress, scores)
    now = due(job.config, progress, stop=stop, better=better)
    # Write the weights before the checkpoint that calls them best: after a crash in between, the resumed run writes
    # them again.
    if now.weights:
        state.export_weights(job.run, session.state)
    if now.checkpoint and not (stop and session.saved_step == progress.step):
        state.save(job, session.state)
        session.saved_step = progress.step
    if now.stop or progress.step == job.config.train.steps or ended_early(job.config, progress):
        for line in blame.named_cases(progress):
            session.tracker.say(line)
    if now.stop and session.stopped_by:
        session.tracker.say(f"stopped by a signal at step {progress.step}; run the same command again to go on")
    return now.stop


def _validate(session: Session) -> Mapping[str, float] | None:
    """Scores the held-out cases and logs the scores.

    Returns the scores, `{}` if there is no held-out case, `None` if a signal or an error came during validation.
    """
    started, job, step = time.monotonic(), session.job, session.progress.step
    session.network.eval()
    with in_place(session.ema), gathered(session.network):
        network = session.accelerator.unwrap_model(session.network)
        scores = job.validate(network, session.wish, scores_all(job.config, step))
    session.network.train()
    if scores is None:
        return None
    session.progress.validated = step
    if scores:
        with session.wish.noting(OSError):
            details = scores.details if isinstance(scores, Scores) else None
            session.tracker.validation(step, {**scores, SECONDS: time.monotonic() - started}, details)
        if remark := without_value(job.config, step, scores):
            session.tracker.say(remark)
    return scores
