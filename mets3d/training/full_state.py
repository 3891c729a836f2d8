"""Collects what a training has learned on the main process, and gives it back to every process.

Each process holds all of both, or of a sharded network its part, which is gathered and spread here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from mets3d.training.sharding import as_part, whole


def gather_weights(accelerator: Accelerator, network: nn.Module) -> dict[str, Tensor]:
    """Returns a copy of the weights by the names of the plain network, on the host. All processes call it.

    Complete on the main process; the others get an empty dict.
    """
    main = accelerator.is_main_process
    # A copy on a CPU too: the network may hold its averages for a moment.
    weights = {
        name.removeprefix("_orig_mod."): _on_host(tensor, keep=main, copy=True)
        for name, tensor in accelerator.get_state_dict(network).items()
    }
    return weights if main else {}


def gather_optimizer(accelerator: Accelerator, optimizer: Optimizer) -> dict[str, Any]:
    """Returns the optimizer's state, in memory of the host. All processes call it; only the main one gets it."""
    moved: dict[str, Any] = _on_host(optimizer.state_dict(), keep=accelerator.is_main_process)
    return moved if accelerator.is_main_process else {}


def spread_weights(accelerator: Accelerator, network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Gives every process its part of the weights, which are complete on all of them."""
    plain = accelerator.unwrap_model(network, keep_torch_compile=False)
    own = plain.state_dict()
    plain.load_state_dict({name: as_part(whole_, own[name]) for name, whole_ in weights.items()})


def spread_optimizer(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Gives every process its part of the optimizer's state, which is complete on all of them.

    How it averages and decays is said by the optimizer itself, for that is the configuration's.
    """
    groups = [
        {**own, "params": saved["params"]}
        for own, saved in zip(optimizer.param_groups, state["param_groups"], strict=True)
    ]
    optimizer.load_state_dict({"param_groups": groups, "state": _parts(state["state"], optimizer)})


def _parts(states: Mapping[int, Mapping[str, Any]], optimizer: Optimizer) -> dict[int, dict[str, Any]]:
    """Returns the states of the parameters, of those tensors that are as large as the parameter this process's part."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return {
        index: {
            name: _laid_out(as_part(value, parameters[index]), parameters[index])
            if isinstance(value, Tensor) and value.shape == parameters[index].shape
            else value
            for name, value in state.items()
        }
        for index, state in states.items()
    }


def _laid_out(value: Tensor, like: Tensor) -> Tensor:
    """Returns the tensor in the memory layout of its parameter: on a GPU the fused optimizers refuse another one."""
    if isinstance(like, DTensor) or value.stride() == like.stride():
        return value
    return torch.empty_like(like, dtype=value.dtype, device=value.device).copy_(value)


def _on_host(value: Any, *, keep: bool, copy: bool = False) -> Any:
    """Copies all tensors of a nest to the host; a sharded one is made whole by all, and kept where it is wanted."""
    if isinstance(value, Tensor):
        gathered = whole(value.detach())
        return gathered.to("cpu", copy=copy).contiguous() if keep else None
    if isinstance(value, Mapping):
        return {key: _on_host(inner, keep=keep) for key, inner in value.items()}
    if isinstance(value, list):
        return [_on_host(inner, keep=keep) for inner in value]
    return value
