"""The generalised surface loss: against the authors' formula by all pairs of voxels, and by hand."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from mets3d.losses.generalized_surface import generalized_surface_loss
from tests.losses.test_hausdorff import ball, random_case

Size = tuple[float, float, float]


def authors(p: np.ndarray, g: np.ndarray, size: Size) -> float:
    """1 - sum (D (1 - (g + p)))^2 / sum D^2, D from all pairs of voxels, each side divided by its largest value."""
    at = np.argwhere(np.ones_like(g)).reshape(*g.shape, 3) * np.asarray(size)
    field = np.ones(g.shape)
    if g.any() and not g.all():
        field[g], field[~g] = -cdist(at[g], at[~g]).min(1), cdist(at[~g], at[g]).min(1)
        field[g] /= -field[g].min()
        field[~g] /= field[~g].max()
    return float(1 - ((field * (1 - (g + p))) ** 2).sum() / (field**2).sum())


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 2.0, 3.0)])
@pytest.mark.parametrize("density", [0.05, 0.5])
def test_equals_the_authors_formula(spacing: Size, density: float) -> None:
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(2, 3, 5, 6, 4, generator=generator, dtype=torch.float64)
    g = torch.rand(p.shape, generator=generator) < density
    g[0, 1], g[1, 2] = False, True
    found = generalized_surface_loss(p, g, spacing)
    assert found.dtype == torch.float64
    expected = [[authors(p[b, r].numpy(), g[b, r].numpy(), spacing) for r in range(3)] for b in range(2)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    twice = generalized_surface_loss(p, g, [spacing, (1, 1, 1)])
    torch.testing.assert_close(twice[0], found[0])
    torch.testing.assert_close(twice[1], generalized_surface_loss(p, g)[1])


def test_by_hand() -> None:
    g = torch.tensor([True, True, False, False, False]).reshape(1, 1, 5, 1, 1)
    p = torch.tensor([1.0, 0.5, 0.0, 0.0, 0.25], dtype=torch.float64).reshape(g.shape)
    # Depths 2, 1 over 2; distances 1, 2, 3 over 3.
    squares = [1, 1 / 4, 1 / 9, 4 / 9, 1]
    expected = (squares[1] * (1 - 0.5**2) + squares[4] * (1 - 0.75**2)) / sum(squares)
    assert generalized_surface_loss(p, g, (2, 1, 1)).item() == pytest.approx(expected, rel=1e-6)


def test_bounds_and_the_absent_label() -> None:
    p, g = random_case()
    assert generalized_surface_loss(g.float(), g).abs().max() == 0
    torch.testing.assert_close(generalized_surface_loss((~g).float(), g), torch.ones(2, 3))
    nothing = torch.zeros(1, 1, 3, 4, 2, dtype=torch.bool)
    quiet = torch.full(nothing.shape, 0.25)
    for target, wrong in ((nothing, 0.25), (~nothing, 0.75)):
        assert generalized_surface_loss(quiet, target).item() == pytest.approx(1 - (1 - wrong) ** 2)
        assert (generalized_surface_loss(quiet, target, absent="skip").item() == 0) == (not target.any())
    assert (generalized_surface_loss(p, g, absent="skip") == generalized_surface_loss(p, g)).all()


def test_small_errors_keep_their_digits_in_fp32() -> None:
    lesion = ball((40, 40, 40), (20, 20, 20), 4)[None, None]
    p = lesion.double()
    p[..., 2, 3, 4] = 1e-4
    single = generalized_surface_loss(p.float(), lesion)
    torch.testing.assert_close(single.double(), generalized_surface_loss(p, lesion), rtol=1e-5, atol=0)


def test_gradient_equals_finite_differences_and_vanishes_on_what_is_wholly_wrong() -> None:
    generator = torch.Generator().manual_seed(1)
    p = torch.rand(1, 3, 3, 4, 3, generator=generator, dtype=torch.float64).clamp(0.01, 0.99).requires_grad_()
    g = torch.rand(p.shape, generator=generator) > 0.7
    g[0, 1] = False
    for options in ({}, {"absent": "skip"}):
        assert torch.autograd.gradcheck(
            lambda x, o=options: generalized_surface_loss(x, g, (1, 2, 0.5), **o),  # type: ignore[arg-type]
            (p,),
        )
    wrong = (~g).double().requires_grad_()
    (gradient,) = torch.autograd.grad(generalized_surface_loss(wrong, g).sum(), wrong)
    assert gradient.abs().max() == 0


def test_half_types_are_raised() -> None:
    p, g = random_case()
    for half in (p.bfloat16(), p.half()):
        found = generalized_surface_loss(half, g)
        assert found.dtype == torch.float32
        assert torch.equal(found, generalized_surface_loss(half.float(), g))
    with pytest.raises(ValueError, match="spacing_mm: expected"):
        generalized_surface_loss(p, g, (1, 1))
