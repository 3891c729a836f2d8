"""The brain is where any sequence is not 0; what lies outside, and what a case lacks, becomes 0 again."""

from __future__ import annotations

import numpy as np
import torch

from mets3d.augment.brain import clear_outside, find_brain
from tests.builders.batches import brain_of, random_batch


def test_the_brain_is_where_any_sequence_is_not_zero() -> None:
    image, _ = random_batch(shape=(7, 5, 3))
    image[:, 0, 3], image[:, 3, 2], image[:, :, 4] = 0.0, 0.0, 0.0  # the first, the last, all of them
    image[1, 2], image[1, 3, :, :, 0] = 0.0, -0.0
    brain, there = find_brain(image, [1, 0])
    np.testing.assert_array_equal(brain.numpy(), brain_of(image).numpy())
    assert not brain[:, :, 4].any()
    assert brain[..., 2].all(-1)[:, 0, 2:4].all(), "one that is not 0 suffices"
    assert there.keys() == {0, 1}
    assert there[0].tolist() == [1, 1, 1, 1]
    assert there[1].tolist() == [1, 1, 0, 1]


def test_only_samples_that_were_changed_are_cleared() -> None:
    image, _ = random_batch()
    image[1, 2] = 0
    brain, there = find_brain(image, [1])
    assert not brain[0].any(), "nothing asks for it"
    changed = image + 1
    cleared = clear_outside(changed.clone(), brain, there)
    assert torch.equal(cleared[0], changed[0])
    assert torch.equal(
        cleared[1], (image[1] + 1) * (image[1] != 0).any(0) * torch.tensor([1, 1, 0, 1])[:, None, None, None]
    )
