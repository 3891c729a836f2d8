"""Builds the optimizer, and makes steps that change nothing where the loss was not finite."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from mets3d.config import Optim
from mets3d.training.groups import parameter_groups
from mets3d.training.sharding import everywhere


def build(network: nn.Module, settings: Optim) -> Optimizer:
    """Builds AdamW, Adam, or SGD with Nesterov momentum, over the parameters that are not frozen, in their groups.

    All are in their fused form: a few kernels, which can skip a step on the device. Weight decay is decoupled in AdamW
    and a term of the gradient, L2, in Adam and SGD.
    """
    groups, lr = parameter_groups(network, settings), settings.lr
    match settings.name:
        case "adamw":
            return AdamW(groups, lr=lr, betas=settings.betas, fused=True)
        case "adam":
            return Adam(groups, lr=lr, betas=settings.betas, fused=True)
        case "sgd":
            momentum = settings.momentum
            sgd = SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0, fused=True)
            # The fused form leaves the buffers uninitialised if the very first step is skipped. From zeros the first
            # step is the same: momentum x 0 + gradient.
            for parameter in [parameter for group in groups for parameter in group["params"]] if momentum else ():
                sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            return sgd


def step_unless(optimizer: Optimizer, skip: Tensor | None, lr: float) -> None:
    """Makes one optimizer step unless the flag `skip` is set, without reading the flag on the host.

    skip: a 0-d tensor on the device; None under fp16, where the loss scaler skips steps with non-finite gradients.
    lr: the learning rate of this step; each group takes its own share of it.
    """
    inner: Any = getattr(optimizer, "optimizer", optimizer)  # Accelerate's wrapper keeps the optimizer there
    for group in inner.param_groups:
        group["lr"] = lr * group["lr_scale"]
    if skip is None:
        optimizer.step()
        return
    # Fused optimizers read these two, which is how torch's own GradScaler makes them skip.
    inner.grad_scale, inner.found_inf = None, everywhere(skip.float(), inner.param_groups[0]["params"][0])
    try:
        optimizer.step()
    finally:
        del inner.grad_scale, inner.found_inf
