"""The training loop. A step is a function of its number; the loop runs it from where the run is to where it ends."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from mets3d.augment.changes import augment
from mets3d.config import Config
from mets3d.data.loader import Batch, Samples, batches
from mets3d.losses import LossFunction
from mets3d.losses.queries import count_masks
from mets3d.regions import Target
from mets3d.rundir import RunDir
from mets3d.training import launch, optim, state
from mets3d.training.balance import Balance
from mets3d.training.stop import StopWish, listening
from mets3d.training.track import Tracker

Validation = Callable[[nn.Module, StopWish], Mapping[str, float] | None]


@dataclass(frozen=True)
class Job:
    """What a run trains, made by train.py."""

    config: Config
    run: RunDir
    network: nn.Module
    loss: LossFunction
    samples: Samples
    target: Target
    spacing_mm: tuple[float, float, float]
    validate: Validation


def fit(job: Job, accelerator: Accelerator) -> int:
    """Trains to the last step, or to the step at which a signal came. Returns the exit code for the shell.

    Raises RuntimeError after `train.max_skipped` non-finite losses in a row.
    """
    settings = job.config.train
    optimizer = optim.build(
        job.network.parameters(),
        name=job.config.optim.name,
        lr=job.config.optim.lr,
        weight_decay=job.config.optim.weight_decay,
        momentum=job.config.optim.momentum,
    )
    network = torch.compile(job.network) if settings.compile else job.network
    network, optimizer = accelerator.prepare(network, optimizer)
    balance = None
    if job.config.loss.boundary != "none" and job.config.loss.boundary_schedule == "balanced":
        balance = Balance(accelerator.device)
        accelerator.register_for_checkpointing(balance)
    with launch.one_message(accelerator):
        progress = state.resume(job.run, accelerator, network)
    tracker = Tracker(job.config, accelerator, job.run, step=progress.step)
    if progress.step:
        tracker.say(f"resuming at step {progress.step} of {settings.steps}")
    try:
        with listening() as wish:
            _run_steps(job, accelerator, network, optimizer, progress, tracker, wish, balance)
            return wish.exit_code
    finally:
        tracker.close()


def _run_steps(
    job: Job,
    accelerator: Accelerator,
    network: nn.Module,
    optimizer: Optimizer,
    progress: state.Progress,
    tracker: Tracker,
    wish: StopWish,
    balance: Balance | None,
) -> None:
    settings = job.config.train
    remaining = range(progress.step, settings.steps)
    host_batches = batches(
        job.samples,
        steps=remaining,
        batch_size=settings.batch_size,
        processes=accelerator.num_processes,
        rank=accelerator.process_index,
        accumulation=settings.accumulation,
        workers=job.config.data.workers if remaining else 0,
        pin_memory=accelerator.device.type == "cuda",
    )
    # On a GPU the numbers of a step are read while the next one runs; elsewhere at once.
    readback = Readback(lag=1 if accelerator.device.type == "cuda" else 0)
    # A stop may have come between a step and its validation.
    if _owes_validation(job.config, progress) and _finish_step(
        job, accelerator, network, progress, tracker, wish, stopping=False
    ):
        return
    for step, micro_batches in zip(remaining, host_batches, strict=True):
        values = train_step(job, accelerator, network, optimizer, micro_batches, step, wish, balance)
        readback.push(step, values)
        progress.step = step + 1
        numbers = readback.drain() if _is_due(job.config, progress.step) else readback.ready()
        stops = [_account(done, row, job, progress, tracker) for done, row in numbers]
        if _finish_step(job, accelerator, network, progress, tracker, wish, stopping=any(stops)):
            return
        if _is_due(job.config, progress.step):
            readback.restart_clock()


def _is_due(config: Config, step: int) -> bool:
    """Whether a checkpoint or a validation follows a step."""
    every = (config.train.checkpoint_every, config.validate_.every)
    return step == config.train.steps or any(step % number == 0 for number in every)


def _owes_validation(config: Config, progress: state.Progress) -> bool:
    if progress.step in {0, progress.validated}:
        return False
    return progress.step == config.train.steps or progress.step % config.validate_.every == 0


def _finish_step(
    job: Job,
    accelerator: Accelerator,
    network: nn.Module,
    progress: state.Progress,
    tracker: Tracker,
    wish: StopWish,
    *,
    stopping: bool,
) -> bool:
    """Validation and checkpoint where they are due; True if the run is to stop here. Equal on every process."""
    settings = job.config.train
    last = progress.step == settings.steps
    better = False
    if _owes_validation(job.config, progress) and not stopping:
        scores = _validate(job, accelerator, network, progress, tracker, wish)
        stopping = scores is None
        better = scores is not None and _is_better(scores, progress)
    # Weights before the checkpoint that calls them the best: a crash in between only makes them again.
    if better or (last and not stopping and progress.best_step == 0):
        state.export_weights(job.run, accelerator, network)
    due = progress.step % settings.checkpoint_every == 0 or last or better or stopping
    if due:
        state.save(job.run, accelerator, progress, keep=settings.keep_checkpoints)
        if better and accelerator.is_main_process:
            job.run.point("best", progress.step)
    if stopping:
        tracker.say(f"stopped by a signal at step {progress.step}; run the same command again to go on")
    return stopping


def train_step(
    job: Job,
    accelerator: Accelerator,
    network: nn.Module,
    optimizer: Optimizer,
    micro_batches: list[Batch],
    step: int,
    wish: StopWish,
    balance: Balance | None = None,
) -> dict[str, Tensor]:
    """One optimizer step on this process's share of the global batch; its numbers, averaged over all processes.

    Stays on the device. The gradient is the mean over the global batch however it is split: each micro-batch has the
    same size, backward divides by their number and DDP by the processes, and the query loss is normalised by the masks
    of the global batch, counted before the first forward pass.
    """
    prepared = [_on_device(job, batch, accelerator.device) for batch in micro_batches]
    parts_of_batch = accelerator.num_processes * len(prepared)
    masks = None
    if job.config.model.mode in ("decoder", "both"):
        count = accelerator.reduce(torch.stack([count_masks(target) for _, target in prepared]).sum().float())
        masks = count.clamp_min(1) / parts_of_batch
    # Not the optimizer's zero_grad: Accelerate's is skipped while a step is incomplete.
    network.zero_grad(set_to_none=True)
    collected: list[dict[str, Tensor]] = []
    for turn, (image, target) in enumerate(prepared):
        index = accelerator.process_index + accelerator.num_processes * turn
        torch.manual_seed(_dropout_seed(job.config.seed, step, index))
        synchronised = turn == len(prepared) - 1
        with contextlib.nullcontext() if synchronised else accelerator.no_sync(network):
            output = network(image)
            loss, parts = job.loss(output, target, step=step, masks=masks, ratio=balance.ratio() if balance else None)
            accelerator.backward(loss / len(prepared))
        collected.append({"loss": loss.detach()} | {_logged(name): part for name, part in parts.items()})
    norm = accelerator.clip_grad_norm_(network.parameters(), job.config.optim.clip_norm)
    values = _averaged(collected, accelerator, stop=bool(wish))
    if balance is not None:
        balance.update(values)
    skip = ~(torch.isfinite(values["loss"]) & torch.isfinite(norm))
    scaled = accelerator.scaler is not None
    lr = _learning_rate(job.config, step)
    optim.step_unless(optimizer, None if scaled else skip, lr)
    # Under fp16 an overflowing gradient lowers the loss scale, which is no fault of the loss.
    values["skipped"] = (~torch.isfinite(values["loss"]) if scaled else skip).float()
    return values | {"grad_norm": norm.detach().float(), "lr": torch.tensor(lr)}


def _logged(part: str) -> str:
    return part if part == "boundary_weight" else f"loss/{part}"


def _on_device(job: Job, batch: Batch, device: torch.device) -> tuple[Tensor, Tensor]:
    image, labels = batch.on(device)
    if job.config.augment.enabled:
        image, labels = augment(image, labels, batch.drawn, job.spacing_mm)
    return image, torch.stack(job.target.masks(labels), dim=1)


def _averaged(collected: list[dict[str, Tensor]], accelerator: Accelerator, *, stop: bool) -> dict[str, Tensor]:
    """The numbers of all micro-batches and processes in one reduction, with the wish to stop of any process."""
    names = list(collected[0])
    rows = torch.stack([torch.stack([values[name].float() for name in names]) for values in collected]).mean(0)
    wish = torch.tensor([float(stop)]).to(rows.device, non_blocking=True)
    reduced = accelerator.reduce(torch.cat([rows, wish]), reduction="mean")
    return dict(zip([*names, "stop"], reduced.unbind(), strict=True))


def _learning_rate(config: Config, step: int) -> float:
    settings = config.optim
    return optim.learning_rate(
        step, steps=config.train.steps, lr=settings.lr, min_lr=settings.min_lr, warmup_steps=settings.warmup_steps
    )


def _dropout_seed(seed: int, step: int, index: int) -> int:
    """Seed of torch's own generator, which only dropout uses: a function of the step, so resuming needs no state."""
    return int(np.random.SeedSequence([seed, step, index]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _account(step: int, numbers: dict[str, float], job: Job, progress: state.Progress, tracker: Tracker) -> bool:
    """Logs the numbers of a step and counts skipped ones; True if any process wishes to stop."""
    skipped = numbers.pop("skipped") > 0
    progress.skipped += skipped
    progress.skipped_in_a_row = progress.skipped_in_a_row + 1 if skipped else 0
    stop = numbers.pop("stop") > 0
    speed = job.config.train.batch_size / numbers.pop("seconds")
    tracker.train(step + 1, numbers | {"samples_per_second": speed, "skipped": progress.skipped})
    if progress.skipped_in_a_row >= job.config.train.max_skipped:
        raise RuntimeError(
            f"the loss was not finite in {progress.skipped_in_a_row} steps in a row, up to step {step + 1}; they "
            f"changed no weight. The last checkpoint is step {job.run.pointer('last') or 0}. Lower optim.lr, or look "
            "at the parts of the loss in metrics.jsonl"
        )
    return stop


def _validate(
    job: Job,
    accelerator: Accelerator,
    network: nn.Module,
    progress: state.Progress,
    tracker: Tracker,
    wish: StopWish,
) -> Mapping[str, float] | None:
    """Scores of the held-out cases, empty without any; None if a signal came meanwhile."""
    started = time.monotonic()
    network.eval()
    scores = job.validate(accelerator.unwrap_model(network), wish)
    network.train()
    if scores is None:
        return None
    progress.validated = progress.step
    if scores:
        tracker.validation(progress.step, {**scores, "seconds": time.monotonic() - started})
    return scores


def _is_better(scores: Mapping[str, float], progress: state.Progress) -> bool:
    if not scores or scores["dice/mean"] <= progress.best:
        return False
    progress.best, progress.best_step = scores["dice/mean"], progress.step
    return True


class Readback:
    """Numbers of steps on their way from the device to the host, read `lag` steps late.

    With a lag of one the host waits for a step that is over while the next one is already queued: the GPU never idles.
    """

    def __init__(self, lag: int):
        self.lag = lag
        self._waiting: deque[tuple[int, list[str], Tensor, torch.cuda.Event | None]] = deque()
        self._before = time.monotonic()

    def push(self, step: int, values: dict[str, Tensor]) -> None:
        row = torch.stack([value.to(values["loss"].device, non_blocking=True) for value in values.values()])
        event = None
        if row.device.type == "cuda":
            host = torch.empty(row.shape, dtype=row.dtype, pin_memory=True)
            host.copy_(row, non_blocking=True)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record()
            row = host
        self._waiting.append((step, list(values), row, event))

    def ready(self) -> list[tuple[int, dict[str, float]]]:
        """(step, numbers) of every step but the newest `lag`."""
        return [self._take() for _ in range(len(self._waiting) - self.lag)]

    def drain(self) -> list[tuple[int, dict[str, float]]]:
        """(step, numbers) of every step."""
        return [self._take() for _ in range(len(self._waiting))]

    def restart_clock(self) -> None:
        """Leaves out of the next step's seconds what has happened since the last one."""
        self._before = time.monotonic()

    def _take(self) -> tuple[int, dict[str, float]]:
        step, names, row, event = self._waiting.popleft()
        if event is not None:
            event.synchronize()
        now = time.monotonic()
        seconds, self._before = now - self._before, now
        return step, dict(zip(names, row.tolist(), strict=True)) | {"seconds": seconds}
