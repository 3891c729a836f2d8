"""Normalises each channel of each sample and applies a leaky ReLU, on CUDA: two launches forward, two backward.

cuDNN's and PyTorch's batch norm, which InstanceNorm runs on, reads and writes a feature map of 64 million numbers at a
tenth of the memory's speed (H100), and the activation reads and writes it once more. Here a row, a channel of a sample,
is cut into pieces: the first launch sums each piece, the second adds the sums of its row up and writes the result.
Sums are in fp32, about the row's first value, which keeps the variance of a channel far from zero exact.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

from mets3d.ops.triton_kernel import kernel

PIECE = 32768  # numbers summed by a program
BLOCK = 4096  # numbers read at a time, and written by a program
WARPS = 8


class NormLeaky(torch.autograd.Function):
    """leaky(weight (x - mean) / sqrt(var + eps) + bias) of each row; x [B, C, ...] contiguous, weight and bias [C]."""

    @staticmethod
    def forward(
        ctx: Any, x: Float[Tensor, "B C ..."], weight: Tensor, bias: Tensor, eps: float, slope: float
    ) -> Float[Tensor, "B C ..."]:
        rows, n, pieces = _rows(x)
        sums = torch.empty(rows, pieces, 2, dtype=torch.float32, device=x.device)
        moments = torch.empty(rows, 2, dtype=torch.float32, device=x.device)
        result = torch.empty_like(x)
        with torch.cuda.device_of(x):
            _sum[pieces, rows](x, sums, n, PIECE, BLOCK, num_warps=WARPS)
            _write[triton.cdiv(n, BLOCK), rows](
                *(x, sums, weight, bias, moments, result, n, pieces, x.shape[1], eps, slope),
                triton.next_power_of_2(pieces),
                BLOCK,
                num_warps=WARPS,
            )
        ctx.save_for_backward(x, weight, bias, moments)
        ctx.slope = slope
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, weight, bias, moments = ctx.saved_tensors
        gradient = gradient.contiguous()
        rows, n, pieces = _rows(x)
        sums = torch.empty(rows, pieces, 2, dtype=torch.float32, device=x.device)
        of_rows = torch.empty(rows, 2, dtype=torch.float32, device=x.device)
        result = torch.empty_like(x)
        given = (x, gradient, moments, weight, bias, sums)
        with torch.cuda.device_of(x):
            _sum_back[pieces, rows](*given, n, x.shape[1], ctx.slope, PIECE, BLOCK, num_warps=WARPS)
            _write_back[triton.cdiv(n, BLOCK), rows](
                *(*given, of_rows, result, n, pieces, x.shape[1], ctx.slope),
                triton.next_power_of_2(pieces),
                BLOCK,
                num_warps=WARPS,
            )
        of_bias, of_weight = of_rows.view(*x.shape[:2], 2).sum(0).unbind(-1)
        return result, of_weight.to(weight.dtype), of_bias.to(bias.dtype), None, None


def _rows(x: Tensor) -> tuple[int, int, int]:
    """Returns the number of rows, the numbers in one, and the pieces that it is cut into."""
    rows = x.shape[0] * x.shape[1]
    n = x.numel() // rows
    return rows, n, triton.cdiv(n, PIECE)


@kernel
def _add(one, other):  # type: ignore[no-untyped-def]
    return one + other


@kernel
def _sum(x, sums, n, PIECE: tl.constexpr, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Writes the sum and the sum of squares of a piece of a row, both about the row's first value."""
    piece, row = tl.program_id(0), tl.program_id(1)
    x += row.to(tl.int64) * n
    first = tl.load(x).to(tl.float32)
    total = tl.full([BLOCK], 0.0, tl.float32)
    squares = tl.full([BLOCK], 0.0, tl.float32)
    for start in range(0, PIECE, BLOCK):
        place = piece * PIECE + start + tl.arange(0, BLOCK)
        exists = place < n
        value = tl.where(exists, tl.load(x + place, mask=exists, other=0.0).to(tl.float32) - first, 0.0)
        total += value
        squares += value * value
    sums += (row * tl.num_programs(0) + piece) * 2
    tl.store(sums, tl.reduce(total, 0, _add))
    tl.store(sums + 1, tl.reduce(squares, 0, _add))


@kernel
def _write(  # type: ignore[no-untyped-def]
    x, sums, weight, bias, moments, result, n, pieces, channels, eps, slope, PIECES: tl.constexpr, BLOCK: tl.constexpr
):
    """Writes a block of the result; the first program of a row also writes mean and 1 / standard deviation."""
    block, row = tl.program_id(0), tl.program_id(1)
    x += row.to(tl.int64) * n
    result += row.to(tl.int64) * n
    each = tl.arange(0, PIECES)
    total = tl.reduce(tl.load(sums + (row * pieces + each) * 2, mask=each < pieces, other=0.0), 0, _add)
    squares = tl.reduce(tl.load(sums + (row * pieces + each) * 2 + 1, mask=each < pieces, other=0.0), 0, _add)
    from_first = total / n
    variance = tl.maximum(squares / n - from_first * from_first, 0.0)
    mean = tl.load(x).to(tl.float32) + from_first
    inverse = 1.0 / tl.sqrt(variance + eps)
    tl.store(moments + row * 2, mean, mask=block == 0)
    tl.store(moments + row * 2 + 1, inverse, mask=block == 0)
    scale = tl.load(weight + row % channels).to(tl.float32) * inverse
    place = block * BLOCK + tl.arange(0, BLOCK)
    exists = place < n
    value = tl.load(x + place, mask=exists, other=0.0).to(tl.float32)
    value = (value - mean) * scale + tl.load(bias + row % channels).to(tl.float32)
    value = tl.where(value > 0, value, value * slope)
    tl.store(result + place, value.to(result.dtype.element_ty), mask=exists)


@kernel
def _sum_back(  # type: ignore[no-untyped-def]
    x, gradient, moments, weight, bias, sums, n, channels, slope, PIECE: tl.constexpr, BLOCK: tl.constexpr
):
    """Writes for a piece of a row the sum of the gradient behind the norm, and that of its product with the norm."""
    piece, row = tl.program_id(0), tl.program_id(1)
    x += row.to(tl.int64) * n
    gradient += row.to(tl.int64) * n
    mean, inverse = tl.load(moments + row * 2), tl.load(moments + row * 2 + 1)
    factor = tl.load(weight + row % channels).to(tl.float32)
    offset = tl.load(bias + row % channels).to(tl.float32)
    total = tl.full([BLOCK], 0.0, tl.float32)
    product = tl.full([BLOCK], 0.0, tl.float32)
    for start in range(0, PIECE, BLOCK):
        place = piece * PIECE + start + tl.arange(0, BLOCK)
        exists = place < n
        normed = (tl.load(x + place, mask=exists, other=0.0).to(tl.float32) - mean) * inverse
        behind = tl.load(gradient + place, mask=exists, other=0.0).to(tl.float32)
        behind = tl.where(normed * factor + offset > 0, behind, behind * slope)
        total += behind
        product += behind * normed
    sums += (row * tl.num_programs(0) + piece) * 2
    tl.store(sums, tl.reduce(total, 0, _add))
    tl.store(sums + 1, tl.reduce(product, 0, _add))


@kernel
def _write_back(  # type: ignore[no-untyped-def]
    x, gradient, moments, weight, bias, sums, of_rows, result, n, pieces, channels, slope,
    PIECES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Writes a block of the gradient of x; the first program of a row also writes the sums of the row."""
    block, row = tl.program_id(0), tl.program_id(1)
    x += row.to(tl.int64) * n
    gradient += row.to(tl.int64) * n
    result += row.to(tl.int64) * n
    each = tl.arange(0, PIECES)
    total = tl.reduce(tl.load(sums + (row * pieces + each) * 2, mask=each < pieces, other=0.0), 0, _add)
    product = tl.reduce(tl.load(sums + (row * pieces + each) * 2 + 1, mask=each < pieces, other=0.0), 0, _add)
    tl.store(of_rows + row * 2, total, mask=block == 0)
    tl.store(of_rows + row * 2 + 1, product, mask=block == 0)
    mean, inverse = tl.load(moments + row * 2), tl.load(moments + row * 2 + 1)
    factor = tl.load(weight + row % channels).to(tl.float32)
    offset = tl.load(bias + row % channels).to(tl.float32)
    place = block * BLOCK + tl.arange(0, BLOCK)
    exists = place < n
    normed = (tl.load(x + place, mask=exists, other=0.0).to(tl.float32) - mean) * inverse
    behind = tl.load(gradient + place, mask=exists, other=0.0).to(tl.float32)
    behind = tl.where(normed * factor + offset > 0, behind, behind * slope)
    value = factor * inverse * (behind - total / n - normed * (product / n))
    tl.store(result + place, value.to(result.dtype.element_ty), mask=exists)
