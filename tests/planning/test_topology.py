from __future__ import annotations

import itertools

import pytest

from mets3d.planning.topology import smaller, start_patch, topology_of


def test_an_isotropic_brain_by_hand() -> None:
    # 138 172 138 halves to 69 86 69, 35 43 35, 18 22 18, 9 11 9, 5 6 5: five times, and 5 is below 8.
    found = topology_of((1.0, 1.0, 1.0), (138, 172, 138))
    assert found.strides == ((2, 2, 2),) * 5
    assert found.threes
    assert found.patch == (128, 160, 128)  # multiples of 32 nearest to 138, 172, 138
    assert found.bottleneck == (4, 5, 4)


def test_coarse_slices_are_halved_later_and_have_kernels_of_one_until_then() -> None:
    # 5 mm is within a factor 2 of neither 0.5 nor 1 nor 2, only of 4: the finest axes are halved alone three times.
    found = topology_of((0.5, 0.5, 5.0), (256, 256, 24))
    assert found.strides == ((2, 2, 1), (2, 2, 1), (2, 2, 1), (2, 2, 2), (2, 2, 2), (2, 2, 1))
    assert found.kernels == ((3, 3, 1), (3, 3, 1), (3, 3, 1), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
    assert found.patch == (256, 256, 24)
    assert found.bottleneck == (4, 4, 6)


def test_one_axis_alone_needs_twelve_voxels() -> None:
    assert topology_of((1.0, 1.0, 1.0), (16, 8, 8)).strides == ((2, 2, 2),)  # then 8 4 4: the first axis is alone
    assert topology_of((1.0, 1.0, 1.0), (24, 8, 8)).strides == ((2, 2, 2), (2, 1, 1))
    with pytest.raises(ValueError, match="an axis of at least 8 voxels"):
        topology_of((1.0, 1.0, 1.0), (7, 6, 5))


def test_the_start_patch_is_as_long_in_mm_and_no_larger_than_the_brain() -> None:
    assert start_patch((1.0, 1.0, 1.0), (1000, 1000, 1000)) == (256, 256, 256)
    assert start_patch((0.5, 0.5, 4.0), (1000, 1000, 1000)) == (512, 512, 64)
    assert start_patch((1.0, 1.0, 1.0), (137.2, 171.5, 300)) == (138, 172, 256)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.9, 0.9, 5.0), (3.0, 1.0, 1.0), (0.4, 0.8, 1.7)])
@pytest.mark.parametrize("brain", [(138.0, 172.0, 138.0), (220.0, 170.0, 21.0), (40.0, 48.0, 36.0)])
def test_every_patch_is_a_multiple_with_a_bottleneck_and_smaller_ends(
    spacing: tuple[float, float, float], brain: tuple[float, float, float]
) -> None:
    one = topology_of(spacing, start_patch(spacing, brain))
    for _ in range(200):
        assert all(size % step == 0 for size, step in zip(one.patch, one.divisor, strict=True))
        assert max(one.bottleneck) >= 4
        assert len(one.kernels) == len(one.strides) + 1
        following = smaller(spacing, one, brain)
        if following is None:
            break
        assert following.voxels < one.voxels
        one = following
    else:
        raise AssertionError("it never ends")
    assert all(size - step < 32 for size, step in zip(one.patch, one.divisor, strict=True))


def test_the_axis_that_covers_most_shrinks_first() -> None:
    one = topology_of((1.0, 1.0, 1.0), (128, 160, 128))
    patches = []
    for _ in range(3):
        following = smaller((1.0, 1.0, 1.0), one, (130, 200, 200))
        assert following is not None
        one = following
        patches.append(one.patch)
    assert patches[0] == (96, 160, 128)  # 128/130 was the largest share
    assert all(sum(a) > sum(b) for a, b in itertools.pairwise(patches))
