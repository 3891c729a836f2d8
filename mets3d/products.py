"""Multiplies volumes of many voxels by small matrices, forward and backward without a slow long sum.

A sum over millions of voxels whose result is a small matrix runs on a single multiprocessor of a GPU if it is handed
over as one matrix product: on an H100 61 ms for [20, 2 million] x [2 million, 3] in fp32. In pieces of some thousand
voxels that are summed at the end it runs at the speed of memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

PIECE = 2048  # voxels summed by one matrix product on a GPU


def mix(
    matrix: Float[Tensor, "B M K"], volume: Float[Tensor, "B K N"], shape: Sequence[int] | None = None
) -> Float[Tensor, "B ..."]:
    """Returns the product of a matrix and the channels of a volume at each of its N voxels, in their dtype.

    shape: of the result behind the batch, in place of (M, N). What is changed in place afterwards should have its shape
    from here: a change of a view makes the backward pass copy the whole gradient.
    """
    sizes = (len(volume), *((matrix.shape[1], volume.shape[2]) if shape is None else shape))
    if not torch.is_grad_enabled():
        return torch.bmm(matrix, volume).view(sizes)
    mixed: Tensor = _Mix.apply(matrix, volume, sizes)  # type: ignore[no-untyped-call]
    return mixed


def overlap(one: Float[Tensor, "B M N"], other: Float[Tensor, "B K N"]) -> Float[Tensor, "B M K"]:
    """Returns the sum over voxels of the product of each channel of one volume with each of the other."""
    if not torch.is_grad_enabled():
        return _summed(one, other)
    result: Tensor = _Overlap.apply(one, other)  # type: ignore[no-untyped-call]
    return result


class _Mix(torch.autograd.Function):
    @staticmethod
    def forward(matrix: Tensor, volume: Tensor, sizes: tuple[int, ...]) -> Tensor:
        # No view for autograd, which forbids to change one that such a function returns.
        shaped: Tensor = torch.ops.aten._unsafe_view(torch.bmm(matrix, volume), sizes)
        return shaped

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Any], output: Tensor) -> None:  # noqa: ARG004 - torch's form
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        matrix, volume = ctx.saved_tensors
        gradient = gradients[0].reshape(len(matrix), matrix.shape[1], -1)
        needs_matrix, needs_volume, _ = ctx.needs_input_grad
        return (
            overlap(gradient, volume) if needs_matrix else None,
            mix(matrix.transpose(1, 2), gradient) if needs_volume else None,
            None,
        )


class _Overlap(torch.autograd.Function):
    @staticmethod
    def forward(one: Tensor, other: Tensor) -> Tensor:
        return _summed(one, other)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:  # noqa: ARG004 - torch's form
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (gradient,) = gradients
        one, other = ctx.saved_tensors
        needs_one, needs_other = ctx.needs_input_grad
        return (
            mix(gradient, other) if needs_one else None,
            mix(gradient.transpose(1, 2), one) if needs_other else None,
        )


def _summed(one: Tensor, other: Tensor) -> Tensor:
    pieces = one.shape[-1] // PIECE if one.device.type == "cuda" else 0
    return _in_pieces_summed(one, other, pieces) if pieces > 1 else torch.bmm(one, other.transpose(1, 2))


def _in_pieces_summed(
    one: Float[Tensor, "B M N"], other: Float[Tensor, "B K N"], pieces: int
) -> Float[Tensor, "B M K"]:
    whole = pieces * PIECE
    sums = [
        # Each sample alone is a view of its pieces; both together would be a copy.
        torch.bmm(_cut(a[:, :whole], pieces), _cut(b[:, :whole], pieces).transpose(1, 2)).sum(0)
        for a, b in zip(one, other, strict=True)
    ]
    result = torch.stack(sums)
    if whole < one.shape[-1]:
        result = result + torch.bmm(one[..., whole:], other[..., whole:].transpose(1, 2))
    return result


def _cut(channels: Float[Tensor, "C N"], pieces: int) -> Float[Tensor, "P C n"]:
    return torch.unflatten(channels, 1, (pieces, -1)).transpose(0, 1)
