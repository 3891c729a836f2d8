"""Soft morphology beyond the values, which tests/losses/test_hausdorff.py compares."""

import numpy as np
import pytest
import torch

from mets3d.ops.soft import ball_means


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
