"""The voxel size at which a case is stored."""

import pytest

from mets3d.data.spacing import slice_axis, stored_shape, target_spacing
from mets3d.ops.voxels import Spacing

CASES = [
    ((0.86, 0.86, 1.5), (0.86, 0.86, 0.75), 2),
    ((1.17, 1.17, 1.5), (1.17, 1.17, 0.75), 2),
    ((0.75, 0.75, 2.0), (0.75, 0.75, 1.0), 2),
    ((0.5, 0.5, 1.0), (0.5, 0.5, 1.0), 2),
    ((1.0, 1.0, 0.6), (1.0, 1.0, 0.6), 2),
    ((0.49, 0.49, 0.6), (0.49, 0.49, 0.6), 2),
    ((0.47, 0.47, 5.5), (0.47, 0.47, 5.5 / 6), 2),
    ((5.5, 0.47, 0.47), (5.5 / 6, 0.47, 0.47), 0),  # the slice axis first
    ((0.5, 2.5, 0.55), (0.5, 2.5 / 3, 0.55), 1),
    ((1.0, 2.0, 4.0), (1.0, 2.0, 1.0), 2),  # equally similar pairs: the finer one is the plane
    ((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), None),
    ((4.0, 4.0, 4.0), (4.0, 4.0, 4.0), None),
    ((1.2, 1.2, 1.25), (1.2, 1.2, 1.25), None),
    ((0.9375, 0.9375, 1.0004), (0.9375, 0.9375, 1.0004), 2),
]


@pytest.mark.parametrize(("own", "stored", "axis"), CASES)
def test_in_plane_keeps_the_plane_and_divides_thick_slices(own: Spacing, stored: Spacing, axis: int | None) -> None:
    assert slice_axis(own) == axis
    assert target_spacing(own, "in_plane") == pytest.approx(stored)
    shape = (101, 103, 37)
    parts = [round(a / b) for a, b in zip(own, stored, strict=True)]
    assert stored_shape(shape, own, "in_plane") == tuple(n * p for n, p in zip(shape, parts, strict=True))


@pytest.mark.parametrize("own", [case[0] for case in CASES])
def test_a_number_is_for_every_case(own: Spacing) -> None:
    assert target_spacing(own, (1.0, 1.0, 2.0)) == (1.0, 1.0, 2.0)
