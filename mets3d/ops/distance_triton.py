"""Computes squared distances to the other class on CUDA: three Triton launches for all volumes at once.

The first axis is scanned: a program walks its columns up and down and counts voxels since the last change of class. The
other two take a min-plus pass each, brute force over the pairs of a line: at lines of some hundred voxels that beats
the envelope, which is serial and scatters. A pass reads [outer, n, inner] and writes [outer, inner, n], so that both
reads and writes are contiguous, and two of them restore the order of the axes.

Nothing waits for the device, nothing scatters, no volume is padded, and beside the masks there are two fp32 copies of
them, the result included.
"""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl
from jaxtyping import Bool, Float
from torch import Tensor

from mets3d.ops.triton_kernel import kernel

# Lines that a program of the scan takes; rows and columns of the values that a program of a min-plus pass makes.
SCAN_COLUMNS = 128
ROWS, COLUMNS = 32, 64


def squared_field(
    masks: Bool[Tensor, "N X Y Z"], spacing_mm: Float[np.ndarray, "N 3"], absent: Float[np.ndarray, "N"]
) -> Float[Tensor, "N X Y Z"]:
    """Returns mm^2 to the nearest voxel of the other class; `absent` in volumes of one class."""
    volumes, nx, ny, nz = masks.shape
    # A row per plane of the first axis: the squared sides of its voxels, then what holds in a volume of one class.
    rows_of_volumes = np.column_stack([spacing_mm**2, absent]).astype(np.float32)
    table = torch.from_numpy(np.repeat(rows_of_volumes, nx, axis=0)).to(masks.device, non_blocking=True)
    one = torch.empty(masks.shape, dtype=torch.float32, device=masks.device)
    two = torch.empty_like(one)
    # Triton launches on the current device, whatever its arguments are on.
    with torch.cuda.device_of(masks):
        _scan[triton.cdiv(ny * nz, SCAN_COLUMNS), volumes](
            masks.view(torch.uint8), one, table, nx, ny * nz, SCAN_COLUMNS
        )
        for source, out, axis, n, inner in ((one, two, 1, ny, nz), (two, one, 2, nz, ny)):
            rows = min(ROWS, triton.next_power_of_2(n))
            grid = (volumes * nx, triton.cdiv(inner, COLUMNS), triton.cdiv(n, rows))
            _min_plus[grid](source, out, table, n, inner, axis, rows, COLUMNS)
    return one


@kernel
def _scan(masks, field, table, n, inner, COLUMNS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Writes the signed squared distance along the first axis of masks [N, n, inner]; infinite without a change.

    Inside it is negative. A program takes COLUMNS lines of a volume.
    """
    volume = tl.program_id(1)
    column = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    exists = column < inner
    start = volume.to(tl.int64) * n * inner
    masks += start
    field += start
    square = tl.load(table + volume * n * 4)
    steps = tl.full([COLUMNS], float("inf"), tl.float32)
    before = tl.load(masks + column, mask=exists, other=0)
    for j in range(n):
        here = tl.load(masks + j * inner + column, mask=exists, other=0)
        steps = tl.where(here != before, 1.0, steps + 1.0)
        tl.store(field + j * inner + column, steps, mask=exists)
        before = here
    steps = tl.full([COLUMNS], float("inf"), tl.float32)
    # Each thread reads back what it wrote itself; the barrier holds if a compiler ever lays the two loops out apart.
    tl.debug_barrier()
    for back in range(n):
        j = n - 1 - back
        here = tl.load(masks + j * inner + column, mask=exists, other=0)
        steps = tl.where(here != before, 1.0, steps + 1.0)
        nearest = tl.minimum(steps, tl.load(field + j * inner + column, mask=exists, other=0.0))
        signed = tl.where(here != 0, -square, square) * (nearest * nearest)
        tl.store(field + j * inner + column, signed, mask=exists)
        before = here


@kernel
def _min_plus(  # type: ignore[no-untyped-def]
    source, out, table, n, inner, axis: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr
):
    """Makes the pass along n of source [outer, n, inner] into out [outer, inner, n]; that of axis 2 drops the signs.

    A program makes ROWS x COLUMNS values, in registers, from whole lines that stay in the first-level cache.
    """
    outer = tl.program_id(0)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    row = tl.program_id(2) * ROWS + tl.arange(0, ROWS)
    exists = column < inner
    start = outer.to(tl.int64) * n * inner
    source += start
    out += start
    square = tl.load(table + outer * 4 + axis)
    both = (row < n)[:, None] & exists[None, :]
    own = tl.load(source + row[:, None] * inner + column[None, :], mask=both, other=1.0)
    sign = tl.where(own < 0, -1.0, 1.0)
    position = row.to(tl.float32)[:, None]
    nearest = tl.abs(own)
    for j in range(n):
        value = tl.load(source + j * inner + column, mask=exists, other=0.0)[None, :]
        apart = position - j
        # Of the same class: sign x value is the size. Of the other: it is negative, and the maximum is 0.
        nearest = tl.minimum(nearest, tl.maximum(sign * value, 0.0) + apart * apart * square)
    if axis == 2:
        nearest = tl.where(nearest == float("inf"), tl.load(table + outer * 4 + 3), nearest)
    else:
        nearest = sign * nearest
    tl.store(out + column[None, :] * n + row[:, None], nearest, mask=both)
