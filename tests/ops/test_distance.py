"""Distance fields: every backend that runs here against SciPy, by hand, and against all pairs."""

from __future__ import annotations

import math
import subprocess
import sys
import tracemalloc
import warnings
from typing import Any
from unittest import mock

import numpy as np
import psutil
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mets3d import ops
from mets3d.ops import distance
from mets3d.ops.distance import distance_to_other_class, distance_transform
from tests.builders.warm import python

SPACINGS = [(1.0, 1.0, 1.0), (5.0, 0.7, 0.7), (3.0, 1.0, 0.43)]
# Triton's kernels run in its interpreter where there is no GPU: exact, and some ten thousand times slower.
BACKENDS = ["numba", "edt", "torch", "triton"]
SHAPES = {"triton": [(5, 7, 4), (2, 1, 9)]}
LARGER = [(17, 23, 9), (8, 8, 8), (1, 30, 2)]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The public functions on one backend, on the CPU."""
    use(request.param, monkeypatch)
    return str(request.param)


def use(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "triton":
        if torch.cuda.is_available():
            pytest.skip("compiled for the GPU here: test_gpu_equals_cpu")
        monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(distance, "backend_for_device", lambda _device: distance.load_backend(name))


def random_mask(shape: tuple[int, ...], density: float, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(shape) < density)


def by_scipy(mask: torch.Tensor, spacing: tuple[float, float, float]) -> torch.Tensor:
    volumes = mask.reshape(-1, *mask.shape[-3:]).numpy()
    fields = [ndimage.distance_transform_edt(~volume, sampling=spacing) for volume in volumes]
    return torch.from_numpy(np.stack(fields)).reshape(mask.shape)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("density", [0.001, 0.05, 0.5, 0.999])
def test_equals_scipy(backend: str, spacing: tuple[float, float, float], density: float) -> None:
    for shape in SHAPES.get(backend, LARGER):
        mask = random_mask((2, *shape), density)
        mask[..., 0, 0, 0], mask[..., -1, -1, -1] = True, False  # neither empty nor full
        exact = by_scipy(mask, spacing)
        torch.testing.assert_close(distance_transform(mask, spacing).double(), exact, rtol=3e-7, atol=0)
        both = exact + by_scipy(~mask, spacing)
        torch.testing.assert_close(distance_to_other_class(mask, spacing).double(), both, rtol=3e-7, atol=0)


def by_all_pairs(mask: torch.Tensor, spacing: tuple[float, float, float]) -> torch.Tensor:
    points = np.argwhere(np.ones(mask.shape)) * np.array(spacing)
    own = mask.numpy().ravel()
    apart = np.sqrt(((points[:, None] - points[None]) ** 2).sum(-1))
    apart[own[:, None] == own[None]] = math.inf
    return torch.from_numpy(apart.min(1).reshape(mask.shape))


@pytest.mark.parametrize("name", BACKENDS)
def test_any_mask_equals_the_minimum_over_all_pairs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(name, monkeypatch)
    longest, examples = (3, 10) if name == "triton" else (9, 60)

    @settings(max_examples=examples, deadline=None)
    @given(
        shape=st.tuples(*[st.integers(1, longest)] * 3),
        spacing=st.tuples(*[st.floats(0.2, 6.0)] * 3),
        density=st.floats(0, 1),
        seed=st.integers(0, 2**16),
    )
    def check(shape: tuple[int, int, int], spacing: tuple[float, float, float], density: float, seed: int) -> None:
        mask = random_mask(shape, density, seed)
        found = distance_to_other_class(mask, spacing).double()
        torch.testing.assert_close(found, by_all_pairs(mask, spacing), rtol=3e-7, atol=0)

    check()


def test_one_voxel_by_hand(backend: str) -> None:
    mask = torch.zeros(3, 3, 3, dtype=torch.bool)
    mask[1, 1, 1] = True
    field = distance_transform(mask, (1, 2, 3))
    assert field[1, 1, 1] == 0
    assert field[0, 1, 1] == 1
    assert field[1, 0, 1] == 2
    assert field[0, 0, 0] == pytest.approx(math.sqrt(1 + 4 + 9))
    assert distance_to_other_class(mask, (1, 2, 3))[1, 1, 1] == 1  # its nearest voxel outside


def test_masks_of_one_class_have_the_same_answer_in_every_backend(backend: str) -> None:
    empty = torch.zeros(2, 3, 3, dtype=torch.bool)
    assert torch.isposinf(distance_transform(empty)).all()
    assert torch.isposinf(distance_to_other_class(empty)).all()
    assert torch.isposinf(distance_to_other_class(~empty)).all()
    assert (distance_transform(~empty) == 0).all()
    # Beside one with both classes, each with its own constant.
    mixed = torch.stack([empty, ~empty, random_mask((2, 3, 3), 0.5, 1)])
    field = distance_to_other_class(mixed, absent_mm=np.array([7.0, 9.0, 11.0]))
    assert (field[0] == 7).all()
    assert (field[1] == 9).all()
    torch.testing.assert_close(field[2], distance_to_other_class(mixed[2]))
    assert field[2].max() < 7


def test_spacing_of_each_item(backend: str) -> None:
    mask = random_mask((3, 2, 4, 5, 3), 0.3)
    spacings = torch.tensor([[1.0, 2.0, 3.0], [0.5, 0.5, 4.0], [1.0, 1.0, 1.0]])
    together = distance_to_other_class(mask, spacings)
    for item, spacing in enumerate(spacings.tolist()):
        assert torch.equal(together[item], distance_to_other_class(mask[item], spacing))
    assert torch.equal(together, distance_to_other_class(mask, spacings.numpy()))


def test_scaling_the_spacing_scales_the_distance_and_squares_are_squares(backend: str) -> None:
    mask = random_mask((2, 6, 7, 8), 0.1)
    field = distance_to_other_class(mask, (1, 2, 0.5))
    torch.testing.assert_close(distance_to_other_class(mask, (4, 8, 2.0)), 4 * field)
    torch.testing.assert_close(distance_to_other_class(mask, (1, 2, 0.5), squared=True), field**2)
    torch.testing.assert_close(distance_transform(mask, squared=True), distance_transform(mask) ** 2)


def test_views_and_empty_batches(backend: str) -> None:
    mask = random_mask((4, 5, 6), 0.3)
    assert torch.equal(distance_to_other_class(mask.permute(2, 0, 1)), distance_to_other_class(mask).permute(2, 0, 1))
    assert distance_to_other_class(mask[None][:0]).shape == (0, 4, 5, 6)


def test_compiled_passes_are_those_of_their_python_source(monkeypatch: pytest.MonkeyPatch) -> None:
    from mets3d.ops import distance_numba

    mask = random_mask((2, 4, 5, 18), 0.2)
    mask[0, 0] = False
    use("numba", monkeypatch)
    compiled = distance_to_other_class(mask, (1, 2, 3))
    for name in ("_line", "_lines", "_runs", "_volume"):
        monkeypatch.setattr(distance_numba, name, getattr(distance_numba, name).py_func)
    assert torch.equal(distance_to_other_class(mask, (1, 2, 3)), compiled)


@pytest.mark.parametrize("name", ["numba", "edt"])
def test_threads_change_neither_the_field_nor_a_global_setting(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use(name, monkeypatch)
    mask = random_mask((5, 9, 9, 9), 0.2)
    alone = distance_to_other_class(mask)
    before = torch.get_num_threads(), torch.get_num_interop_threads()
    with mock.patch.object(torch, "get_num_threads", return_value=3):
        assert torch.equal(distance_to_other_class(mask), alone)
    assert (torch.get_num_threads(), torch.get_num_interop_threads()) == before


@pytest.mark.parametrize(
    ("missing", "expected"), [([], "numba"), (["numba"], "edt"), (["numba", "edt"], "torch"), (["edt"], "numba")]
)
def test_the_next_backend_serves_where_one_is_missing(
    monkeypatch: pytest.MonkeyPatch, missing: list[str], expected: str
) -> None:
    for name, module in vars(ops).copy().items():
        if module is not distance and sys.modules.get(f"{ops.__name__}.{name}") is module:
            monkeypatch.setattr(ops, name, module)  # both are put back after the test
            monkeypatch.delitem(sys.modules, f"{ops.__name__}.{name}")
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    distance.backend_for_device.cache_clear()
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            assert distance.backend_for_device("cpu").__module__ == f"mets3d.ops.distance_{expected}"
    finally:
        distance.backend_for_device.cache_clear()
    assert ["several times" in str(warning.message) for warning in said] == [True] * (expected == "torch")


def test_where_triton_cannot_build_plain_torch_serves_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> torch.Tensor:
        raise subprocess.CalledProcessError(1, "gcc")

    real = distance.load_backend
    monkeypatch.setattr(distance, "load_backend", lambda name: broken if name == "triton" else real(name))
    monkeypatch.setattr(torch, "zeros", lambda *_shape, **_options: None)  # no device to make them on
    distance.backend_for_device.cache_clear()
    try:
        with pytest.warns(UserWarning, match="Triton does not work here.*gcc"):
            assert distance.backend_for_device("cuda") is real("torch")
    finally:
        distance.backend_for_device.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
def test_triton_kernels_compile_for_gpus_without_one(capability: int) -> None:
    """Triton brings its assembler: the kernels are compiled to machine code, and the inner loop stays in registers."""
    code = f"""
import triton
from triton.compiler import ASTSource
from triton.backends.compiler import GPUTarget
from mets3d.ops import distance_triton as d

def made(kernel, types, constants):
    signature = dict(zip(kernel.arg_names, types.split(), strict=True))
    return triton.compile(ASTSource(kernel, signature, constants), target=GPUTarget("cuda", {capability}, 32)).asm

scan = made(d._scan, "*u8 *fp32 *fp32 i32 i32 constexpr", {{"COLUMNS": d.SCAN_COLUMNS}})
plus = made(d._min_plus, "*fp32 *fp32 *fp32 i32 i32" + " constexpr" * 3,
            {{"axis": 2, "ROWS": d.ROWS, "COLUMNS": d.COLUMNS}})
loop = plus["ttgir"].split("scf.for")[1].split("scf.yield")[0]
print(len(scan["cubin"]) > 0, len(plus["cubin"]) > 0, "convert_layout" in loop, "atom" in scan["ptx"] + plus["ptx"])
"""
    done = python("-c", code)
    assert done.stdout.split() == ["True", "True", "False", "False"], done.stderr


@pytest.mark.slow
def test_memory_is_flat_over_many_calls() -> None:
    mask = random_mask((2, 3, 12, 12, 12), 0.1)
    process = psutil.Process()
    for _ in range(200):
        distance_to_other_class(mask)
    before = process.memory_info().rss
    tracemalloc.start()
    for _ in range(600):
        distance_to_other_class(mask)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 200_000
    assert process.memory_info().rss - before < 15e6, "600 leaked fields would be 25 MB"


BAD_SPACING: list[tuple[Any, str]] = [
    ((1, 0, 1), r"spacing_mm.*\(1, 0, 1\)"),
    ((1, -1, 1), r"spacing_mm.*\(1, -1, 1\)"),
    ((1, 1), r"spacing_mm.*\(1, 1\)"),
    ((1, 1, 1, 1), "spacing_mm.*three"),
    (1.0, r"spacing_mm.*three.*1\.0"),
    (None, "spacing_mm.*three.*None"),
    (("a", 1, 1), "spacing_mm.*three.*'a'"),
    ((1, math.nan, 1), "spacing_mm.*nan"),
    ((1, math.inf, 1), "spacing_mm.*inf"),
    ((1, 1e-30, 1), "spacing_mm.*1e-30"),
    ([(1, 1, 1)] * 2, "spacing_mm.*2 rows"),
]


@pytest.mark.parametrize("function", [distance_transform, distance_to_other_class])
def test_bad_input_names_the_argument(function: Any) -> None:
    mask = torch.zeros(3, 3, 3, dtype=torch.bool)
    for spacing, message in BAD_SPACING:
        with pytest.raises(ValueError, match=message):
            function(mask, spacing)
    with pytest.raises(ValueError, match=r"spacing_mm.*2 rows"):
        function(mask[None].expand(3, -1, -1, -1), [(1, 1, 1)] * 2)
    with pytest.raises(ValueError, match=r"mask.*boolean.*float32"):
        function(mask.float())
    with pytest.raises(ValueError, match=r"mask.*\(3, 3\)"):
        function(mask[0])
    with pytest.raises(ValueError, match="absent_mm: expected lengths from 0, found -1"):
        distance_to_other_class(mask, absent_mm=-1.0)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["triton", "torch"])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("density", [0.001, 0.05, 0.5, 0.999])
def test_gpu_equals_scipy(
    name: str, spacing: tuple[float, float, float], density: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distance, "backend_for_device", lambda _device: distance.load_backend(name))
    for shape in [*LARGER, (70, 33, 129), (600, 5, 3)]:
        mask = random_mask((2, *shape), density)
        mask[..., 0, 0, 0], mask[..., -1, -1, -1] = True, False
        both = by_scipy(mask, spacing) + by_scipy(~mask, spacing)
        found = distance_to_other_class(mask.cuda(), spacing)
        torch.testing.assert_close(found.cpu().double(), both, rtol=3e-7, atol=0)
        assert torch.equal(found, distance_to_other_class(mask.cuda(), spacing)), "not the same bits twice"


@pytest.mark.gpu
def test_gpu_field_neither_waits_nor_takes_more_than_three_copies() -> None:
    mask = random_mask((2, 3, 64, 64, 64), 0.01).cuda()
    distance_to_other_class(mask)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    torch.cuda.set_sync_debug_mode("error")
    try:
        distance_to_other_class(mask)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.cuda.max_memory_allocated() - before <= 3 * 4 * mask.numel()
