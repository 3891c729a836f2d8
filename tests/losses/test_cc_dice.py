"""CC-Dice: against a loop over lesions with SciPy's distances, the published example, and finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from mets3d.losses.cc_dice import cc_dice_loss
from mets3d.losses.lesions import checked_inside
from mets3d.losses.region import soft_dice_loss
from mets3d.shapes import Lesions
from tests.losses.test_hausdorff import ball

SPACING = (0.7, 1.1, 2.3)  # no two lesions of a random mask are equally near


def by_loop(p: torch.Tensor, g: torch.Tensor, spacing: tuple[float, ...], inside: str) -> torch.Tensor:
    """The loss of one volume: distances to each lesion by itself, Dice and cross-entropy of its cell alone."""
    lesions, count = ndimage.label(g.numpy(), ndimage.generate_binary_structure(3, 3))
    fields = [ndimage.distance_transform_edt(lesions != n, sampling=spacing) for n in range(1, count + 1)]
    cells = torch.from_numpy(np.argmin(fields, 0)) if count else torch.zeros(g.shape, dtype=torch.long)
    losses = []
    for number in range(max(count, 1)):
        cell = cells == number
        own = p[cell].view(1, 1, -1, 1, 1), g[cell].view(1, 1, -1, 1, 1)
        losses.append(soft_dice_loss(*own))
        if inside == "dice_ce":
            losses[-1] = losses[-1] + F.binary_cross_entropy(own[0], own[1].to(p.dtype))
    return torch.stack(losses).mean()


@pytest.mark.parametrize("inside", ["dice", "dice_ce"])
def test_equals_a_loop_over_lesions_in_value_and_gradient(inside: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(2, 3, 9, 8, 7, generator=generator, dtype=torch.float64).clamp(0.01, 0.99).requires_grad_()
    g = torch.rand(2, 3, 9, 8, 7, generator=generator) > 0.97
    g[0, 1] = False
    g[1, 2] = True
    found = cc_dice_loss(p, g, SPACING, inside=inside)
    expected = torch.stack([by_loop(p[b, r], g[b, r], SPACING, inside) for b in range(2) for r in range(3)])
    torch.testing.assert_close(found.flatten(), expected)
    weights = torch.rand(6, generator=generator, dtype=torch.float64)
    gradients = [torch.autograd.grad((value.flatten() * weights).sum(), p)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_the_published_example() -> None:
    """Sixteen lesions of one size, three of them found: CC-Dice loss 0.8125 (arXiv 2511.17146, figure 1)."""
    g = torch.zeros(1, 1, 40, 40, 10, dtype=torch.bool)
    for x in range(4):
        for y in range(4):
            g[0, 0, 10 * x + 3 : 10 * x + 7, 10 * y + 3 : 10 * y + 7, 3:7] = True
    p = torch.zeros_like(g)
    p[..., :30, :10, :] = g[..., :30, :10, :]
    assert cc_dice_loss(p.double(), g, smooth=1e-9).item() == pytest.approx(0.8125)
    shifted = torch.zeros(1, 1, 64, 64, 64, dtype=torch.bool)
    shifted[..., 20:25, 20:25, 20:25] = True
    moved = shifted.roll((1, 1, 1), (2, 3, 4))
    dice = 1 - cc_dice_loss(moved.float(), shifted, smooth=1e-9).item()
    assert dice == pytest.approx(2 * 64 / 250), "CC-Metrics' own test has this pair of cubes"


def test_a_false_positive_costs_one_lesion_and_a_voxel_between_two_belongs_to_the_first() -> None:
    g = torch.zeros(1, 1, 21, 3, 3, dtype=torch.bool)
    g[..., 2, 1, 1] = g[..., 18, 1, 1] = True
    at = {}
    for x in (9, 10, 11):
        p = g.double()
        p[..., x, 1, 1] = 1
        at[x] = cc_dice_loss(p, g).item()
    half = (1 - (2 + 1) / (1 + 1 + 1 + 1)) / 2
    assert list(at.values()) == pytest.approx([half] * 3)
    p = torch.zeros(1, 1, 21, 3, 3, dtype=torch.float64)
    p[..., 2, 1, 1] = p[..., 10, 1, 1] = 1  # the first is found: the voxel in the middle costs it
    assert cc_dice_loss(p, g).item() == pytest.approx((0.25 + 0.5) / 2)


def test_cells_are_by_mm() -> None:
    g = torch.zeros(1, 1, 11, 11, 1, dtype=torch.bool)
    g[..., 0, 5, 0] = g[..., 5, 0, 0] = True
    p = g.double() * 0.5
    p[..., 4, 6, 0] = 1  # 4 and 1 voxels from the first, 1 and 6 from the second
    p[..., 0, 5, 0] = 1
    near_first = cc_dice_loss(p, g, (1.0, 1.0, 1.0)).item()
    near_second = cc_dice_loss(p, g, (9.0, 1.0, 1.0)).item()
    assert near_first == pytest.approx((0.25 + 1 - 2 / 2.5) / 2)
    assert near_second == pytest.approx((0 + 1 - 2 / 3.5) / 2)


def test_without_a_lesion_false_positives_cost() -> None:
    p = torch.full((1, 2, 3, 3, 3), 0.5, dtype=torch.float64, requires_grad=True)
    g = torch.zeros(1, 2, 3, 3, 3, dtype=torch.bool)
    loss = cc_dice_loss(p, g)
    torch.testing.assert_close(loss, torch.full((1, 2), 1 - 1 / 14.5, dtype=torch.float64))
    loss.sum().backward()
    assert p.grad is not None
    torch.testing.assert_close(p.grad, torch.full_like(p, 1 / 14.5**2))
    with_entropy = cc_dice_loss(p, g, inside="dice_ce")
    torch.testing.assert_close(with_entropy, torch.full_like(loss, 1 - 1 / 14.5 + np.log(2)))
    assert not cc_dice_loss(torch.zeros(1, 1, 3, 3, 3), g[:, :1], inside="dice_ce").any()


@pytest.mark.parametrize("inside", ["dice", "dice_ce"])
def test_gradcheck_and_half_types_are_raised(inside: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    p = torch.rand(2, 2, 4, 3, 4, generator=generator, dtype=torch.float64).clamp(0.02, 0.98).requires_grad_()
    g = torch.rand(2, 2, 4, 3, 4, generator=generator) > 0.85
    g[0, 0] = False
    assert torch.autograd.gradcheck(lambda values: cc_dice_loss(values, g, SPACING, inside=inside), (p,))
    for half in (torch.float16, torch.bfloat16):
        low = p.detach().to(half)
        found = cc_dice_loss(low, g, SPACING, inside=inside)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, cc_dice_loss(low.float(), g, SPACING, inside=inside))


def test_given_lesions_count_where_a_patch_cuts_one_in_two() -> None:
    generator = torch.Generator().manual_seed(2)
    p = torch.rand(1, 1, 9, 6, 6, generator=generator, dtype=torch.float64)
    g = torch.zeros(1, 1, 9, 6, 6, dtype=torch.bool)
    g[..., 0, 0, 0] = g[..., 8, 5, 5] = g[..., 4, 0, 1] = True
    numbers = torch.zeros_like(g, dtype=torch.int16)
    numbers[..., 0, 0, 0] = numbers[..., 8, 5, 5] = 7  # one lesion of the case, in two parts here
    numbers[..., 4, 0, 1] = 2
    found = cc_dice_loss(p, g, lesions=Lesions(numbers, 9))
    middle = ndimage.distance_transform_edt(numbers[0, 0] != 2) <= ndimage.distance_transform_edt(numbers[0, 0] != 7)
    losses = [
        soft_dice_loss(p[..., cell].view(1, 1, -1, 1, 1), g[..., cell].view(1, 1, -1, 1, 1))
        for cell in (torch.from_numpy(middle), torch.from_numpy(~middle))
    ]
    torch.testing.assert_close(found[0, 0], torch.stack(losses).mean())
    components = cc_dice_loss(p, g)
    assert not torch.isclose(found, components).any()
    each = Lesions(g.int() * torch.arange(1, 10)[:, None, None], 9)
    torch.testing.assert_close(cc_dice_loss(p, g, lesions=each), components)


def test_a_batch_has_the_loss_of_each_item_and_label_alone() -> None:
    generator = torch.Generator().manual_seed(3)
    p = torch.rand(2, 3, 6, 5, 7, generator=generator)
    g = torch.rand(2, 3, 6, 5, 7, generator=generator) > 0.95
    sizes = [(1.0, 1.0, 1.0), (0.5, 0.5, 4.0)]
    found = cc_dice_loss(p, g, sizes, inside="dice_ce")
    for b in range(2):
        for r in range(3):
            alone = cc_dice_loss(p[b, r][None, None], g[b, r][None, None], sizes[b], inside="dice_ce")
            assert torch.equal(found[b, r], alone[0, 0])


def test_a_missed_small_lesion_counts_as_much_as_a_large_one() -> None:
    shape = (48, 24, 24)
    large, small = ball(shape, (12, 12, 12), 8)[None, None], ball(shape, (38, 12, 12), 2)[None, None]
    without_small = cc_dice_loss(large.float(), large | small).item()
    without_large = cc_dice_loss(small.float(), large | small).item()
    assert without_small == pytest.approx(without_large, abs=0.02)


def test_bad_input_is_refused() -> None:
    g = torch.zeros(1, 1, 2, 2, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="inside: expected dice or dice_ce, found 'ce'"):
        checked_inside("ce")
    with pytest.raises(ValueError, match="probability: expected values in"):
        cc_dice_loss(g.float() + 2, g)
    with pytest.raises(ValueError, match="spacing_mm: expected three positive numbers"):
        cc_dice_loss(g.float(), g, (1, 1))


@pytest.mark.gpu
def test_with_given_lesions_a_gpu_is_not_waited_for() -> None:
    generator = torch.Generator().manual_seed(4)
    p = torch.rand(2, 2, 20, 16, 12, generator=generator)
    numbers = (torch.rand(2, 2, 20, 16, 12, generator=generator) > 0.99).int() * 3
    numbers[:, :, 10:] //= 3
    leaf, on_gpu = p.cuda().requires_grad_(), Lesions(numbers.cuda(), 3)
    truth = on_gpu.numbers > 0
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss = cc_dice_loss(leaf, truth, inside="dice_ce", lesions=on_gpu)
        loss.sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = cc_dice_loss(p, numbers > 0, inside="dice_ce", lesions=Lesions(numbers, 3))
    torch.testing.assert_close(loss.detach().cpu(), expected)
