"""Places the windows over a volume, weighs them, and orders the work."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from mets3d.ops.voxels import Box, Shape3

SIGMA = 1 / 8  # of the patch, as in nnU-Net and MONAI


def window_starts(size: int, patch: int, overlap: float) -> list[int]:
    """Returns the first voxels of the windows along one axis, spread evenly.

    They are the fewest that are at most (1 - overlap) patch apart.

    Raises ValueError if the patch is larger than the axis.
    """
    if size < patch:
        raise ValueError(f"a window of {patch} voxels does not fit an axis of {size}")
    step = max(1, math.floor((1 - overlap) * patch + 1e-6))  # 1 - 0.8 is a little less than 0.2
    gaps = math.ceil((size - patch) / step)
    return [round(index * (size - patch) / gaps) for index in range(gaps + 1)] if gaps else [0]


@dataclass(frozen=True, eq=False)
class Windows:
    """All windows over a volume: every combination of the starts along X, Y and Z, X changing slowest."""

    size: Shape3
    patch: Shape3
    along: tuple[list[int], list[int], list[int]]

    @classmethod
    def over(cls, size: Sequence[int], patch: Sequence[int], overlap: float) -> Windows:
        """Spreads windows over a volume."""
        x, y, z = (window_starts(n, p, overlap) for n, p in zip(size, patch, strict=True))
        return cls(triple(size), triple(patch), (x, y, z))

    def filled(self, image: Tensor) -> dict[Shape3, bool]:
        """Returns by start whether a window holds a value other than 0. Only here the host waits for the device.

        Every eighth voxel suffices for most windows; the others are searched in full.
        """
        views = {start: image[(slice(None), *box_of(start, self.patch))] for start in self.starts}
        found = _any(views, 8)
        return found | _any({start: view for start, view in views.items() if not found[start]}, 1)

    @property
    def starts(self) -> list[Shape3]:
        """The first voxel of every window."""
        return [triple(start) for start in itertools.product(*self.along)]

    def weights(self) -> list[Float64[Tensor, " P"]]:
        """Returns the Gaussian along each axis; a voxel's weight in a window is their product."""
        lines = [torch.arange(length, dtype=torch.float64) - (length - 1) / 2 for length in self.patch]
        return [torch.exp(-0.5 * (line / (SIGMA * len(line))) ** 2) for line in lines]

    def weight_sums(self) -> list[Float64[Tensor, " N"]]:
        """Returns the sums over the windows along each axis.

        The windows are a full grid, so the product of the three is the sum over all.
        """
        sums = [torch.zeros(size, dtype=torch.float64) for size in self.size]
        for line, total, starts in zip(self.weights(), sums, self.along, strict=True):
            for start in starts:
                total[start : start + len(line)] += line
        return sums


# ---------------------------------------------------------------- the order of work


@dataclass(frozen=True)
class Group:
    """Windows that are run one after the other: rows of the volume along X, in one of its mirror images."""

    rows: tuple[int, int]
    flip: tuple[int, ...]  # axes of [X, Y, Z]


class Job(NamedTuple):
    """One window of a group."""

    group: Group
    start: Shape3  # in the group's rows, mirrored
    filled: bool
    last: bool  # of the group


def jobs_in_order(
    windows: Windows, flips: Sequence[tuple[int, ...]], filled: Mapping[Shape3, bool], *, rolling: bool
) -> Iterator[Job]:
    """Yields a job per window and mirror image, in the order in which they are run.

    rolling: the windows of one start along X in all mirror images, then those of the next start; otherwise all windows
    of one mirror image, then those of the next.
    """
    x, y, z = windows.along
    for block in [[start] for start in x] if rolling else [x]:
        rows = (block[0], block[-1] + windows.patch[0])
        size = (rows[1] - rows[0], *windows.size[1:])
        starts = [triple(start) for start in itertools.product(block, y, z)]
        for flip in flips:
            group = Group(rows, flip)
            for start in starts:
                place = [start[0] - rows[0], *start[1:]]
                for axis in flip:
                    place[axis] = size[axis] - windows.patch[axis] - place[axis]
                yield Job(group, triple(place), filled[start], start == starts[-1])


def chunks(jobs: Sequence[Job], size: int) -> Iterator[list[Job]]:
    """Yields the jobs in order as lists, each with at most `size` filled windows: those that need the network."""
    chunk: list[Job] = []
    filled = 0
    for job in jobs:
        chunk.append(job)
        filled += job.filled
        if filled == size:
            yield chunk
            chunk, filled = [], 0
    if chunk:
        yield chunk


# ---------------------------------------------------------------- geometry


def box_of(start: Shape3, patch: Shape3) -> Box:
    """Returns the box of a window."""
    x, y, z = (slice(first, first + length) for first, length in zip(start, patch, strict=True))
    return x, y, z


def triple(values: Sequence[int]) -> Shape3:
    """Returns three numbers as a tuple of three."""
    x, y, z = values
    return x, y, z


def _any(windows: Mapping[Shape3, Tensor], step: int) -> dict[Shape3, bool]:
    """Returns whether each window holds a value other than 0 in every `step`-th voxel."""
    if not windows:
        return {}
    found = torch.stack([window[:, ::step, ::step, ::step].any() for window in windows.values()])
    return dict(zip(windows, found.tolist(), strict=True))
