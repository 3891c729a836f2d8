"""A device that is pretended: tensors compute on the CPU and say that they are elsewhere, and every wait is counted.

On a real one the host waits where a number or a shape comes back from it, or where memory is copied at once. All of
these pass through PyTorch's dispatcher, where the class below sees them: copies between host and device, operations
that PyTorch itself marks as depending on data, and indexing with a mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("mps", 0)  # one that this build of PyTorch knows by name and lacks
aten = torch.ops.aten


class OnDevice(Tensor):
    """A tensor on the pretended device; `host` holds its values."""

    host: Tensor

    @staticmethod
    def __new__(cls, host: Tensor) -> OnDevice:
        # To C++ it is on `meta`, whose gradients are computed by the calling thread, as on the CPU.
        return Tensor._make_wrapper_subclass(  # type: ignore[attr-defined, no-any-return]
            cls, host.shape, host.stride(), host.storage_offset(), dtype=host.dtype, device="meta"
        )

    def __init__(self, host: Tensor):
        self.host = host

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Returns where the tensor pretends to be."""
        return DEVICE

    def __repr__(self, **_arguments: Any) -> str:
        return f"OnDevice({self.host})"

    @classmethod
    def __torch_dispatch__(cls, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatched(function, args, kwargs or {}, [])


class Waits(TorchDispatchMode):
    """Notes the name of every operation for which the host would wait, while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[str] = []

    def __torch_dispatch__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _dispatched(function, args, kwargs or {}, self.noted)


@contextmanager
def pretended_device() -> Iterator[list[str]]:
    """Makes DEVICE usable inside the block, and yields the operations for which the host waited."""
    with Waits() as waits:
        yield waits.noted


def moved(network: nn.Module) -> nn.Module:
    """Moves the parameters and buffers of a network to the pretended device."""
    for module in network.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(OnDevice(parameter.detach()), parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = OnDevice(buffer)
    return network


def _dispatched(function: Any, args: Any, kwargs: Any, noted: list[str]) -> Any:
    flat, _ = tree_flatten((args, kwargs))
    inside = any(isinstance(value, OnDevice) for value in flat)
    target = kwargs.get("device")
    moves_in = target is not None and torch.device(target).type in (DEVICE.type, "meta")
    if target is not None and function is aten._to_copy.default:
        if inside and not moves_in:
            noted.append("copy to the host")
        elif not inside and moves_in and not kwargs.get("non_blocking"):
            noted.append("copy to the device, not non_blocking")
    elif function is aten.copy_.default and not isinstance(args[0], OnDevice) and inside:
        noted.append("copy to the host")
    elif inside and _waits(function, args, kwargs):
        noted.append(str(function))
    on_host = {**tree_map(_host, kwargs), **({"device": torch.device("cpu")} if target is not None else {})}
    result = function(*tree_map(_host, args), **on_host)
    if moves_in or (inside and target is None and not _is_number(function)):
        result = tree_map(lambda value: OnDevice(value) if isinstance(value, Tensor) else value, result)
        if inside:
            return return_and_correct_aliasing(function, args, kwargs, result)
    return result


def _waits(function: Any, args: Any, kwargs: Any) -> bool:
    """Returns whether the result's value or shape is needed by the host."""
    if function in (aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default):
        return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
    if function is aten.repeat_interleave.Tensor:
        return kwargs.get("output_size") is None
    if function is aten.segment_reduce.default:
        return not kwargs.get("unsafe")
    return bool({torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape} & set(function.tags))


def _is_number(function: Any) -> bool:
    return torch.Tag.data_dependent_output in function.tags


def _host(value: Any) -> Any:
    return value.host if isinstance(value, OnDevice) else value
