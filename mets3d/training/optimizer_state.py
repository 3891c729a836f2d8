"""Reads the optimizer's state in a checkpoint, and compares it with an optimizer before it is loaded.

The fused optimizers take what they are given: a momentum of another shape than its parameter has them write beside it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from mets3d.files import WrongWeightsError

OF_ADAM = ("exp_avg", "exp_avg_sq", "step")
OF_SGD = ("momentum_buffer",)


def read_optimizer(file: Path, *, mapped: bool = False) -> dict[str, Any]:
    """Reads what `torch.save` made of an optimizer's state: tensors and plain values alone, and never code.

    mapped: the tensors stay in the file until they are used. Raises OSError, and WrongWeightsError, a ValueError, for a
    file that is something else.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of a pickle's version, before it is refused
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except OSError:
        raise
    except Exception:  # the reader raises undocumented errors for damaged files; their texts advise to run code
        content = None
    if not isinstance(content, dict):
        raise WrongWeightsError(
            f"{file}: expected the state of an optimizer, of tensors and plain values only; the file is damaged or "
            "holds something else. Bring the checkpoint back from a copy, or use another --name"
        )
    return content


def check_optimizer(saved: Mapping[str, Any], optimizer: Optimizer, file: Path) -> None:
    """Raises WrongWeightsError, naming the difference, if a saved state is not one of this optimizer."""
    fault = _fault(saved, optimizer)
    if fault:
        raise WrongWeightsError(
            f"{file}: the state of another optimizer: {fault}. Bring the checkpoint back from a copy, or use another "
            "--name"
        )


def parameters_of_groups(saved: Mapping[str, Any]) -> list[list[Any]] | None:
    """Returns the numbers of the parameters in each group of a saved state; None where it has no groups."""
    groups = saved.get("param_groups")
    if not isinstance(groups, list) or not all(isinstance(group, dict) for group in groups):
        return None
    numbers = [group.get("params") for group in groups]
    return numbers if all(isinstance(of_group, list) for of_group in numbers) else None


def _fault(saved: Mapping[str, Any], optimizer: Optimizer) -> str:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    sizes = [len(group["params"]) for group in optimizer.param_groups]
    groups, states = parameters_of_groups(saved), saved.get("state")
    if groups is None or not isinstance(states, dict):
        return "expected `state` and `param_groups`"
    if [len(group) for group in groups] != sizes or [n for group in groups for n in group] != [*range(len(parameters))]:
        return f"groups of {[len(group) for group in groups]} parameters there and of {sizes} here"
    names = sorted(OF_SGD if isinstance(getattr(optimizer, "optimizer", optimizer), SGD) else OF_ADAM)
    for index, state in states.items():
        if type(index) is not int or not 0 <= index < len(parameters) or not isinstance(state, dict):
            return f"a state of parameter {index!r}, expected numbers below {len(parameters)}"
        if sorted(state) != names:
            return f"parameter {index} has {', '.join(map(str, state)) or 'nothing'}, expected {', '.join(names)}"
        for name, value in state.items():
            wanted = () if name == "step" else tuple(parameters[index].shape)
            if not isinstance(value, Tensor) or tuple(value.shape) != wanted or not value.is_floating_point():
                found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                return f"{name} of parameter {index} is {found}, expected {wanted}"
    return ""
