"""Says which voxels of a case a sample reads: its patch, or as many around the patch's centre as its movement shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from mets3d.data.workers import room
from mets3d.ops.voxels import Box, Shape3, Spacing


@runtime_checkable
class ReadsAround(Protocol):
    """Changes of a sample that may show more, or less, of its case than the patch."""

    def read_shape(self, patch: Shape3, spacing_mm: Spacing) -> Shape3:
        """Returns the voxels to read around the patch's centre; each side differs from the patch's by an even number.

        Without a movement these are the patch's.
        """
        ...


def read_shape(shape: Sequence[int], origin: Sequence[int], patch: Shape3, drawn: Any, spacing_mm: Spacing) -> Shape3:
    """Returns how many voxels around the patch's centre are read: those of the movement, and of these no more than the
    case has on the side where the patch lies deeper in it, because beyond it there is background in truth.
    """
    if not isinstance(drawn, ReadsAround):
        return patch
    wanted = drawn.read_shape(patch, spacing_mm)
    whole = [max(2 * start + size, 2 * (n - start) - size) for start, size, n in zip(origin, patch, shape, strict=True)]
    x, y, z = (min(want, max(size, most)) for want, size, most in zip(wanted, patch, whole, strict=True))
    return x, y, z


def box_around(
    origin: Sequence[int], patch: Shape3, size: Shape3, shape: Sequence[int]
) -> tuple[Box, tuple[int, int, int]]:
    """Returns what of the box of a size around the patch's centre lies inside the case, and how much lies before it."""
    starts = [start - (read - own) // 2 for start, own, read in zip(origin, patch, size, strict=True)]
    # The centre of a patch that is larger than the case may lie beyond it, and then what is read may be nothing.
    lows = [min(max(start, 0), n) for start, n in zip(starts, shape, strict=True)]
    highs = [max(low, min(start + read, n)) for low, start, read, n in zip(lows, starts, size, shape, strict=True)]
    x, y, z = (slice(low, high) for low, high in zip(lows, highs, strict=True))
    a, b, c = (max(-start, 0) for start in starts)
    return (x, y, z), (a, b, c)


def padded(part: Tensor, before: Sequence[int], size: Shape3) -> Tensor:
    """Returns a copy of a part in its place in a volume of a size that is 0 elsewhere.

    A part that was read is a view of the file; only the copy reads it.
    """
    whole = room((*part.shape[:-3], *size), part.dtype)
    if part.shape != whole.shape:
        whole.zero_()
    x, y, z = (slice(start, start + n) for start, n in zip(before, part.shape[-3:], strict=True))
    whole[..., x, y, z] = part
    return whole
