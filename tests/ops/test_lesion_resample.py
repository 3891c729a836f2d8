"""Label maps on another grid, lesion by lesion."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mets3d.ops.lesion_resample import resize_lesions
from mets3d.ops.resample import resize, resize_labels

TOUCHING = np.ones((3, 3, 3), dtype=bool)
NESTED = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}


def ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float, sides: tuple[float, ...]):
    axes = np.meshgrid(*[(np.arange(n) + 0.5) * side for n, side in zip(shape, sides, strict=True)], indexing="ij")
    return sum((axis - middle) ** 2 for axis, middle in zip(axes, centre, strict=True)) <= radius**2


def test_by_hand_the_voxels_of_which_it_has_most() -> None:
    labels = np.zeros((6, 2, 2), dtype=np.uint8)
    labels[1:4, 0, 0] = 3  # three half voxels along x, in a quarter of the plane: shares 1/8, 1/4
    found = resize_lesions(labels, (3, 1, 1))
    np.testing.assert_array_equal(found[:, 0, 0], [0, 3, 0])
    assert not resize_labels(labels, (3, 1, 1)).any()  # what fills most of a voxel loses it


def test_volume_is_kept_to_a_voxel_or_a_twentieth() -> None:
    """Of all shapes and places, unless many voxels have exactly the same share as the last one."""
    rng = np.random.default_rng(0)
    sides = (0.86, 0.86, 1.5)
    for radius in (1.0, 1.3, 2.0, 4.0, 8.0):
        labels = np.zeros((29, 31, 17), dtype=np.uint8)
        labels[ball(labels.shape, tuple(rng.uniform(10, 14, 3)), radius, sides)] = 3
        found = resize_lesions(labels, (25, 27, 26))
        volume = np.count_nonzero(labels) * found.size / labels.size
        assert abs(np.count_nonzero(found) - volume) <= max(1, 0.05 * volume)


@pytest.mark.parametrize("shape", [(3, 4, 5), (6, 4, 10), (3, 8, 15)])
def test_whole_parts_repeat_the_voxels(shape: tuple[int, int, int]) -> None:
    labels = np.random.default_rng(1).integers(0, 5, (3, 4, 5)).astype(np.uint8)
    parts = [new // old for old, new in zip(labels.shape, shape, strict=True)]
    found = resize_lesions(labels, shape)
    np.testing.assert_array_equal(found, np.kron(labels, np.ones(parts, dtype=np.uint8)))
    assert (found is labels) == (shape == (3, 4, 5))


shapes = st.tuples(*[st.integers(2, 7)] * 3)


@settings(deadline=None, max_examples=60)
@given(shapes, shapes, st.integers(0, 999), st.sampled_from([0.03, 0.3]))
def test_nothing_is_made_up_and_the_result_is_the_same_again(old, new, seed: int, filled: float) -> None:
    rng = np.random.default_rng(seed)
    labels = (rng.integers(1, 5, old) * (rng.random(old) < filled)).astype(np.uint8)
    found = resize_lesions(labels, new)
    assert found.dtype == np.uint8
    assert found.shape == new
    assert set(np.unique(found)) <= {0, *np.unique(labels), 1, 2}
    np.testing.assert_array_equal(found, resize_lesions(labels.copy(), new))
    for region in NESTED.values():  # a voxel of a region lies where the region reaches
        reach = resize(np.isin(labels, region).astype(np.float32), new) > 0
        grown = ndimage.maximum_filter(reach, 3)
        assert not (np.isin(found, region) & ~grown).any()
    assert not np.isin(labels, [1, 2, 3]).any() or np.isin(found, [1, 2, 3]).any()


def test_seventy_two_lesions_of_one_voxel_are_all_kept_apart() -> None:
    """At 0.5 x 0.5 x 1 mm, stored at 1 mm: a quarter of a voxel each, of which no rule that counts shares keeps any."""
    labels = np.zeros((64, 64, 12), dtype=np.uint8)
    rng = np.random.default_rng(2)
    for x, y, z in itertools.product(range(4, 60, 10), range(4, 60, 10), (3, 8)):
        labels[x + rng.integers(4), y + rng.integers(4), z] = 3
    assert np.count_nonzero(labels) == 72
    found = resize_lesions(labels, (32, 32, 12))
    assert ndimage.label(found == 3, TOUCHING)[1] == 72
    assert not resize_labels(labels, (32, 32, 12)).any()


@pytest.mark.parametrize("gap", [2, 3, 4])
def test_neighbours_stay_apart_where_they_can(gap: int) -> None:
    """Two plates, `gap` fine voxels between them: with two and more of them a coarse voxel can be left free."""
    for start in range(5):
        labels = np.zeros((30, 8, 8), dtype=np.uint8)
        labels[4 + start : 8 + start, 2:6, 2:6] = 3
        labels[8 + start + gap : 12 + start + gap, 2:6, 2:6] = 3
        found = resize_lesions(labels, (15, 4, 4))
        assert ndimage.label(found, TOUCHING)[1] == 2
        assert abs(np.count_nonzero(found) - 2 * 8) <= 8


def test_regions_keep_nesting_and_volume() -> None:
    sides = (0.86, 0.86, 1.5)
    labels = np.zeros((70, 70, 40), dtype=np.uint8)
    labels[ball(labels.shape, (30, 30, 30), 14, sides)] = 2
    labels[ball(labels.shape, (30, 30, 30), 8, sides)] = 3
    labels[ball(labels.shape, (30, 30, 30), 5, sides)] = 1
    labels[ball(labels.shape, (49, 30, 30), 2, sides)] = 4
    found = resize_lesions(labels, (60, 60, 60))
    ratio = found.size / labels.size
    for region in (*NESTED.values(), (4,), (1,), (2,)):
        before, after = np.isin(labels, region), np.isin(found, region)
        assert after.sum() == pytest.approx(before.sum() * ratio, rel=0.06, abs=1)
        assert ndimage.label(after, TOUCHING)[1] == 1
    inner = ndimage.binary_dilation(found == 1, TOUCHING)
    assert set(np.unique(found[inner])) == {1, 3}  # the core is inside the rim as it was


def test_a_lesion_inside_another_is_not_lost_to_it() -> None:
    labels = np.full((8, 8, 8), 2, dtype=np.uint8)
    labels[3, 3, 3], labels[6, 6, 6] = 3, 1
    found = resize_lesions(labels, (4, 4, 4))
    assert (found[1, 1, 1], found[3, 3, 3]) == (3, 1)
    assert np.count_nonzero(found == 2) == 62
    labels[:] = 4  # and a lesion in a cavity
    labels[3, 3, 3] = 3
    assert resize_lesions(labels, (4, 4, 4))[1, 1, 1] == 3


def test_nothing_at_all() -> None:
    assert not resize_lesions(np.zeros((3, 4, 5), dtype=np.uint8), (2, 2, 2)).any()
