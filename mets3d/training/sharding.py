"""Spreads a network's parameters, gradients and optimizer state over the processes: PyTorch's FSDP2.

A launch file asks for it, `distributed_type: FSDP` with `fsdp_version: 2`. Accelerate's own plugin is not used: it
works on GPUs alone, so that nothing could be tried without one, and it exchanges the optimizer's parameters by their
addresses. To Accelerate a sharded run is one of several processes; what differs stands here and in `full_state`.

What is spread is 16 bytes a parameter under AdamW. The feature maps, which take most of the memory, are not: each
process holds those of its own samples.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Replicate, distribute_tensor
from torch.optim import Optimizer

from mets3d.models.blocks import ConvBlock
from mets3d.models.queries import QueryLayer
from mets3d.models.vit import ViTBlock

# What is gathered just for its own forward and backward pass; all else is at the start of a forward pass.
UNITS = (ConvBlock, ViTBlock, QueryLayer)


@contextmanager
def hidden_from_accelerate() -> Iterator[None]:
    """Has an Accelerator that is made in this block see several plain processes."""
    before = os.environ.get("ACCELERATE_USE_FSDP")
    if before is not None:
        os.environ["ACCELERATE_USE_FSDP"] = "false"
    try:
        yield
    finally:
        if before is not None:
            os.environ["ACCELERATE_USE_FSDP"] = before


def shard(network: nn.Module, accelerator: Accelerator) -> None:
    """Shards a network in place over all processes, each unit on its own."""
    # The warning is of changes in place to what a unit returns; none of ours is changed, and the gradients are tested.
    warnings.filterwarnings("ignore", message=r"FSDP2-wrapped module .* returned a view tensor", category=UserWarning)
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    network.to(accelerator.device)
    for unit in [module for module in network.modules() if isinstance(module, UNITS)]:
        fully_shard(unit, mesh=mesh, reshard_after_forward=_frees_units())
    # The root stays gathered until its backward pass: the loss uses its weights after the forward pass.
    fully_shard(network, mesh=mesh, reshard_after_forward=False)


def is_sharded(network: nn.Module) -> bool:
    """Returns whether a network is spread over the processes."""
    return any(isinstance(module, FSDPModule) for module in network.modules())


def prepared(accelerator: Accelerator, network: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
    """Prepares network and optimizer as Accelerate does, a sharded network without DDP around it."""
    if isinstance(network, FSDPModule):
        plain = accelerator.prepare_model(network, evaluation_mode=True)
        return plain, accelerator.prepare_optimizer(optimizer)
    both: tuple[nn.Module, Optimizer] = accelerator.prepare(network, optimizer)
    return both


@contextmanager
def gathered(network: nn.Module) -> Iterator[None]:
    """Gives every process the whole parameters in this block, so that each may run the network as often as it likes.

    The forward pass of a sharded network is one of all processes. All of them enter and leave together; a network that
    is not sharded is left as it is.
    """
    sharded: list[Any] = [module for module in network.modules() if isinstance(module, FSDPModule)]
    units: list[Any] = [module for module in sharded if isinstance(module, UNITS)]
    for module in sharded:
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield
    finally:
        for module in sharded:
            module.reshard()
        for module in units:
            module.set_reshard_after_forward(_frees_units(), recurse=False)


def whole(value: Tensor) -> Tensor:
    """Returns the whole of a tensor. All processes call it for one that is sharded."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def as_part(value: Tensor, of: Tensor) -> Tensor:
    """Returns this process's part of a whole tensor, spread as `of` is. The others hold the same whole tensor."""
    if not isinstance(of, DTensor):
        return value
    return distribute_tensor(value.to(of.device), of.device_mesh, of.placements, src_data_rank=None)


def everywhere(value: Tensor, of: Tensor) -> Tensor:
    """Returns a number that is equal on all processes in the form in which operations with `of` take it."""
    if not isinstance(of, DTensor):
        return value
    return DTensor.from_local(value, of.device_mesh, [Replicate()], run_check=False)


def _frees_units() -> bool:
    """Returns whether a unit's parameters are freed after its forward pass and gathered again for its backward pass."""
    return os.environ.get("FSDP_RESHARD_AFTER_FORWARD", "true").lower() != "false"
