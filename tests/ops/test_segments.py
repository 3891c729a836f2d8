"""Sums over segments against a loop, their gradient, and that order does not matter."""

import pytest
import torch

from mets3d.ops import segments
from mets3d.ops.segments import segment_sizes, segment_sums


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_a_loop(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(3, 500, generator=generator, dtype=dtype) * 2 - 1
    numbers = torch.randint(0, 6, (3, 500), generator=generator, dtype=torch.int16)
    sums, sizes = segment_sums(values, numbers, 8), segment_sizes(numbers, 8)
    assert sums.dtype == dtype
    for row in range(3):
        for number in range(1, 9):
            own = values[row][numbers[row] == number]
            assert sizes[row, number - 1] == len(own)
            torch.testing.assert_close(sums[row, number - 1].double(), own.double().sum(), rtol=1e-6, atol=1e-7)


def test_order_does_not_matter() -> None:
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(1, 4096, generator=generator)
    numbers = torch.randint(0, 3, (1, 4096), generator=generator)
    order = torch.randperm(4096, generator=generator)
    assert torch.equal(segment_sums(values, numbers, 3), segment_sums(values[:, order], numbers[:, order], 3))


def test_gradcheck() -> None:
    generator = torch.Generator().manual_seed(2)
    values = torch.rand(2, 12, generator=generator, dtype=torch.float64).requires_grad_()
    numbers = torch.randint(0, 3, (2, 12), generator=generator)
    assert torch.autograd.gradcheck(lambda given: segment_sums(given, numbers, 4), (values,))


@pytest.mark.gpu
def test_a_gpu_repeats_to_the_last_bit_and_equals_the_cpu() -> None:
    generator = torch.Generator().manual_seed(3)
    values = torch.rand(4, 100_000, generator=generator)
    numbers = torch.randint(0, 5, (4, 100_000), generator=generator)
    found = [segment_sums(values.cuda(), numbers.cuda(), 5) for _ in range(3)]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[0].cpu(), segment_sums(values, numbers, 5))


def test_numbers_beyond_are_refused_on_the_cpu() -> None:
    values = torch.zeros(1, 4)
    for numbers in (torch.tensor([[0, 1, 2, 3]]), torch.tensor([[0, 1, -1, 2]])):
        with pytest.raises(ValueError, match="numbers: expected 0 to 2"):
            segment_sums(values, numbers, 2)
        with pytest.raises(ValueError, match="numbers: expected 0 to 2"):
            segment_sizes(numbers, 2)


def test_torch_gives_the_bits_of_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(4)
    values = (torch.rand(3, 400, generator=generator) * 2 - 1).requires_grad_()
    numbers = torch.randint(0, 6, (3, 400), generator=generator, dtype=torch.int32)
    results = []
    for fast in (True, False):
        if not fast:
            monkeypatch.setattr(segments, "fast_for_device", lambda _device: None)
        sums = segment_sums(values, numbers, 7)
        (gradient,) = torch.autograd.grad((sums * torch.arange(7)).sum(), values)
        results.append((sums.detach(), gradient, segment_sizes(numbers, 7)))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_not_a_number_is_not_lost() -> None:
    sums = segment_sums(torch.tensor([[0.5, float("nan")], [0.5, 0.5]]), torch.tensor([[1, 2], [1, 2]]), 2)
    assert sums.isnan().tolist() == [[True, True], [False, False]]
