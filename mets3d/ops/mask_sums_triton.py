"""Sums over the voxels of mask logits on CUDA, in one launch; the logits themselves are never stored."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from jaxtyping import Bool, Float
from torch import Tensor

from mets3d.ops.triton_kernel import kernel

ROWS, BLOCK = 16, 64  # logits that a program has at a time
PIECE = 8192  # voxels that a program goes through
LEAST = 16  # Triton multiplies no smaller matrices


def mask_sums(
    matrix: Float[Tensor, "B M C"],
    constant: Float[Tensor, "B M"],
    volume: Float[Tensor, "B C N"],
    masks: Bool[Tensor, "B R N"] | Float[Tensor, "B R N"],
) -> Float[Tensor, "B M K"]:
    """Returns the sums of `ops.mask_sums.mask_sums` side by side, K = 2 + 2 R, in fp32."""
    batch, rows, channels = matrix.shape
    regions, n = masks.shape[1:]
    pieces, tiles = triton.cdiv(n, PIECE), triton.cdiv(rows, ROWS)
    truth = masks.contiguous()
    truth = truth.view(torch.uint8) if truth.dtype == torch.bool else truth
    sums = torch.empty(batch, rows, pieces, 2 + 2 * regions, dtype=torch.float32, device=volume.device)
    with torch.cuda.device_of(volume):
        _sums[pieces, tiles, batch](
            *(matrix.contiguous(), constant.contiguous(), volume, *volume.stride(), truth, sums),
            *(rows, channels, regions, n),
            *(max(LEAST, triton.next_power_of_2(channels)), max(LEAST, triton.next_power_of_2(regions))),
            *(ROWS, BLOCK, PIECE),
        )
    return sums.sum(2)


@kernel
def _add(one, other):  # type: ignore[no-untyped-def]
    return one + other


@kernel
def _sums(  # type: ignore[no-untyped-def]
    matrix, constant, volume, of_sample, of_channel, of_voxel, masks, sums, rows, channels, regions, n,
    CHANNELS: tl.constexpr, REGIONS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, PIECE: tl.constexpr,
):  # fmt: skip
    """Adds up softplus, sigmoid, and sigmoid and logit over each mask, of ROWS rows and a piece of the voxels."""
    piece, tile, sample = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    row = tile * ROWS + tl.arange(0, ROWS)
    channel, region = tl.arange(0, CHANNELS), tl.arange(0, REGIONS)
    weights = tl.load(
        matrix + (sample * rows + row[:, None]) * channels + channel[None, :],
        mask=(row[:, None] < rows) & (channel[None, :] < channels),
        other=0.0,
    ).to(tl.float32)
    offset = tl.load(constant + sample * rows + row, mask=row < rows, other=0.0).to(tl.float32)
    volume += sample.to(tl.int64) * of_sample
    masks += sample.to(tl.int64) * regions * n
    softplus = tl.full([ROWS, BLOCK], 0.0, tl.float32)
    inside = tl.full([ROWS, BLOCK], 0.0, tl.float32)
    inside_mask = tl.full([ROWS, REGIONS], 0.0, tl.float32)
    logit_mask = tl.full([ROWS, REGIONS], 0.0, tl.float32)
    for start in range(0, PIECE, BLOCK):
        voxel = piece * PIECE + start + tl.arange(0, BLOCK)
        exists = voxel < n
        values = tl.load(
            volume + channel[:, None].to(tl.int64) * of_channel + voxel[None, :].to(tl.int64) * of_voxel,
            mask=(channel[:, None] < channels) & exists[None, :],
            other=0.0,
        ).to(tl.float32)
        truth = tl.load(
            masks + region[None, :].to(tl.int64) * n + voxel[:, None],
            mask=(region[None, :] < regions) & exists[:, None],
            other=0,
        ).to(tl.float32)
        logit = tl.dot(weights, values, input_precision="ieee") + offset[:, None]
        small = tl.exp(-tl.abs(logit))
        probability = tl.where(logit > 0, 1.0, small) / (1.0 + small)
        softplus += tl.where(exists[None, :], tl.maximum(logit, 0.0) + tl.log(1.0 + small), 0.0)
        inside += tl.where(exists[None, :], probability, 0.0)
        inside_mask += tl.dot(probability, truth, input_precision="ieee")
        logit_mask += tl.dot(logit, truth, input_precision="ieee")
    sums += ((sample * rows + row) * tl.num_programs(0) + piece) * (2 + 2 * regions)
    tl.store(sums, tl.reduce(softplus, 1, _add), mask=row < rows)
    tl.store(sums + 1, tl.reduce(inside, 1, _add), mask=row < rows)
    there = (row[:, None] < rows) & (region[None, :] < regions)
    tl.store(sums[:, None] + 2 + region[None, :], inside_mask, mask=there)
    tl.store(sums[:, None] + 2 + regions + region[None, :], logit_mask, mask=there)
