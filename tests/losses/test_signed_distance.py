"""The boundary loss: against the authors' formula by SciPy, and by hand."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from mets3d.losses.signed_distance import signed_distance_loss


def test_parity_mode_is_the_authors_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(2, 2, 6, 7, 5, generator=generator, dtype=torch.float64)
    g = torch.rand(2, 2, 6, 7, 5, generator=generator) > 0.7
    g[1, 1] = False
    expected = np.zeros((2, 2))
    for item in np.ndindex(2, 2):
        mask = g[item].numpy()
        if mask.any():
            outside = ndimage.distance_transform_edt(~mask)
            inside = ndimage.distance_transform_edt(mask)
            signed = outside * ~mask - (inside - 1) * mask
            expected[item] = (signed * p[item].numpy()).mean()
    found = signed_distance_loss(p, g, parity="kervadec")
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_by_hand_in_mm() -> None:
    target = torch.tensor([True, True, False, False]).reshape(1, 1, 4, 1, 1)
    p = torch.tensor([0.5, 1.0, 0.0, 0.25]).reshape(1, 1, 4, 1, 1)
    # Signed distances -4, -2, 2, 4 mm; p - g is -0.5, 0, 0, 0.25.
    value = signed_distance_loss(p, target, (2, 1, 1), normalise=False)
    assert value.item() == pytest.approx((0.5 * 4 + 0.25 * 4) / 4)
    diagonal = (8**2 + 1 + 1) ** 0.5
    assert signed_distance_loss(p, target, (2, 1, 1)).item() == pytest.approx(0.75 / diagonal)


def test_absent_label() -> None:
    p = torch.full((1, 1, 4, 1, 1), 0.25)
    nothing = torch.zeros(p.shape, dtype=torch.bool)
    assert signed_distance_loss(p, nothing).item() == pytest.approx(0.25)
    assert signed_distance_loss(p, nothing, absent="zero").item() == 0
    assert signed_distance_loss(p, nothing, absent=3, normalise=False).item() == pytest.approx(0.75)
    assert signed_distance_loss(p, ~nothing, absent=3, normalise=False).item() == pytest.approx(0.75 * 3)
    with pytest.raises(ValueError, match="absent: expected a number above 0, found -3"):
        signed_distance_loss(p, nothing, absent=-3)
