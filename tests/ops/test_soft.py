"""Soft morphology beyond the values, which tests/losses/test_hausdorff.py compares."""

import numpy as np
import pytest
import torch

from mets3d.ops.soft import ball_means, soft_erosion


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_gradient_of_a_mean_over_a_ball_does_not_hang_on_rounding(dtype: torch.dtype) -> None:
    """Of ones every mean is 1 up to rounding. A voxel has a share of 1 in the means around it, in any batch."""
    values = torch.ones(3, 1, 12, 11, 10, dtype=dtype, requires_grad=True)
    (means,) = ball_means(values, np.ones((1, 3)), [2.0])
    assert means.max() <= 1
    means.sum().backward()
    assert values.grad is not None
    inside = values.grad[:, :, 2:-2, 2:-2, 2:-2]
    torch.testing.assert_close(inside, torch.ones_like(inside))


def thick_error(amount: float) -> torch.Tensor:
    """A square |p - g|^2 of one thick error, and of a thinner one half as strong."""
    error = torch.zeros(1, 1, 9, 10, 11, dtype=torch.float64)
    error[..., 1:6, 1:6, 1:6] = amount**2
    error[..., 7:, 7:, 7:] = (amount / 2) ** 2
    return error


@pytest.mark.parametrize("amount", [0.05, 0.4, 0.7])
def test_weak_errors_are_lost_by_fixed_and_counted_by_peak(amount: float) -> None:
    for rescale, found in (("fixed", False), ("peak", True)):
        error = thick_error(amount).requires_grad_()
        eroded = soft_erosion(error, rescale)  # type: ignore[arg-type]
        (gradient,) = torch.autograd.grad(eroded.sum(), error)
        assert (eroded.max() > 0) == found
        assert (gradient[error > 0] != 0).any() == found
    # As a share of the largest square, whatever that is.
    whole = soft_erosion(thick_error(1.0), "fixed")
    torch.testing.assert_close(soft_erosion(thick_error(amount), "peak"), amount**2 * whole)
    twice = soft_erosion(soft_erosion(thick_error(1.0), "fixed"), "fixed")
    found_twice = soft_erosion(soft_erosion(thick_error(amount), "peak"), "peak")
    torch.testing.assert_close(found_twice / found_twice.max(), twice / twice.max())
    assert found_twice.max() <= amount**2 * (1 + 1e-12)


@pytest.mark.parametrize("scale", [1.0, 0.6, 0.2])
@pytest.mark.parametrize("shape", [(2, 2, 4, 3, 5), (1, 1, 2, 2, 2), (1, 2, 1, 1, 4)])
def test_gradient_of_peak_erosion_equals_finite_differences(scale: float, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(2)
    values = (0.8 + 0.2 * torch.rand(shape, generator=generator, dtype=torch.float64)) * scale
    values[0, 0] *= torch.rand(shape[2:], generator=generator)
    values.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: soft_erosion(x, "peak"), (values,))
    assert torch.autograd.gradcheck(lambda x: soft_erosion(soft_erosion(x, "peak"), "peak"), (values,))


def test_peak_erosion_is_of_each_volume_alone_and_zeros_stay_zeros() -> None:
    generator = torch.Generator().manual_seed(3)
    values = torch.rand(2, 3, 6, 5, 4, generator=generator) * torch.tensor([1.0, 0.3, 0.0])[:, None, None, None]
    values[1] = 0.9 + 0.1 * values[1]  # no voxel without an error
    values.requires_grad_()
    whole = soft_erosion(values, "peak")
    (gradient,) = torch.autograd.grad(whole.square().sum(), values)
    assert gradient.isfinite().all()
    assert (whole[0, 2] == 0).all()
    assert (gradient[0, 2] == 0).all()
    for b, r in np.ndindex(2, 3):
        alone = values[b : b + 1, r : r + 1].detach().requires_grad_()
        eroded = soft_erosion(alone, "peak")
        torch.testing.assert_close(eroded[0, 0], whole[b, r], rtol=0, atol=0)
        (of_alone,) = torch.autograd.grad(eroded.square().sum(), alone)
        torch.testing.assert_close(of_alone[0, 0], gradient[b, r], rtol=1e-5, atol=1e-6)


def test_equal_largest_values_share_the_gradient_that_moves_them_together() -> None:
    error = torch.zeros(1, 1, 5, 5, 5, dtype=torch.float64)
    error[..., 1:4, 1:4, 1:4] = 0.2
    error.requires_grad_()
    (gradient,) = torch.autograd.grad(soft_erosion(error, "peak").sum(), error)
    along = torch.zeros_like(error)
    along[..., 1:4, 1:4, 1:4] = 1.0
    step = 1e-6
    values = [soft_erosion(error.detach() + sign * step * along, "peak").sum() for sign in (1, -1)]
    assert (gradient * along).sum().item() == pytest.approx(((values[0] - values[1]) / (2 * step)).item(), rel=1e-7)
