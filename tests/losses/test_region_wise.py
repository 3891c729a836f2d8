"""The region-wise loss: against the authors' maps by all pairs of voxels, and by hand."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from mets3d.losses.region_wise import region_wise_loss
from tests.losses.test_hausdorff import random_case

Size = tuple[float, float, float]


def authors(p: np.ndarray, g: np.ndarray, size: Size) -> float:
    """Mean of z p, z from all pairs of voxels."""
    at = np.argwhere(np.ones_like(g)).reshape(*g.shape, 3) * np.asarray(size)
    z = np.ones(g.shape)
    if g.any():
        depth = cdist(at[g], at[~g]).min(1) if not g.all() else np.ones(g.sum())
        z[g] = -depth / depth.max()
    return float((z * p).mean())


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 2.0, 3.0)])
def test_parity_mode_is_the_authors_formula(spacing: Size) -> None:
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(2, 3, 5, 6, 4, generator=generator, dtype=torch.float64)
    g = torch.rand(p.shape, generator=generator) < torch.tensor([0.1, 0.5, 0.9])[:, None, None, None]
    g[0, 1], g[1, 2] = False, True
    found = region_wise_loss(p, g, spacing, parity="authors")
    assert found.dtype == torch.float64
    expected = [[authors(p[b, r].numpy(), g[b, r].numpy(), spacing) for r in range(3)] for b in range(2)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    ours = region_wise_loss(p, g, spacing)
    torch.testing.assert_close(ours, found - region_wise_loss(g.double(), g, spacing, parity="authors"))
    twice = region_wise_loss(p, g, [spacing, (1, 1, 1)])
    torch.testing.assert_close(twice[0], ours[0])
    torch.testing.assert_close(twice[1], region_wise_loss(p, g)[1])


def test_labels_of_a_softmax_add_up_to_the_authors_loss() -> None:
    """Their loss is a mean over all channels of a softmax, background included."""
    logits = torch.randn(1, 4, 5, 4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.randint(4, (1, 5, 4, 6), generator=torch.Generator().manual_seed(2))
    one_hot = torch.nn.functional.one_hot(labels, 4).movedim(-1, 1) > 0
    p = logits.softmax(1)
    expected = np.mean([authors(p[0, k].numpy(), one_hot[0, k].numpy(), (1, 1, 1)) for k in range(4)])
    assert region_wise_loss(p, one_hot, parity="authors").mean().item() == pytest.approx(expected, rel=1e-6)


def test_by_hand() -> None:
    g = torch.tensor([True, True, False, False]).reshape(1, 1, 4, 1, 1)
    p = torch.tensor([0.5, 0.5, 0.25, 0.0]).reshape(g.shape)
    # Depths 4 and 2 mm over 4; 1 outside.
    assert region_wise_loss(p, g, (2, 1, 1)).item() == pytest.approx((0.5 * 1 + 0.5 * 0.5 + 0.25) / 4)


def test_bounds_and_the_absent_label() -> None:
    p, g = random_case()
    assert region_wise_loss(g.float(), g).abs().max() == 0
    assert (region_wise_loss((~g).float(), g) <= 1).all()
    assert (region_wise_loss(p, g) > 0).all()
    nothing = torch.zeros(1, 1, 3, 4, 2, dtype=torch.bool)
    quiet = torch.full(nothing.shape, 0.25)
    assert region_wise_loss(quiet, nothing).item() == pytest.approx(0.25)
    assert region_wise_loss(quiet, nothing, absent="skip").item() == 0
    assert region_wise_loss(quiet, ~nothing).item() == pytest.approx(0.75)


def test_gradcheck_and_half_types() -> None:
    generator = torch.Generator().manual_seed(1)
    p = torch.rand(1, 3, 3, 4, 3, generator=generator, dtype=torch.float64).clamp(0.01, 0.99).requires_grad_()
    g = torch.rand(p.shape, generator=generator) > 0.7
    g[0, 1] = False
    for options in ({}, {"absent": "skip"}, {"parity": "authors"}):
        assert torch.autograd.gradcheck(
            lambda x, o=options: region_wise_loss(x, g, (1, 2, 0.5), **o),  # type: ignore[arg-type]
            (p,),
        )
    half, target = random_case()
    found = region_wise_loss(half.bfloat16(), target)
    assert found.dtype == torch.float32
    assert torch.equal(found, region_wise_loss(half.bfloat16().float(), target))
