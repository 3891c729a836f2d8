"""Blob loss: against one soft Dice a lesion with the others cut out, by a loop."""

import pytest
import torch
from scipy import ndimage

from mets3d.losses.blob import blob_loss
from mets3d.losses.region import soft_dice_loss
from mets3d.shapes import Lesions
from tests.losses.test_hausdorff import ball


def test_equals_the_mean_of_the_dice_of_each_lesion() -> None:
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(2, 2, 9, 8, 7, generator=generator, dtype=torch.float64)
    g = torch.rand(2, 2, 9, 8, 7, generator=generator) > 0.95
    g[1, 0] = False
    found = blob_loss(p, g)
    for b in range(2):
        for r in range(2):
            lesions, count = ndimage.label(g[b, r].numpy(), ndimage.generate_binary_structure(3, 3))
            labels = torch.from_numpy(lesions)
            dices = []
            for lesion in range(1, count + 1) if count else [-1]:
                kept = (labels == 0) | (labels == lesion)
                dices.append(soft_dice_loss((p[b, r] * kept)[None, None], (labels == lesion)[None, None]))
            torch.testing.assert_close(found[b, r], torch.stack(dices).mean())


def test_a_small_lesion_counts_as_much_as_a_large_one() -> None:
    shape = (48, 24, 24)
    large, small = ball(shape, (12, 12, 12), 8)[None, None], ball(shape, (38, 12, 12), 2)[None, None]
    without_small = blob_loss(large.float(), large | small).item()
    without_large = blob_loss(small.float(), large | small).item()
    assert without_small == pytest.approx(without_large, abs=0.02)
    assert soft_dice_loss(large.float(), large | small) < 0.02, "what it is there for"


def test_gradcheck() -> None:
    generator = torch.Generator().manual_seed(1)
    p = torch.rand(1, 2, 4, 3, 4, generator=generator, dtype=torch.float64).requires_grad_()
    g = torch.rand(1, 2, 4, 3, 4, generator=generator) > 0.8
    assert g[0, 0].any()
    assert torch.autograd.gradcheck(lambda values: blob_loss(values, g), (p,))
    assert blob_loss(p.detach().bfloat16(), g).dtype == torch.float32


def test_given_lesions_count_where_a_patch_cuts_one_in_two() -> None:
    generator = torch.Generator().manual_seed(2)
    p = torch.rand(1, 1, 6, 6, 6, generator=generator, dtype=torch.float64)
    g = torch.zeros(1, 1, 6, 6, 6, dtype=torch.bool)
    g[..., 0, 0, :2] = g[..., 5, 5, 4:] = g[..., 3, 0, 0] = True
    numbers = torch.zeros_like(g, dtype=torch.int16)
    numbers[..., 0, 0, :2] = numbers[..., 5, 5, 4:] = 7  # one lesion of the case, in two parts here
    numbers[..., 3, 0, 0] = 2
    losses = []
    for number in (2, 7):
        own = numbers == number
        losses.append(soft_dice_loss(p * (own | ~g), own))
    found = blob_loss(p, g, lesions=Lesions(numbers, 9))
    torch.testing.assert_close(found[0, 0], torch.stack(losses).mean())
    alike = blob_loss(p, numbers == 2, lesions=Lesions(numbers * (numbers == 2), 9))
    torch.testing.assert_close(alike, blob_loss(p, numbers == 2))


def test_a_batch_without_a_lesion_has_the_gradient_of_its_false_positives() -> None:
    p = torch.full((1, 2, 3, 3, 3), 0.5, requires_grad=True)
    loss = blob_loss(
        p, torch.zeros(1, 2, 3, 3, 3, dtype=torch.bool), lesions=Lesions(torch.zeros(1, 2, 3, 3, 3).short(), 0)
    )
    loss.sum().backward()
    assert p.grad is not None
    torch.testing.assert_close(p.grad, torch.full_like(p, 1 / (27 * 0.5 + 1) ** 2))


def waves() -> tuple[torch.Tensor, torch.Tensor]:
    """Three items, the second without a lesion."""
    g = torch.zeros(3, 1, 12, 10, 8, dtype=torch.bool)
    g[0, 0, 1:4, 1:4, 1:4] = g[0, 0, 8:10, 6:9, 5:7] = g[0, 0, 6, 2, 6] = True
    g[2, 0, 4:7, 4:7, 3:6] = g[2, 0, 10, 1, 1] = True
    x, y, z = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in g.shape[2:]], indexing="ij")
    phase = torch.arange(3, dtype=torch.float64)[:, None, None, None]
    return (0.5 + 0.45 * torch.sin(0.7 * x + 1.3 * y + 0.4 * z + phase))[:, None], g


def test_parity_is_the_authors_value() -> None:
    """Their `compute_blob_loss_multi`, commit 10cf0e8, with MONAI's DiceLoss and torch's BCELoss on probabilities."""
    p, g = waves()
    dice, entropy = 0.9739175951623732, 1.0109142668447377
    assert blob_loss(p, g, parity="kofler").mean().item() == pytest.approx(dice, rel=1e-12)
    both = blob_loss(p, g, inside="dice_ce", parity="kofler")
    assert both.mean().item() == pytest.approx(dice + entropy, rel=1e-12)
    assert both[1] == 0
    ours = blob_loss(p, g, inside="dice_ce")
    assert ours[1] > 1, "an item without a lesion counts in ours"
    assert not blob_loss(p, torch.zeros_like(g), parity="kofler").any()


def test_cross_entropy_inside_equals_a_loop_in_value_and_gradient() -> None:
    p, g = waves()
    p.requires_grad_()
    found = blob_loss(p, g, inside="dice_ce")
    for b in range(3):
        lesions, count = ndimage.label(g[b, 0].numpy(), ndimage.generate_binary_structure(3, 3))
        labels = torch.from_numpy(lesions)
        each = []
        for lesion in range(1, count + 1) if count else [-1]:
            kept, own = (labels == 0) | (labels == lesion), labels == lesion
            entropy = torch.nn.functional.binary_cross_entropy(p[b, 0] * kept, own.double())
            each.append(soft_dice_loss((p[b, 0] * kept)[None, None], own[None, None]) + entropy)
        expected = torch.stack(each).mean()
        torch.testing.assert_close(found[b, 0], expected)
        gradients = [torch.autograd.grad(value, p, retain_graph=True)[0] for value in (found[b, 0], expected)]
        torch.testing.assert_close(*gradients)
