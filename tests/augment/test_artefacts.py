"""Noise belongs to its seed, wherever the sample stands in its batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mets3d.augment.artefacts import Noise
from mets3d.augment.changes import Drawn
from tests.builders.batches import augmented, random_batch


def test_noise_is_that_of_its_seed_wherever_the_sample_stands() -> None:
    image, labels = random_batch()
    drawn = Drawn(intensity=(Noise(std=0.3, seed=5),))
    first, _ = augmented(image, labels, [drawn, Drawn()])
    second, _ = augmented(image.flip(0), labels.flip(0), [Drawn(), drawn])
    assert torch.equal(first[0], second[1])
    brain = (image[0] != 0).any(0)
    assert (first[0] - image[0])[:, brain].std().item() == pytest.approx(0.3, rel=0.1)
    assert (first[0][:, ~brain] == 0).all()


def test_noise_has_its_probability_and_at_most_its_deviation() -> None:
    drawn = [Noise.draw(np.random.default_rng(key), noise=0.3, noise_std=0.2) for key in range(1000)]
    made = [one for one in drawn if one is not None]
    assert len(made) / 1000 == pytest.approx(0.3, abs=0.05)
    assert 0 <= min(one.std for one in made) < 0.01
    assert 0.19 < max(one.std for one in made) <= 0.2
    assert len({one.seed for one in made}) == len(made)
