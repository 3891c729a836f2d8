"""Computes exact Euclidean distance fields of masks in mm, batched over every leading axis, on any device.

The losses need the distance of every voxel to the nearest voxel of the other class: outside the mask to the mask,
inside it to its outside. One field serves both sides (Saito and Toriwaki 1994, for two classes). It holds one signed
number a voxel: the sign is the class, the size is the squared distance found so far, +inf at first. Each axis in turn
updates it:

    new(i) = min over j of [ |f(j)| if j is of the class of i, else 0 ] + w^2 (i - j)^2

f is the field so far; w is the voxel size along this axis.

Two distance transforms, of foreground and of background, would take twice the time and memory.

This file checks arguments and chooses a backend; a backend is a file `distance_NAME` with a function `squared_field`,
and `backend_for_device` says which device uses it. All give the same numbers: `triton` on CUDA, `torch` there without
Triton and on other accelerators; on the CPU `numba`, else `edt`, else `torch`. The tests compare with SciPy.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from mets3d.ops.uncompiled import uncompiled

# Three numbers, or [B, 3] for the B items of the first axis: sequences, an array or a tensor. Any, so that the runtime
# type checker does not reject a wrong spacing before the argument check can explain it.
SpacingLike = Any
SquaredField = Callable[[Tensor, np.ndarray, np.ndarray], Tensor]


@uncompiled
def distance_transform(
    mask: Shaped[Tensor, "..."], spacing_mm: SpacingLike = (1.0, 1.0, 1.0), *, squared: bool = False
) -> Float[Tensor, "..."]:
    """Returns the distance in mm from each voxel centre to the nearest True voxel centre of the same volume.

    mask: bool [..., X, Y, Z]. spacing_mm: three numbers, or [B, 3] for the B items of the mask's first axis; a tensor
    on a GPU is read back, which waits for it.
    The result is float32 [..., X, Y, Z]: 0 on the mask, +inf everywhere in a volume without a True voxel; in mm^2,
    without the root, if `squared`. Its relative error is below 3e-7 (by `edt` 4e-7 with voxels of extreme shape), and
    repeated calls give identical results.
    Raises ValueError for a mask that is not boolean or has fewer than three axes, and for a spacing that is not of
    three positive finite numbers an item.
    """
    return distance_to_other_class(mask, spacing_mm, squared=squared).masked_fill_(mask, 0.0)


@uncompiled
def distance_to_other_class(
    mask: Shaped[Tensor, "..."],
    spacing_mm: SpacingLike = (1.0, 1.0, 1.0),
    *,
    squared: bool = False,
    absent_mm: float | np.ndarray = math.inf,
) -> Float[Tensor, "..."]:
    """Returns the distance in mm from each voxel to the nearest voxel of the other class.

    Outside the mask that is the distance to the mask, inside it the distance to its outside: the sum of the distance
    transforms of the mask and of its complement. It is at least one voxel size. A volume that is all True or all False
    has no other class: there the result is `absent_mm` everywhere (one number, or an array that broadcasts to the
    leading axes).
    Other arguments and errors as `distance_transform`; ValueError too for a negative `absent_mm`.
    """
    spacing = checked_mask_and_spacing(spacing_mm, mask)
    if not np.all(np.asarray(absent_mm) >= 0):
        raise ValueError(f"absent_mm: expected lengths from 0, found {absent_mm}")
    if not mask.numel():
        return torch.empty(mask.shape, dtype=torch.float32, device=mask.device)
    volumes = mask.detach().contiguous().view(-1, *mask.shape[-3:])
    spacing_per_volume = np.repeat(spacing, len(volumes) // len(spacing), axis=0)
    absent = np.broadcast_to(np.square(absent_mm), mask.shape[:-3]).flatten()
    field = backend_for_device(mask.device.type)(volumes, spacing_per_volume, absent).view(mask.shape)
    return field if squared else field.sqrt_()


def checked_mask_and_spacing(spacing_mm: SpacingLike, volumes: Any) -> np.ndarray:
    """Checks a mask and its spacing; returns the spacing as float64 [1, 3], or [B, 3] for volumes [B, ..., X, Y, Z].

    Raises ValueError for any other spacing, and for volumes that are no boolean tensor of three axes or more.
    """
    if not isinstance(volumes, Tensor) or volumes.dtype != torch.bool:
        found = volumes.dtype if isinstance(volumes, Tensor) else type(volumes).__name__
        raise ValueError(f"mask: expected a boolean tensor, found {found}; threshold it first")
    if volumes.ndim < 3:
        raise ValueError(f"mask: expected [..., X, Y, Z], found shape {tuple(volumes.shape)}")
    try:
        values = np.array(spacing_mm.tolist() if isinstance(spacing_mm, Tensor) else spacing_mm, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"spacing_mm: expected three positive numbers, found {spacing_mm!r}") from None
    # Within these bounds the square of a distance is a normal fp32 number.
    if values.shape[-1:] != (3,) or values.ndim > 2 or not ((values > 1e-12) & (values < 1e12)).all():
        raise ValueError(f"spacing_mm: expected three positive numbers (mm), or [B, 3] of them, found {spacing_mm}")
    if values.ndim == 2 and (volumes.ndim == 3 or len(values) != len(volumes)):
        raise ValueError(
            f"spacing_mm: expected [3] or one row for each of the mask's items, found {len(values)} rows for shape "
            f"{tuple(volumes.shape)}"
        )
    return values.reshape(-1, 3)


@cache
def backend_for_device(device: str) -> SquaredField:
    """Returns the first backend for a kind of device that works here, and warns once if that is a slower one."""
    if device == "cpu":
        for name in ("numba", "edt"):
            try:
                return load_backend(name)
            except (ImportError, RuntimeError):  # numba without a folder for its cache is a RuntimeError
                continue
        warnings.warn("neither numba nor edt works here: distances on the CPU take several times longer", stacklevel=4)
    elif device == "cuda":
        try:
            fast = load_backend("triton")
            # Triton builds a launcher with the host's C compiler; without one it fails here and not in a training step.
            fast(torch.zeros(1, 1, 1, 2, dtype=torch.bool, device=device), np.ones((1, 3)), np.ones(1))
            return fast
        except Exception as error:  # a compiler, an assembler, a driver: each fails in a class of its own
            warnings.warn(f"Triton does not work here ({error}): distances take plain torch and longer", stacklevel=4)
    return load_backend("torch")


def load_backend(name: str) -> SquaredField:
    """Returns `squared_field` of `ops.distance_NAME`.

    It takes bool [N, X, Y, Z], float64 spacing [N, 3] and a squared distance [N] for volumes of one class, and returns
    float32 squared distances to the other class. Raises ImportError if a package that it needs is not installed.
    """
    function: SquaredField = import_module(f"mets3d.ops.distance_{name}").squared_field
    return function
