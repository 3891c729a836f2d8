"""Collects what a training has learned on the main process, and gives it back to every process.

The only place that knows how network and optimizer are spread over the processes. Today each process holds all of
both; a sharded network is gathered and spread here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer


def gather_weights(accelerator: Accelerator, network: nn.Module) -> dict[str, Tensor]:
    """Returns the weights by the names of the plain network, in memory of the host. All processes call it.

    Complete on the main process; the others get an empty dict.
    """
    weights = accelerator.get_state_dict(network)
    if not accelerator.is_main_process:
        return {}
    return {name.removeprefix("_orig_mod."): tensor.detach().cpu().contiguous() for name, tensor in weights.items()}


def gather_optimizer(accelerator: Accelerator, optimizer: Optimizer) -> dict[str, Any]:
    """Returns the optimizer's state, in memory of the host. All processes call it; only the main one gets it."""
    state = optimizer.state_dict()
    moved: dict[str, Any] = _on_host(state) if accelerator.is_main_process else {}
    return moved


def spread(
    accelerator: Accelerator, network: nn.Module, weights: Mapping[str, Tensor], optimizer: tuple[Optimizer, Any]
) -> None:
    """Gives every process its part of weights and optimizer state, which are complete on all of them."""
    accelerator.unwrap_model(network, keep_torch_compile=False).load_state_dict(weights)
    inner, state = optimizer
    inner.load_state_dict(state)


def _on_host(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, Mapping):
        return {key: _on_host(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_on_host(inner) for inner in value]
    return value
