"""Prepares network and loss for speed or memory: layout, recomputation and compilation. No result depends on it."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from mets3d.models.transunet import TransUNet
from mets3d.training.job import Job


def tuned(job: Job) -> tuple[Job, nn.Module]:
    """Returns the job with its loss, and its network, as `train.compile`, `recompute` and their like ask for."""
    settings, network = job.config.train, job.network
    if settings.channels_last:
        network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    if isinstance(network, TransUNet):
        network.recompute(settings.recompute)
    if settings.compile_loss:
        job = replace(job, loss=job.loss.compiled())
    return job, cast(nn.Module, torch.compile(network)) if settings.compile else network


def in_layout(job: Job, image: Tensor) -> Tensor:
    """Returns the image [B, C, X, Y, Z] in the memory layout of the network."""
    if not job.config.train.channels_last:
        return image
    return image.contiguous(memory_format=torch.channels_last_3d)
