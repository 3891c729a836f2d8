"""Normalises feature maps and applies their activation, in one pass of the memory where the device can do it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

Fused = Callable[[Tensor, Tensor, Tensor, float, float], Tensor]


def norm_and_activate(features: Tensor, norm: nn.Module, activation: nn.LeakyReLU) -> Tensor:
    """Returns `activation(norm(features))`.

    On CUDA an affine InstanceNorm and a leaky ReLU are one operation, whose sums are in fp32. The modules run as they
    are under torch.compile, in fp64, on other memory layouts, and where the norm is another one, as in exported copies.
    """
    fused = None
    if features.is_cuda and isinstance(norm, nn.InstanceNorm3d) and not torch.compiler.is_compiling():
        fitting = norm.affine and not norm.track_running_stats and features.dtype != torch.float64
        fused = fused_on_cuda() if fitting and features.is_contiguous() else None
    if fused is None:
        result: Tensor = activation(norm(features))
        return result
    assert isinstance(norm, nn.InstanceNorm3d)
    return fused(features, norm.weight, norm.bias, norm.eps, activation.negative_slope)


@cache
def fused_on_cuda() -> Fused | None:
    """Returns the operation on CUDA, or None, with a warning, where Triton does not work."""
    try:
        from mets3d.ops.norm_triton import NormLeaky

        # Triton builds a launcher with the host's C compiler; without one it fails here and not in a training step.
        one = torch.ones(1, device="cuda")
        NormLeaky.apply(torch.zeros(1, 1, 2, 2, 2, device="cuda"), one, one, 1e-5, 0.01)  # type: ignore[no-untyped-call]
    except Exception as error:  # a compiler, an assembler, a driver: each fails in a class of its own
        warnings.warn(f"Triton does not work here ({error}): InstanceNorm takes longer", stacklevel=4)
        return None
    apply: Fused = NormLeaky.apply
    return apply
