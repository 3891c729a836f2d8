"""How far apart two grids lie, checked by hand."""

from dataclasses import dataclass

import numpy as np
import pytest

from mets3d.data.grids import apart_mm, lie_apart, sizes_differ


@dataclass
class Box:
    shape: tuple[int, ...]
    affine: np.ndarray
    spacing_mm: tuple[float, float, float]


def box(*sides: float, moved_mm: float = 0.0, shape: tuple[int, ...] = (11, 21, 31)) -> Box:
    affine = np.diag([*sides, 1.0])
    affine[1, 3] = moved_mm
    return Box(shape, affine, (sides[0], sides[1], sides[2]))


def test_a_shift_is_the_same_everywhere() -> None:
    assert apart_mm(box(1, 1, 1), box(1, 1, 1, moved_mm=0.005)) == pytest.approx(0.005)


def test_another_voxel_size_counts_at_the_far_corner() -> None:
    """Thirty steps of 0.01 mm, although no number of the affine differs by more."""
    assert apart_mm(box(1, 1, 2), box(1, 1, 2.01)) == pytest.approx(0.3)


def test_the_smallest_side_is_the_measure() -> None:
    assert not lie_apart(box(1, 0.5, 3), box(1, 0.5, 3, moved_mm=0.049))
    assert lie_apart(box(1, 0.5, 3), box(1, 0.5, 3, moved_mm=0.051))


def test_a_header_rounded_to_float32_is_the_same_grid() -> None:
    oblique = np.array(
        [[0.83, -0.21, 0.1, -117.43], [0.19, 0.84, 0.07, 96.8], [-0.11, 0.02, 1.49, -61.07], [0, 0, 0, 1]]
    )
    exact = Box((512, 512, 150), oblique, (0.86, 0.87, 1.5))
    rounded = Box((512, 512, 150), oblique.astype(np.float32).astype(np.float64), (0.86, 0.87, 1.5))
    assert 0 < apart_mm(exact, rounded) < 1e-3
    assert not lie_apart(exact, rounded)


def test_sizes_within_a_hundredth_are_one_size() -> None:
    assert not sizes_differ((0.859375, 0.859375, 1.5), (0.86, 0.86, 1.5))
    assert sizes_differ((1.0, 1.0, 1.02), (1.0, 1.0, 1.0))
