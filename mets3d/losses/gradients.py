"""Measures the gradient of a loss where it reaches the logits, while the one backward pass through the network runs.

Base loss and boundary terms meet at the logits that the probabilities are made of: those of the CNN's full-resolution
head, or with queries the mask and class logits of the final prediction. Each loss gets an alias of them, and what comes
back through an alias is the gradient of that loss alone. Its size is the sum of |dL/dz| over all numbers of the alias.
A mean over samples makes it additive: the sum over the global batch is the mean over its parts, however it is split.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from mets3d.ops.uncompiled import uncompiled

# Sums of |dL/dz| by the name of the loss. The backward pass fills it.
Sizes = dict[str, Float[Tensor, ""]]


def measured(logits: Tensor, sizes: Sizes, name: str, weight: Tensor | None = None) -> Tensor:
    """Returns an alias of logits whose gradient is added up under `name`, and goes on times `weight`.

    Weighed here and not at the loss's value, a loss can be measured whose weight is 0, or so large or small that its
    value times the weight would round away.
    """
    alias = logits.view_as(logits)
    if alias.requires_grad:
        note(alias, sizes, name)
        if weight is not None:
            alias.register_hook(lambda gradient: gradient * weight)
    return alias


@uncompiled
def note(logits: Tensor, sizes: Sizes, name: str, part: Callable[[Tensor], Tensor] = lambda gradient: gradient) -> None:
    """Has the backward pass add the sum of |dL/dz| over a part of the gradient under `name`."""

    def add(gradient: Tensor) -> None:
        # Along the last axis first: one long sum in fp32 would be wrong by per cents.
        size = torch.linalg.vector_norm(part(gradient.detach()), 1, dim=-1).sum()
        sizes[name] = sizes[name] + size if name in sizes else size

    logits.register_hook(add)


def weighed(value: Float[Tensor, ""], weight: Tensor) -> Float[Tensor, ""]:
    """Returns weight x value with the gradient of the value alone, which `measured` weighs."""
    product: Tensor = _Weighed.apply(value, weight)  # type: ignore[no-untyped-call]
    return product


class _Weighed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, value: Tensor, weight: Tensor) -> Tensor:  # noqa: ARG004 - torch's form
        return value * weight

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> tuple[Tensor, None]:  # noqa: ARG004 - torch's form
        return gradients[0], None
