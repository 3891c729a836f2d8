"""Resizing with matrices."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mets3d.ops.resample import linear_weights, overlap_weights, resize, resize_labels, shape_at

Size = tuple[int, int, int]
size = st.tuples(*[st.integers(1, 9)] * 3)


def random_volume(shape: Size, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


@settings(deadline=None, max_examples=40)
@given(size, size, st.integers(0, 99))
def test_growing_equals_torch(old: Size, more: Size, seed: int) -> None:
    new = tuple(a + b for a, b in zip(old, more, strict=True))
    volume = random_volume(old, seed)
    expected = torch.nn.functional.interpolate(torch.from_numpy(volume)[None, None], new, mode="trilinear")
    np.testing.assert_allclose(resize(volume, new), expected[0, 0].numpy(), atol=2e-5)


@settings(deadline=None, max_examples=40)
@given(size, size, st.integers(0, 99))
def test_shrinking_is_the_mean_over_the_new_voxel(new: Size, more: Size, seed: int) -> None:
    """By counting: both grids cut into their common fine one."""
    old = tuple(a + b for a, b in zip(new, more, strict=True))
    volume = random_volume(old, seed)
    np.testing.assert_allclose(resize(volume, new), blocks(volume, new).mean((1, 3, 5)), atol=2e-5)


def blocks(volume: np.ndarray, new: Size) -> np.ndarray:
    """[x, old, y, old, z, old]: the pieces of the common fine grid in each new voxel."""
    old = volume.shape
    for axis in range(3):
        volume = volume.repeat(new[axis], axis)
    return volume.reshape(new[0], old[0], new[1], old[1], new[2], old[2])


def test_axes_of_channels_are_kept() -> None:
    volume = np.random.default_rng(0).standard_normal((3, 4, 5, 6), dtype=np.float32)
    np.testing.assert_array_equal(resize(volume, (4, 8, 3))[1], resize(volume[1], (4, 8, 3)))


def test_by_hand() -> None:
    np.testing.assert_allclose(linear_weights(2, 4) @ [0.0, 8.0], [0, 2, 6, 8])
    np.testing.assert_allclose(overlap_weights(3, 2), [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]], rtol=1e-6)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40))
def test_weights_are_shares(old: int, new: int) -> None:
    for weights in (linear_weights(old, new), overlap_weights(old, new)):
        assert weights.shape == (new, old)
        assert (weights >= 0).all()
        np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    assert (overlap_weights(old, new).sum(0) > 0).all()


def test_nothing_to_do_is_exact() -> None:
    volume = np.random.default_rng(0).standard_normal((3, 4, 5, 6), dtype=np.float32)
    np.testing.assert_array_equal(resize(volume, (4, 5, 6)), volume)
    labels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.testing.assert_array_equal(resize_labels(labels, (2, 3, 4)), labels)


def test_a_ramp_stays_a_ramp_away_from_the_border() -> None:
    x = np.arange(20, dtype=np.float32)[:, None, None] * np.ones((1, 2, 2), dtype=np.float32)
    for count in (10, 27, 40):
        expected = (np.arange(count) + 0.5) * 20 / count - 0.5
        inner = (expected > 2) & (expected < 17)
        np.testing.assert_allclose(resize(x, (count, 2, 2))[inner, 0, 0], expected[inner], atol=1e-4)


@settings(deadline=None, max_examples=30)
@given(size, size, st.integers(0, 99))
def test_labels_are_what_fills_most_of_the_voxel(old: Size, new: Size, seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 4, old).astype(np.uint8)
    votes = np.stack([(blocks(labels, new) == label).sum((1, 3, 5)) for label in range(4)])
    np.testing.assert_array_equal(resize_labels(labels, new), votes.argmax(0))


def test_one_voxel_survives_a_finer_grid() -> None:
    labels = np.zeros((5, 5, 5), dtype=np.uint8)
    labels[1:4, 1:4, 1:4], labels[2, 2, 2] = 3, 1
    np.testing.assert_array_equal(resize_labels(labels, (10, 15, 5)), labels.repeat(2, 0).repeat(3, 1))


def test_doubled_labels_halve_to_themselves() -> None:
    labels = np.zeros((6, 6, 6), dtype=np.uint8)
    labels[2:5, 2:5, 2:5] = 3
    labels[1, 1:5, 1:5] = 2
    doubled = np.kron(labels, np.ones((2, 2, 2), dtype=np.uint8))
    np.testing.assert_array_equal(resize_labels(doubled, (6, 6, 6)), labels)
    assert set(np.unique(resize_labels(labels, (9, 11, 5)))) <= {0, 2, 3}


def test_label_boundaries_do_not_move() -> None:
    labels = np.zeros((30, 4, 4), dtype=np.uint8)
    labels[12:21] = 1
    for count in (20, 40, 50, 60):
        found = np.flatnonzero(resize_labels(labels, (count, 4, 4))[:, 0, 0])
        centres_mm = (found + 0.5) * 30 / count
        assert centres_mm.min() - 12 == pytest.approx(21 - centres_mm.max(), abs=1e-4)
        assert 12 <= centres_mm.min() <= 12 + 30 / count


@pytest.mark.parametrize(
    ("shape", "spacing", "target", "expected"),
    [
        ((240, 240, 155), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0), (240, 240, 155)),
        ((256, 224, 26), (0.9, 0.9, 5.5), (1.0, 1.0, 1.0), (230, 202, 143)),
        ((10, 10, 10), (1.0, 1.0, 1.0), (4.0, 100.0, 0.5), (2, 1, 20)),
    ],
)
def test_shape_at(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    target: tuple[float, float, float],
    expected: tuple[int, int, int],
) -> None:
    assert shape_at(shape, spacing, target) == expected
