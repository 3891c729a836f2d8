"""Top-k cross-entropy: against a sort, nnU-Net's form by torch, finite differences, ties and empty masks."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mets3d.losses.top_k import top_k_loss


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(2, 3, 5, 6, 4, generator=generator, dtype=torch.float64) * 0.98 + 0.01
    g = torch.rand(2, 3, 5, 6, 4, generator=generator) > 0.8
    g[0, 1], g[1, 0] = False, True
    return p, g


@pytest.mark.parametrize(("top", "count"), [(0.1, 12), (0.29, 34), (1, 120), (1e-9, 1)])
def test_equals_the_mean_of_a_sorted_list(top: float, count: int) -> None:
    p, g = scene()
    found = top_k_loss(p, g, top=top)
    for b in range(2):
        for r in range(3):
            pairs = zip(p[b, r].flatten().tolist(), g[b, r].flatten().tolist(), strict=True)
            worst = sorted((-math.log(value if inside else 1 - value) for value, inside in pairs), reverse=True)
            assert found[b, r].item() == pytest.approx(sum(worst[:count]) / count)
            torch.testing.assert_close(found[b, r], top_k_loss(p[b, r][None, None], g[b, r][None, None], top=top)[0, 0])


def test_of_one_volume_it_is_nnu_nets() -> None:
    """Their TopKLoss: the largest k % of the cross-entropies of two classes."""
    p, g = scene()
    logits = torch.stack([torch.zeros_like(p[:1, 0]), p[:1, 0].logit()], 1)
    entropies = F.cross_entropy(logits, g[:1, 0].long(), reduction="none").flatten()
    theirs = torch.topk(entropies, int(entropies.numel() * 10 / 100), sorted=False).values.mean()
    torch.testing.assert_close(top_k_loss(p[:1, :1], g[:1, :1])[0, 0], theirs)


def test_gradcheck_and_half_types_are_raised() -> None:
    p, g = scene()
    assert torch.autograd.gradcheck(lambda values: top_k_loss(values, g, top=0.2), (p.requires_grad_(),))
    low = p.detach().half()
    found = top_k_loss(low, g)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, top_k_loss(low.float(), g))


def test_voxels_that_tie_for_the_last_places_share_their_gradient() -> None:
    p = torch.tensor([0.9, 0.5, 0.5, 0.5, 0.5, 0.1, 0.1, 0.1, 0.1, 0.1], dtype=torch.float64).view(1, 1, 10, 1, 1)
    g = torch.zeros(1, 1, 10, 1, 1, dtype=torch.bool)
    (gradient,) = torch.autograd.grad(top_k_loss(p.requires_grad_(), g, top=0.3).sum(), p)
    # Three places: the worst voxel has one, the four at 0.5 have two.
    expected = torch.tensor([1 / 0.1, *[0.5 / 0.5] * 4, *[0.0] * 5], dtype=torch.float64) / 3
    torch.testing.assert_close(gradient.flatten(), expected)


def test_an_empty_mask_counts_its_most_probable_voxels() -> None:
    g = torch.zeros(1, 1, 10, 1, 1, dtype=torch.bool)
    p = torch.zeros(1, 1, 10, 1, 1)
    p[0, 0, 3] = 0.75
    assert top_k_loss(p, g).item() == pytest.approx(math.log(4))
    p.requires_grad_()
    (gradient,) = torch.autograd.grad(top_k_loss(p, g).sum(), p)
    assert gradient.flatten().nonzero().flatten().tolist() == [3]
    assert top_k_loss(torch.zeros(1, 1, 10, 1, 1), g).item() == 0
    assert top_k_loss(torch.full((1, 1, 10, 1, 1), float("nan")), g).isnan().all()


@pytest.mark.parametrize("top", [0, -0.1, 1.5, float("nan")])
def test_bad_shares_are_refused(top: float) -> None:
    with pytest.raises(ValueError, match="top: expected a share above 0 and up to 1"):
        top_k_loss(*scene(), top=top)
