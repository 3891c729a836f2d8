"""Makes one optimizer step on a process's share of the global batch."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mets3d.data.loader import Batch, keys_on_device
from mets3d.log_names import GRAD_NORM, LEARNING_RATE, SKIPPED
from mets3d.losses.value import LossValue, StepContext, count_masks
from mets3d.ops.voxels import Spacing
from mets3d.shapes import Keys, Lesions
from mets3d.training import optim
from mets3d.training.augmented import augmented
from mets3d.training.blame import fault_name, faults_of
from mets3d.training.profile import part
from mets3d.training.schedule import learning_rate
from mets3d.training.session import Session
from mets3d.training.sharding import whole
from mets3d.training.tuned import in_layout


def train_step(session: Session, step: int, micro_batches: Sequence[Batch]) -> dict[str, Tensor]:
    """Makes one optimizer step on this process's share of the global batch and returns its numbers for the log.

    The numbers are averaged over all processes and stay on the device. The gradient is the mean over the global batch
    however that is split: each micro-batch has the same size, backward divides by their number, and DDP by the number
    of processes. The query loss is divided by the number of target masks, so these are counted over the global batch
    before the first forward pass. Dice of the batch needs the sums of all micro-batches before the first backward: with
    accumulation a pass without gradient comes first, which drops the same as the second one.
    """
    job, accelerator, network = session.job, session.accelerator, session.network
    parts, context = prepared(session, step, micro_batches)
    # Accelerate skips `optimizer.zero_grad` while gradients are accumulated, so clear them on the network.
    network.zero_grad(set_to_none=True)
    rows, faults = [], []
    for micro, inputs in enumerate(parts):
        last = micro == len(parts) - 1
        # DDP averages gradients only in the last micro-batch.
        with contextlib.nullcontext() if last else accelerator.no_sync(network):
            value = loss_of(session, network, inputs, context)
            with part("backward"):
                accelerator.backward(value.total / len(parts))
        rows.append(value.as_row(_scale(session) / len(parts)))
        faults.append(faults_of(inputs.image, value.total.detach()))
    norm = whole(accelerator.clip_grad_norm_(network.parameters(), job.config.optim.clip_norm))
    means, fault = _averaged(session, rows, micro_batches, faults)
    session.updating = True
    # The parts are those of the last micro-batch; their numbers become the averages.
    value = value.with_numbers(means)
    if session.balance is not None:
        session.balance.update(value)
    finite = torch.isfinite(value.total)
    # Under fp16 the loss scaler skips steps with a non-finite gradient and lowers its scale. Such a step does not count
    # as skipped unless the loss itself is not finite, or the scale is below 1: it then is not what makes the gradient
    # overflow, and a run whose gradient is never finite would go on to its end. `skip` is equal on every process,
    # because loss and gradients are averaged over all of them.
    scaled = accelerator.scaler is not None
    expected = accelerator.scaler.scale(norm.new_ones(())) >= 1 if scaled else torch.zeros_like(finite)
    skip = ~(finite & (torch.isfinite(norm) | expected))
    rate = learning_rate(step, job.config.train.curve_steps, job.config.optim)
    with part("optimizer"):
        optim.step_unless(session.optimizer, None if scaled else skip, rate)
        if session.ema is not None:
            session.ema.update(~torch.isfinite(norm) if scaled else skip)
    session.updating = False
    of_step = {SKIPPED: skip.float(), GRAD_NORM: norm.detach().float(), LEARNING_RATE: torch.tensor(rate)}
    return value.named() | of_step | fault


def _scale(session: Session) -> Tensor | float:
    """Returns what the loss scaler multiplies a loss by before its backward pass."""
    scaler = session.accelerator.scaler
    return 1.0 if scaler is None else scaler.scale(torch.ones((), device=session.accelerator.device))


class Inputs(NamedTuple):
    """A micro-batch on the device: augmented image, target masks, keys of its samples; and their voxel sizes."""

    image: Float[Tensor, "B C X Y Z"]
    target: Bool[Tensor, "B R X Y Z"]
    keys: Keys
    spacing_mm: list[Spacing]
    lesions: Lesions | None


def prepared(session: Session, step: int, micro_batches: Sequence[Batch]) -> tuple[list[Inputs], StepContext]:
    """Returns all micro-batches on the device, copied without waiting, and the numbers of the step."""
    job, accelerator, network = session.job, session.accelerator, session.network
    with part("augmentation"):
        parts = [_on_device(session, batch) for batch in micro_batches]
    context = _context(session, step, [inputs.target for inputs in parts])
    if job.loss.needs_dice_sums and len(parts) > 1:
        with torch.no_grad():
            sums = [job.loss.dice_sums(network(image, keys), target) for image, target, keys, *_ in parts]
        context = replace(context, dice=accelerator.reduce(torch.stack(sums).sum(0)))
    return parts, context


def loss_of(session: Session, network: nn.Module, inputs: Inputs, context: StepContext) -> LossValue:
    """Returns the loss of a micro-batch after a forward pass; sums for Dice that `context` lacks are those of it."""
    loss = session.job.loss
    with part("forward"):
        output = network(inputs.image, inputs.keys)
    if loss.needs_dice_sums and context.dice is None:
        sums = loss.dice_sums(output, inputs.target).detach()
        context = replace(context, dice=session.accelerator.reduce(sums))
    with part("loss"):
        own = replace(context, keys=inputs.keys, spacing_mm=inputs.spacing_mm, lesions=inputs.lesions)
        return loss(output, inputs.target, own)


def _on_device(session: Session, batch: Batch) -> Inputs:
    job = session.job
    image, labels, lesions = augmented(batch, job.samples.patch, session.accelerator.device)
    keys = keys_on_device(job.config.seed, batch.keys).to(image.device, non_blocking=True)
    target = torch.stack(job.target.masks(labels), dim=1)
    return Inputs(in_layout(job, image), target, keys, batch.spacing_mm, lesions)


def _context(session: Session, step: int, targets: Sequence[Tensor]) -> StepContext:
    """Returns the numbers that the loss declares as needed: the masks of the global batch, the running ratio."""
    parts, masks = session.accelerator.num_processes * len(targets), None
    if session.job.loss.needs_mask_count:
        own = torch.stack([count_masks(target) for target in targets]).sum()
        masks = session.accelerator.reduce(own).clamp_min(1) / parts
    return StepContext(step, masks, None if session.balance is None else session.balance.ratio(), parts=parts)


def _averaged(
    session: Session, rows: Sequence[Tensor], micro_batches: Sequence[Batch], faults: Sequence[Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Averages the numbers over micro-batches and processes. The same reduction collects the fault of each sample."""
    train = session.job.config.train
    means = torch.stack(list(rows)).mean(0)
    of_samples = means.new_zeros(train.batch_size)
    for batch, found in zip(micro_batches, faults, strict=True):
        first = batch.keys[0][1]
        of_samples[first : first + len(found)] = found
    reduced = session.accelerator.reduce(torch.cat([means, of_samples]), reduction="mean")
    means, of_samples = reduced.split([len(means), train.batch_size])
    return means, {fault_name(index): fault for index, fault in enumerate(of_samples.unbind())}
