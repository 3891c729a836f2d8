"""Decides the depth of a network by nnU-Net's rules: which axes are halved at each level, and where kernels are 3.

Isensee et al., Nature Methods 2021, and the planner of its version 2. All axes are X Y Z.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mets3d.ops.voxels import Shape3

EDGE = 4  # voxels of the bottleneck along an axis, at least
WITHIN = 2.0  # times the finest spacing: such an axis is halved along with it
START_VOXELS = 256**3
LEAST = 32  # voxels of a patch along an axis, below which a lesion has no surroundings


@dataclass(frozen=True)
class Topology:
    """A patch that the strides divide, the strides of each level, and the kernel of each stage."""

    patch: Shape3
    strides: tuple[Shape3, ...]
    kernels: tuple[Shape3, ...]

    @property
    def divisor(self) -> Shape3:
        """Returns what the patch is a multiple of along each axis."""
        x, y, z = (math.prod(stride[axis] for stride in self.strides) for axis in range(3))
        return x, y, z

    @property
    def bottleneck(self) -> Shape3:
        """Returns the voxels of the coarsest map."""
        x, y, z = (size // step for size, step in zip(self.patch, self.divisor, strict=True))
        return x, y, z

    @property
    def voxels(self) -> int:
        """Returns the voxels of the patch."""
        return math.prod(self.patch)

    @property
    def threes(self) -> bool:
        """Returns whether every kernel is 3 along every axis."""
        return all(kernel == (3, 3, 3) for kernel in self.kernels)


def start_patch(spacing_mm: Sequence[float], brain: Sequence[float]) -> Shape3:
    """Returns the largest patch to begin with: as long in mm along every axis, 256^3 voxels, clipped to the brain."""
    side = (START_VOXELS * math.prod(spacing_mm)) ** (1 / 3)
    x, y, z = (max(1, min(round(side / mm), math.ceil(size))) for mm, size in zip(spacing_mm, brain, strict=True))
    return x, y, z


def topology_of(spacing_mm: Sequence[float], patch: Sequence[int]) -> Topology:
    """Returns strides and kernels for a patch, and the patch that they divide nearest to it.

    An axis is halved while it has at least 8 voxels and its spacing is within a factor 2 of the finest such axis; one
    axis alone needs 12. A kernel is 1 along an axis until that is within a factor 2 of the finest axis, then 3.
    Raises ValueError for a patch without an axis that can be halved.
    """
    size, spacing = list(patch), list(spacing_mm)
    strides: list[Shape3] = []
    kernels: list[Shape3] = []
    three = [False] * 3
    while True:
        halved = _halved(size, spacing)
        if not halved:
            break
        three = [wide or mm < WITHIN * min(spacing) for wide, mm in zip(three, spacing, strict=True)]
        kernels.append(_triple(3 if wide else 1 for wide in three))
        strides.append(_triple(2 if axis in halved else 1 for axis in range(3)))
        size = [math.ceil(n / step) for n, step in zip(size, strides[-1], strict=True)]
        spacing = [mm * step for mm, step in zip(spacing, strides[-1], strict=True)]
    if not strides:
        raise ValueError(f"patch {tuple(patch)}: expected an axis of at least {2 * EDGE} voxels that can be halved")
    kernels.append((3, 3, 3))
    divisor = [math.prod(stride[axis] for stride in strides) for axis in range(3)]
    nearest = _triple(max(1, math.floor(n / step + 0.5)) * step for n, step in zip(patch, divisor, strict=True))
    return Topology(nearest, tuple(strides), tuple(kernels))


def smaller(spacing_mm: Sequence[float], topology: Topology, brain: Sequence[float]) -> Topology | None:
    """Returns the next smaller patch: the axis that covers most of the brain loses one multiple of its strides.

    None where every axis would have less than 32 voxels.
    """
    shares = {
        axis: topology.patch[axis] / brain[axis]
        for axis in range(3)
        if topology.patch[axis] - topology.divisor[axis] >= LEAST
    }
    for axis in sorted(shares, key=shares.__getitem__, reverse=True):
        patch = list(topology.patch)
        patch[axis] -= topology.divisor[axis]
        if not _halved(patch, spacing_mm):
            continue
        found = topology_of(spacing_mm, patch)
        if found.voxels < topology.voxels:
            return found
    return None


def _halved(size: Sequence[int], spacing_mm: Sequence[float]) -> list[int]:
    large = [axis for axis in range(3) if size[axis] >= 2 * EDGE]
    if not large:
        return []
    finest = min(spacing_mm[axis] for axis in large)
    chosen = [axis for axis in large if spacing_mm[axis] < WITHIN * finest]
    return [] if len(chosen) == 1 and size[chosen[0]] < 3 * EDGE else chosen


def _triple(values: Iterable[int]) -> Shape3:
    x, y, z = values
    return x, y, z
