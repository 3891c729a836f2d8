"""What is read around the centre of a patch, and what of it lies in the case."""

from __future__ import annotations

import pytest
import torch

from mets3d.data.patches import box_around, padded, read_shape


class Wants:
    """Changes that show so many voxels."""

    def __init__(self, *voxels: int):
        x, y, z = voxels
        self.voxels = (x, y, z)

    def read_shape(self, patch: tuple[int, int, int], spacing_mm: tuple[float, float, float]) -> tuple[int, int, int]:
        assert spacing_mm == (1.0, 2.0, 3.0)
        return self.voxels


def read(shape: tuple[int, int, int], origin: tuple[int, int, int], drawn: object) -> tuple[int, int, int]:
    return read_shape(shape, origin, (8, 8, 8), drawn, (1.0, 2.0, 3.0))


def test_as_much_is_read_as_the_movement_shows_and_the_case_has() -> None:
    assert read((40, 40, 40), (16, 16, 16), None) == (8, 8, 8)
    assert read((40, 40, 40), (16, 16, 16), Wants(20, 8, 4)) == (20, 8, 4), "less than the patch where it enlarges"
    # The centre is voxel 6 of 20: 14 voxels lie on its far side, and beyond them there is background.
    assert read((20, 20, 20), (2, 2, 2), Wants(26, 28, 30)) == (26, 28, 28)
    assert read((4, 4, 4), (-3, 0, -4), Wants(20, 20, 6)) == (8, 8, 6), "a case smaller than the patch"


def box(n: int, origin: int, patch: int, size: int) -> tuple[int, int, int]:
    """Along one axis: start and stop of what lies in the case, and how much of the box lies before the case."""
    (x, y, z), (before, *_) = box_around((origin,) * 3, (patch,) * 3, (size,) * 3, (n,) * 3)
    assert x == y == z
    return x.start, x.stop, before


@pytest.mark.parametrize(
    ("n", "origin", "patch", "size", "expected"),
    [
        (40, 10, 8, 8, (10, 18, 0)),
        (40, 10, 8, 14, (7, 21, 0)),
        (40, 10, 8, 4, (12, 16, 0)),
        (40, 1, 8, 14, (0, 12, 2)),
        (20, 10, 8, 20, (4, 20, 0)),
        (10, -54, 64, 44, (0, 0, 44)),  # beyond the case, on either side
        (10, 0, 64, 44, (10, 10, 0)),
    ],
)
def test_the_box_has_the_patchs_centre_and_its_part_in_the_case(
    n: int, origin: int, patch: int, size: int, expected: tuple[int, int, int]
) -> None:
    assert box(n, origin, patch, size) == expected


def test_a_part_is_put_in_its_place_and_zeros_around_it() -> None:
    part = torch.arange(1, 9, dtype=torch.int16).view(1, 2, 2, 2)
    whole = padded(part, (1, 0, 2), (4, 2, 5))
    assert torch.equal(whole[:, 1:3, :, 2:4], part)
    assert whole.sum() == part.sum()
    nothing = padded(part[:, :0], (44, 0, 0), (44, 2, 2))
    assert nothing.shape == (1, 44, 2, 2)
    assert not nothing.any()
