"""Focal Tversky: against MONAI's Tversky and sums by hand, finite differences, and masks that are empty."""

from __future__ import annotations

import pytest
import torch
from monai.losses import TverskyLoss

from mets3d.losses.focal_tversky import focal_tversky_loss
from mets3d.losses.region import soft_dice_loss


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(2, 3, 5, 6, 4, generator=generator, dtype=torch.float64)
    g = torch.rand(2, 3, 5, 6, 4, generator=generator) > 0.8
    g[0, 1], g[1, 0] = False, True
    return p, g


@pytest.mark.parametrize(("weights", "focus"), [((0.3, 0.7), 4 / 3), ((0.6, 0.4), 1.0), ((1.5, 0.0), 0.5)])
def test_equals_a_loop_over_voxels_and_monais_tversky(weights: tuple[float, float], focus: float) -> None:
    p, g = scene()
    found = focal_tversky_loss(p, g, weights=weights, focus=focus)
    theirs = TverskyLoss(alpha=weights[0], beta=weights[1], smooth_nr=1, smooth_dr=1, reduction="none")(p, g.double())
    torch.testing.assert_close(found, theirs.view(2, 3) ** (1 / focus))
    for b in range(2):
        for r in range(3):
            true = false = missed = 0.0
            for value, inside in zip(p[b, r].flatten().tolist(), g[b, r].flatten().tolist(), strict=True):
                true += value * inside
                false += value * (not inside)
                missed += (1 - value) * inside
            index = (true + 1) / (true + weights[0] * false + weights[1] * missed + 1)
            assert found[b, r].item() == pytest.approx((1 - index) ** (1 / focus))
            alone = focal_tversky_loss(p[b, r][None, None], g[b, r][None, None], weights=weights, focus=focus)
            torch.testing.assert_close(found[b, r], alone[0, 0])


def test_the_published_defaults() -> None:
    """Two voxels found of four, one false: T = (2 + 1) / (2 + 0.3 + 1.4 + 1), and the root with exponent 3/4."""
    g = torch.tensor([1, 1, 1, 1, 0, 0], dtype=torch.bool).view(1, 1, 6, 1, 1)
    p = torch.tensor([1, 1, 0, 0, 1, 0.0], dtype=torch.float64).view(1, 1, 6, 1, 1)
    assert focal_tversky_loss(p, g).item() == pytest.approx((1 - 3 / 4.7) ** 0.75)


def test_with_equal_weights_it_is_soft_dice() -> None:
    p, g = scene()
    found = focal_tversky_loss(p, g, weights=(0.5, 0.5), focus=1, smooth=0.5)
    torch.testing.assert_close(found.mean(), soft_dice_loss(p, g))


def test_gradcheck_and_half_types_are_raised() -> None:
    p, g = scene()
    assert torch.autograd.gradcheck(lambda values: focal_tversky_loss(values, g), (p.requires_grad_(),))
    low = p.detach().bfloat16()
    found = focal_tversky_loss(low, g)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, focal_tversky_loss(low.float(), g))


def test_an_empty_mask_and_no_error_at_all() -> None:
    g = torch.zeros(1, 1, 3, 3, 3, dtype=torch.bool)
    p = torch.full((1, 1, 3, 3, 3), 0.5, dtype=torch.float64, requires_grad=True)
    loss = focal_tversky_loss(p, g)
    assert loss.item() == pytest.approx((0.3 * 13.5 / (0.3 * 13.5 + 1)) ** 0.75)
    (gradient,) = torch.autograd.grad(loss, p)
    assert (gradient > 0).all()
    for mask in (g, ~g):
        right = mask.float().requires_grad_()
        loss = focal_tversky_loss(right, mask)
        assert loss.item() == 0
        (gradient,) = torch.autograd.grad(loss, right)
        assert not gradient.any(), "the slope of a root at 0 has no end"


def test_bad_input_is_refused() -> None:
    p, g = scene()
    for weights in ((-0.1, 1.0), (0.0, 0.0), (float("nan"), 1.0), (float("inf"), 1.0)):
        with pytest.raises(ValueError, match="weights: expected two numbers from 0, not both 0"):
            focal_tversky_loss(p, g, weights=weights)
    with pytest.raises(ValueError, match="focus: expected a number above 0, found 0"):
        focal_tversky_loss(p, g, focus=0)
