"""Nearest numbers: every backend that runs here against all pairs and SciPy, who wins a tie, and bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mets3d.ops import nearest
from mets3d.ops.nearest import nearest_label

BACKENDS = ["numba", "torch"]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The public function on one backend, on the CPU."""
    monkeypatch.setattr(nearest, "backend_for_device", lambda _device: nearest.load_backend(request.param))
    return str(request.param)


def numbered(shape: tuple[int, ...], density: float, seed: int, most: int = 9) -> torch.Tensor:
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.integers(1, most + 1, shape) * (random.random(shape) < density))


def by_all_pairs(numbers: torch.Tensor, spacing: tuple[float, ...]) -> torch.Tensor:
    """The smallest number among the nearest voxels; distances equal to nine digits are the same."""
    if not numbers.any():
        return torch.zeros_like(numbers)
    points = torch.from_numpy(np.argwhere(np.ones(numbers.shape)) * np.array(spacing))
    there = numbers.flatten() > 0
    squares = (points[:, None] - points[there]).square().sum(-1)
    near = squares <= squares.amin(1, keepdim=True) * (1 + 1e-9)
    return torch.where(near, numbers.flatten()[there], 99).amin(1).view(numbers.shape)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    shape=st.tuples(*[st.integers(1, 8)] * 3),
    spacing=st.sampled_from([(1.0, 1.0, 1.0), (0.86, 0.86, 1.5), (3.0, 1.0, 0.43), (0.25, 0.5, 6.0)]),
    density=st.sampled_from([0.0, 0.01, 0.1, 0.6, 1.0]),
)
def test_any_numbers_equal_the_minimum_over_all_pairs(
    seed: int, shape: tuple[int, int, int], spacing: tuple[float, float, float], density: float
) -> None:
    numbers = numbered((2, *shape), density, seed)
    expected = torch.stack([by_all_pairs(volume, spacing) for volume in numbers]).int()
    squares = nearest._whole_squares(np.array([spacing] * 2), shape, nearest.BITS - 4) << 4
    for name in BACKENDS:
        found = nearest.load_backend(name)(numbers.int(), squares, 4)
        assert torch.equal(found, expected), name
    assert torch.equal(nearest_label(numbers, spacing), expected)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 0.7, 0.7)])
def test_the_distance_to_the_number_found_is_that_of_scipy(backend: str, spacing: tuple[float, float, float]) -> None:
    numbers = numbered((31, 17, 23), 0.002, 3, most=200)
    found = nearest_label(numbers, spacing, most=200)
    _, places = ndimage.distance_transform_edt(numbers.numpy() == 0, sampling=spacing, return_indices=True)
    theirs = numbers[tuple(torch.from_numpy(places))]
    own, other = np.empty(numbers.shape), np.empty(numbers.shape)
    for number in np.unique(numbers)[1:]:
        field = ndimage.distance_transform_edt(numbers.numpy() != number, sampling=spacing)
        for which, into in ((found, own), (theirs, other)):
            chosen = which.numpy() == number
            into[chosen] = field[chosen]
    np.testing.assert_allclose(own, other, rtol=1e-12)
    assert (found == theirs).float().mean() > 0.98, "all but ties"


def test_of_two_equally_near_the_smaller_number_wins(backend: str) -> None:
    line = torch.tensor([0, 7, 0, 0, 0, 3, 0, 5]).view(1, 1, 8)
    expected = torch.tensor([7, 7, 7, 3, 3, 3, 3, 5], dtype=torch.int32)
    for axis in range(3):
        assert torch.equal(nearest_label(line.movedim(2, axis)).flatten(), expected)
    # Three, four and no steps against five and no: 0.9 mm is no binary fraction, and the tie is one all the same.
    plane = torch.zeros(1, 11, 6, dtype=torch.int16)
    plane[0, 3, 4], plane[0, 5, 0] = 2, 1
    assert nearest_label(plane, (1.0, 0.9, 0.9))[0, 0, 0] == 1
    plane[0, 3, 4], plane[0, 5, 0] = 1, 2
    assert nearest_label(plane, (1.0, 0.9, 0.9))[0, 0, 0] == 1


def test_items_have_voxels_of_their_own_and_volumes_without_a_number_have_none(backend: str) -> None:
    numbers = torch.zeros(3, 2, 9, 1, 9, dtype=torch.int16)
    numbers[:, 0, 0, 0, 4], numbers[:, 0, 4, 0, 0] = 1, 300
    sizes = [(1.0, 1.0, 1.0), (1.0, 1.0, 9.0), (9.0, 1.0, 1.0)]
    found = nearest_label(numbers, sizes)
    for item, size in enumerate(sizes):
        assert torch.equal(found[item], nearest_label(numbers[item], size))
    assert found[:, 0, 3, 0, 3].tolist() == [1, 1, 300]
    assert not found[:, 1].any()
    assert nearest_label(numbers[:0], [(1, 1, 1)][:0] or (1, 1, 1)).shape == numbers[:0].shape


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"numbers: expected whole numbers, found torch\.float32"):
        nearest_label(torch.zeros(2, 2, 2))
    with pytest.raises(ValueError, match=r"found torch\.bool"):
        nearest_label(torch.zeros(2, 2, 2, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"expected \[..., X, Y, Z\]"):
        nearest_label(torch.zeros(2, 2, dtype=torch.int32))
    with pytest.raises(ValueError, match="spacing_mm: expected three positive numbers"):
        nearest_label(torch.zeros(2, 2, 2, dtype=torch.int32), (1, 0, 1))


@pytest.mark.gpu
def test_a_gpu_equals_the_cpu_without_a_wait() -> None:
    numbers = numbered((2, 2, 40, 24, 33), 0.002, 5).int()
    on_gpu = numbers.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = nearest_label(on_gpu, (0.86, 0.86, 1.5), most=9)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(found.cpu(), nearest_label(numbers, (0.86, 0.86, 1.5), most=9))
