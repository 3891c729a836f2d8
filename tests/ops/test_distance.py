"""Distance fields against SciPy, by hand, and between backends."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mets3d.ops import distance_cpu
from mets3d.ops.distance import broadcast_pass, distance_to_other_class, distance_transform

SPACINGS = [(1.0, 1.0, 1.0), (5.0, 0.7, 0.7), (3.0, 1.0, 0.43)]


def random_mask(shape: tuple[int, ...], density: float, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(shape) < density)


def by_scipy(mask: torch.Tensor, spacing: tuple[float, float, float]) -> torch.Tensor:
    volumes = mask.reshape(-1, *mask.shape[-3:]).numpy()
    fields = [ndimage.distance_transform_edt(~volume, sampling=spacing) for volume in volumes]
    return torch.from_numpy(np.stack(fields)).reshape(mask.shape)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("density", [0.001, 0.05, 0.5, 0.999])
def test_equals_scipy(spacing: tuple[float, float, float], density: float) -> None:
    mask = random_mask((2, 3, 17, 23, 9), density)
    mask[..., 0, 0, 0], mask[..., -1, -1, -1] = True, False  # neither empty nor full
    exact = by_scipy(mask, spacing)
    torch.testing.assert_close(distance_transform(mask, spacing).double(), exact, rtol=3e-7, atol=0)
    both = exact + by_scipy(~mask, spacing)
    torch.testing.assert_close(distance_to_other_class(mask, spacing).double(), both, rtol=3e-7, atol=0)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    spacing=st.tuples(*[st.floats(0.2, 6.0)] * 3),
    density=st.floats(0, 1),
    seed=st.integers(0, 2**16),
)
def test_any_mask_equals_the_minimum_over_all_pairs(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], density: float, seed: int
) -> None:
    mask = random_mask(shape, density, seed)
    points = np.argwhere(np.ones(shape)) * np.array(spacing)
    own = mask.numpy().ravel()
    apart = np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1))
    apart[own[:, None] == own[None]] = math.inf
    expected = torch.from_numpy(apart.min(1).reshape(shape))
    torch.testing.assert_close(distance_to_other_class(mask, spacing).double(), expected, rtol=3e-7, atol=0)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_broadcast_form_for_other_devices_agrees_with_the_compiled_one(spacing: tuple[float, float, float]) -> None:
    mask = random_mask((3, 8, 11, 6), 0.1)
    field = torch.full(mask.shape, math.inf)
    for axis, size in zip((-3, -2, -1), spacing, strict=True):
        field = broadcast_pass(field, mask, axis, size)
    torch.testing.assert_close(field.sqrt(), distance_to_other_class(mask, spacing), rtol=3e-7, atol=0)


def test_compiled_passes_are_those_of_their_python_source(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = random_mask((2, 4, 5, 6), 0.2)
    compiled = distance_to_other_class(mask, (1, 2, 3))
    for name in ("_envelope", "_pass", "passes_in_place"):
        monkeypatch.setattr(distance_cpu, name, getattr(distance_cpu, name).py_func)
    assert torch.equal(distance_to_other_class(mask, (1, 2, 3)), compiled)


def test_one_voxel_by_hand() -> None:
    mask = torch.zeros(3, 3, 3, dtype=torch.bool)
    mask[1, 1, 1] = True
    field = distance_transform(mask, (1, 2, 3))
    assert field[1, 1, 1] == 0
    assert field[0, 1, 1] == 1
    assert field[1, 0, 1] == 2
    assert field[0, 0, 0] == pytest.approx(math.sqrt(1 + 4 + 9))
    assert distance_to_other_class(mask, (1, 2, 3))[1, 1, 1] == 1  # its nearest voxel outside


def test_masks_without_a_boundary_are_infinite() -> None:
    empty = torch.zeros(2, 3, 3, dtype=torch.bool)
    assert torch.isposinf(distance_transform(empty)).all()
    assert torch.isposinf(distance_to_other_class(empty)).all()
    assert torch.isposinf(distance_to_other_class(~empty)).all()
    assert (distance_transform(~empty) == 0).all()


def test_scaling_the_spacing_scales_the_distance_and_squares_are_squares() -> None:
    mask = random_mask((2, 6, 7, 8), 0.1)
    field = distance_to_other_class(mask, (1, 2, 0.5))
    torch.testing.assert_close(distance_to_other_class(mask, (4, 8, 2.0)), 4 * field)
    torch.testing.assert_close(distance_to_other_class(mask, (1, 2, 0.5), squared=True), field**2)


@pytest.mark.parametrize("function", [distance_transform, distance_to_other_class])
def test_bad_input_names_the_argument(function: object) -> None:
    mask = torch.zeros(3, 3, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"spacing_mm.*\(1, 0, 1\)"):
        function(mask, (1, 0, 1))  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"spacing_mm.*\(1, 1\)"):
        function(mask, (1, 1))  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"mask.*boolean.*float32"):
        function(mask.float())  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"mask.*\(3, 3\)"):
        function(mask[0])  # type: ignore[operator]


def gpu_mask() -> torch.Tensor:
    return random_mask((2, 3, 16, 20, 12), 0.05)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("spacing", SPACINGS)
def test_gpu_equals_cpu(spacing: tuple[float, float, float]) -> None:
    mask = gpu_mask()
    on_gpu = distance_to_other_class(mask.cuda(), spacing).cpu()
    torch.testing.assert_close(on_gpu, distance_to_other_class(mask, spacing), rtol=3e-7, atol=0)
