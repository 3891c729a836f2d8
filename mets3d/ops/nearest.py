"""Finds the nearest numbered voxel of every voxel: the Voronoi cells of lesions, exact, batched, on any device.

A voxel's key is the squared distance to the nearest numbered voxel found so far, times a power of two, plus that
voxel's number. Each axis in turn lowers it:

    new(i) = min over j of key(j) + Q (i - j)^2

Q is the squared voxel size along the axis, times the same power. All are whole numbers of 64 bits: two distances that
are equal are equal on every device, and the smaller number wins. Squared sizes are rounded to fit, in a volume of 128^3
with up to 1,000 numbers to 2^-34 of the largest; a header's single precision is coarser.

This file checks arguments and chooses a backend, a file `nearest_NAME` with a function `nearest`: `numba` on the CPU,
where it works, else `torch`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from mets3d.ops.distance import SpacingLike, checked_mask_and_spacing
from mets3d.ops.uncompiled import uncompiled

BITS = 61  # of a key, so that two keys, or one and the key of "none" below, can be added
NONE = 1 << BITS  # the key where no number was found
# Numbers [N, X, Y, Z], Q of each volume and axis [N, 3], and the bits of a key that hold its number.
Nearest = Callable[[Tensor, np.ndarray, int], Tensor]


@uncompiled
def nearest_label(
    numbers: Shaped[Tensor, "..."], spacing_mm: SpacingLike = (1.0, 1.0, 1.0), *, most: int | None = None
) -> Shaped[Tensor, "..."]:
    """Returns the number of the numbered voxel that is nearest to each voxel of the same volume, by mm between centres.

    numbers: whole, [..., X, Y, Z]; 0 is no number. spacing_mm: three numbers, or [B, 3] for the B items of the first
    axis. most: the largest number or one above it; None: it is looked up, for which the host waits for a GPU.
    The result is int32 [..., X, Y, Z]: of two numbers equally near the smaller one, and 0 in a volume without any.
    Raises ValueError for other types, fewer than three axes and a bad spacing.
    """
    if numbers.dtype not in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
        raise ValueError(f"numbers: expected whole numbers, found {numbers.dtype}")
    spacing = checked_mask_and_spacing(spacing_mm, torch.empty(numbers.shape, dtype=torch.bool, device="meta"))
    if not numbers.numel():
        return torch.empty(numbers.shape, dtype=torch.int32, device=numbers.device)
    if most is None or numbers.device.type == "cpu":  # there a look costs no wait
        most = max(most or 0, int(numbers.max()))
    volumes = numbers.detach().to(torch.int32).contiguous().view(-1, *numbers.shape[-3:])
    label_bits = max(most, 1).bit_length()
    squares = _whole_squares(spacing, volumes.shape[1:], BITS - label_bits) << label_bits
    per_volume = np.repeat(squares, len(volumes) // len(squares), axis=0)
    return backend_for_device(numbers.device.type)(volumes, per_volume, label_bits).view(numbers.shape)


def _whole_squares(spacing: Float[np.ndarray, "N 3"], shape: Sequence[int], bits: int) -> Int64[np.ndarray, "N 3"]:
    """Returns squared sizes as whole numbers, as fine as the squared diagonal of a volume leaves room for."""
    reach = np.maximum(np.asarray(shape) - 1, 1.0) ** 2
    # A bit is left for what rounding adds.
    scale = 2.0 ** np.floor(bits - 1 - np.log2((spacing**2 * reach).sum(1, keepdims=True)))
    squares: Int64[np.ndarray, "N 3"] = np.maximum(np.rint(spacing**2 * scale), 1).astype(np.int64)
    return squares


@cache
def backend_for_device(device: str) -> Nearest:
    """Returns the first backend for a kind of device that works here."""
    if device == "cpu":
        try:
            return load_backend("numba")
        except (ImportError, RuntimeError):  # numba without a folder for its cache is a RuntimeError
            pass
    return load_backend("torch")


def load_backend(name: str) -> Nearest:
    """Returns `nearest` of `ops.nearest_NAME`. Raises ImportError if a package that it needs is not installed."""
    function: Nearest = import_module(f"mets3d.ops.nearest_{name}").nearest
    return function
