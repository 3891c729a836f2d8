"""Cross-entropy from probabilities: against torch's own, its bounded slope, and sums over segments by a loop."""

import math

import pytest
import torch
import torch.nn.functional as F

from mets3d.ops import cross_entropy
from mets3d.ops.cross_entropy import LARGEST, segment_entropies, voxel_cross_entropy


def scene() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(3, 90, generator=generator, dtype=torch.float64).clamp(0.002, 0.998)
    truth = torch.rand(3, 90, generator=generator) > 0.5
    return p, truth, torch.randint(0, 4, (3, 90), generator=generator, dtype=torch.int32)


def test_equals_torchs_where_no_bound_is_reached() -> None:
    p, truth, _ = scene()
    theirs = F.binary_cross_entropy(p, truth.double(), reduction="none")
    torch.testing.assert_close(voxel_cross_entropy(p, truth), theirs)
    assert torch.autograd.gradcheck(lambda values: voxel_cross_entropy(values, truth), (p.requires_grad_(),))


def test_goes_on_as_its_tangent_below_the_least_probability() -> None:
    p = torch.tensor([1e-6, 0.0, 0.999, 1.0], dtype=torch.float64, requires_grad=True)
    truth = torch.tensor([True, True, False, False])
    values = voxel_cross_entropy(p, truth)
    expected = [-math.log(1e-6), 1 - math.log(1e-6), -math.log(1e-3), 1 - math.log(1e-3)]
    torch.testing.assert_close(values, torch.tensor(expected, dtype=torch.float64))
    assert values.max() < LARGEST
    (gradient,) = torch.autograd.grad(values.sum(), p)
    torch.testing.assert_close(gradient, torch.tensor([-1e6, -1e6, 1e3, 1e3], dtype=torch.float64))
    single = voxel_cross_entropy(torch.tensor([0.0, 1.0]), torch.tensor([True, False]))
    assert torch.isfinite(single).all()


@pytest.mark.parametrize("fast", [True, False])
def test_sums_over_segments_equal_a_loop(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not fast:
        monkeypatch.setattr(cross_entropy, "fast_for_device", lambda _device: None)
    p, truth, numbers = scene()
    p[0, :2], truth[0, :2], numbers[0, :2] = torch.tensor([1e-9, 1.0]), torch.tensor([True, False]), 1
    p.requires_grad_()
    sums, entropies = segment_entropies(p, truth, numbers, 5)
    each = voxel_cross_entropy(p, truth)
    weights = torch.arange(10.0, dtype=torch.float64)
    expected = torch.zeros((), dtype=torch.float64)
    for row in range(3):
        for number in range(1, 6):
            own = numbers[row] == number
            torch.testing.assert_close(sums[row, number - 1], p[row][own].sum())
            torch.testing.assert_close(entropies[row, number - 1], each[row][own].sum())
            expected = expected + weights[number] * p[row][own].sum() + weights[number + 4] * each[row][own].sum()
    total = (sums * weights[1:6] + entropies * weights[5:]).sum()
    gradients = [torch.autograd.grad(value, p, retain_graph=True)[0] for value in (total, expected)]
    torch.testing.assert_close(*gradients)


def test_not_a_number_reaches_the_sum() -> None:
    p, truth = torch.tensor([[0.5, math.nan, 0.5]]), torch.tensor([[True, False, True]])
    numbers = torch.tensor([[1, 1, 2]])
    sums, entropies = segment_entropies(p, truth, numbers, 2)
    assert sums.isnan().tolist() == entropies.isnan().tolist() == [[True, False]]
