"""Linear resizing with matrices."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mets3d.ops.resample import linear_weights, resize, resize_labels, shape_at

sizes = st.integers(2, 12)


@settings(deadline=None, max_examples=40)
@given(st.tuples(sizes, sizes, sizes), st.tuples(sizes, sizes, sizes), st.integers(0, 99))
def test_resize_equals_torch(old: tuple[int, int, int], new: tuple[int, int, int], seed: int) -> None:
    """torch's antialiased bilinear resize, one pair of axes after the other: the same rule on the same voxel edges."""
    volume = np.random.default_rng(seed).standard_normal(old, dtype=np.float32)
    bilinear = partial(torch.nn.functional.interpolate, mode="bilinear", antialias=True)
    planes = bilinear(torch.from_numpy(volume)[None], size=new[1:])[0]
    whole = bilinear(planes.permute(1, 0, 2)[None].contiguous(), size=(new[0], new[2]))[0].permute(1, 0, 2)
    np.testing.assert_allclose(resize(volume, new), whole.numpy(), atol=2e-5)


def test_by_hand() -> None:
    np.testing.assert_allclose(linear_weights(2, 4) @ [0.0, 8.0], [0, 2, 6, 8])
    np.testing.assert_allclose(linear_weights(4, 2), [[3 / 7, 3 / 7, 1 / 7, 0], [0, 1 / 7, 3 / 7, 3 / 7]], rtol=1e-6)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40))
def test_weights_are_shares(old: int, new: int) -> None:
    weights = linear_weights(old, new)
    assert weights.shape == (new, old)
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)
    assert (weights.sum(0) > 0).all() or new > old  # no voxel is overlooked


def test_nothing_to_do_is_exact() -> None:
    volume = np.random.default_rng(0).standard_normal((3, 4, 5, 6), dtype=np.float32)
    np.testing.assert_array_equal(resize(volume, (4, 5, 6)), volume)
    labels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    np.testing.assert_array_equal(resize_labels(labels, (2, 3, 4)), labels)


def test_a_ramp_stays_a_ramp_away_from_the_border() -> None:
    x = np.arange(20, dtype=np.float32)[:, None, None] * np.ones((1, 2, 2), dtype=np.float32)
    for size in (10, 27, 40):
        expected = (np.arange(size) + 0.5) * 20 / size - 0.5
        inner = (expected > 2) & (expected < 17)
        np.testing.assert_allclose(resize(x, (size, 2, 2))[inner, 0, 0], expected[inner], atol=1e-4)


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
    for size in (20, 40, 50, 60):
        found = np.flatnonzero(resize_labels(labels, (size, 4, 4))[:, 0, 0])
        centres_mm = (found + 0.5) * 30 / size
        assert centres_mm.min() - 12 == pytest.approx(21 - centres_mm.max(), abs=1e-4)
        assert 12 <= centres_mm.min() <= 12 + 30 / size


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
