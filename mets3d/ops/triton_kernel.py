"""Makes Triton kernels of functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import triton


def kernel(function: Callable[..., Any]) -> Any:
    """Returns the function as a Triton kernel.

    Tests wrap every function of the package in shape checks; Triton would then look for `tl` among the wrapper's names.
    """
    return triton.jit(inspect.unwrap(function))
