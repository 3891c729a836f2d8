"""Keeps functions out of torch.compile: kernels of our own, and work on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import torch

Function = TypeVar("Function", bound=Callable[..., object])


def uncompiled(function: Function) -> Function:
    """Returns the function as one that torch.compile calls as it is and never traces."""
    return cast(Function, torch.compiler.disable(function))
