"""Optimizer and learning rate. The rate is a function of the step: no scheduler to save, none to step twice."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer


def build(
    parameters: Iterable[nn.Parameter],
    *,
    name: Literal["adamw", "sgd"],
    lr: float,
    weight_decay: float,
    momentum: float = 0.99,
) -> Optimizer:
    """AdamW, or SGD with Nesterov momentum, in their fused form: one kernel, which can skip a step on the device.

    Weight decay acts on every parameter, as in nnU-Net and the original 3D TransUNet.
    """
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    match name:
        case "adamw":
            return AdamW(trainable, lr=lr, weight_decay=weight_decay, fused=True)
        case "sgd":
            sgd = SGD(trainable, lr=lr, weight_decay=weight_decay, momentum=momentum, nesterov=momentum > 0, fused=True)
            # The fused form leaves the buffers uninitialised if the very first step is skipped. From zeros the first
            # step is the same: momentum x 0 + gradient.
            for parameter in trainable if momentum else ():
                sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            return sgd


def learning_rate(step: int, *, steps: int, lr: float, min_lr: float, warmup_steps: int) -> float:
    """The rate of optimizer step `step` (from 0): linear warm-up, then a half cosine to `min_lr` at the last step.

    Warm-up step k of K has lr (k + 1) / K, so that the first step already moves. A longer warm-up than the run is cut.
    """
    warmup = min(warmup_steps, steps)
    if step < warmup:
        return lr * (step + 1) / warmup
    last = max(1, steps - 1 - warmup)
    return min_lr + (lr - min_lr) * 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / last)))


def step_unless(optimizer: Optimizer, skip: Tensor | None, lr: float) -> None:
    """One step at rate `lr`; where the 0-d tensor `skip` is non-zero nothing changes, and the host need not know.

    `skip` None: under fp16 the loss scaler decides, it sees the same non-finite gradients.
    """
    inner: Any = getattr(optimizer, "optimizer", optimizer)  # Accelerate's wrapper keeps the optimizer there
    for group in inner.param_groups:
        group["lr"] = lr
    if skip is None:
        optimizer.step()
        return
    # Fused optimizers read these two, which is how torch's own GradScaler makes them skip.
    inner.grad_scale, inner.found_inf = None, skip.float()
    try:
        optimizer.step()
    finally:
        del inner.grad_scale, inner.found_inf
