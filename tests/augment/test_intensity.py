"""Brightness, contrast and gamma follow their formulas, and leave what lies outside the brain at 0."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mets3d.augment.changes import Drawn
from mets3d.augment.intensity import Brightness, Contrast, Gamma
from tests.builders.batches import augmented, random_batch


def test_intensities_follow_their_formulas_and_stay_zero_outside_the_brain() -> None:
    image, labels = random_batch()
    factors = (0.5, 1.0, 2.0, 1.5)
    brain = (image[0] != 0).any(0)
    bright, _ = augmented(image, labels, [Drawn(intensity=(Brightness(factors),)), Drawn()])
    torch.testing.assert_close(bright[0], image[0] * torch.tensor(factors)[:, None, None, None])
    contrast, _ = augmented(image, labels, [Drawn(intensity=(Contrast(factors),)), Drawn()])
    for channel, factor in enumerate(factors):
        inside = image[0, channel][brain]
        torch.testing.assert_close(contrast[0, channel][brain], (inside - inside.mean()) * factor + inside.mean())
    gamma, _ = augmented(image, labels, [Drawn(intensity=(Gamma(factors),)), Drawn()])
    for channel in range(4):
        inside, curved = image[0, channel][brain], gamma[0, channel][brain]
        torch.testing.assert_close(curved.mean(), inside.mean(), rtol=0, atol=1e-5)
        torch.testing.assert_close(curved.std(unbiased=False), inside.std(unbiased=False), rtol=1e-4, atol=0)
        assert torch.equal(curved.argsort(), inside.argsort()), "a gamma curve keeps the order"
    for changed in (bright, contrast, gamma):
        assert (changed[0][:, ~brain] == 0).all()
        assert torch.equal(changed[1], image[1])


@pytest.mark.parametrize("change", [Brightness, Contrast, Gamma])
def test_probability_and_range_are_kept_and_every_sequence_has_its_own_number(
    change: type[Brightness] | type[Contrast] | type[Gamma],
) -> None:
    name = change.__name__.lower()
    drawn = [
        change.draw(np.random.default_rng(key), sequences=3, **{name: 0.4, f"{name}_range": (0.9, 1.1)})
        for key in range(1000)
    ]
    values = np.array([next(iter(vars(one).values())) for one in drawn if one is not None])
    assert len(values) / 1000 == pytest.approx(0.4, abs=0.05)
    assert values.shape[1] == 3
    assert 0.9 <= values.min() < 0.91
    assert 1.09 < values.max() <= 1.1
    assert np.abs(np.corrcoef(values.T)[np.triu_indices(3, 1)]).max() < 0.15
