"""Sequences that are dropped, and those that a case lacks."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from mets3d import augment
from mets3d.augment.artefacts import Noise
from mets3d.augment.changes import Drawn
from mets3d.augment.missing import SequenceDropout
from mets3d.config import Augment
from mets3d.data.loader import generator
from tests.builders.batches import augmented

FOUR = (("t1n",), ("t1c",), ("t2w",), ("t2f",))
DERIVED = (("t1c",), ("t1c", "t1n"), ("t2f",))


def drawn(parents: tuple[tuple[str, ...], ...], probability: float, count: int) -> np.ndarray:
    """Which channels are dropped, in `count` samples."""
    draws = (SequenceDropout.draw(np.random.default_rng(key), parents, probability) for key in range(count))
    return np.array([[False] * len(parents) if one is None else one.dropped for one in draws])


def test_each_sequence_is_dropped_as_often_as_is_set() -> None:
    assert drawn(FOUR, 0.2, 4000).mean(0) == pytest.approx([0.2] * 4, abs=0.025)
    assert not drawn(FOUR, 0.0, 50).any()


def test_a_channel_stays_and_each_as_often() -> None:
    dropped = drawn(FOUR, 0.99, 2000)
    assert not dropped.all(1).any()
    assert (~dropped).mean(0) == pytest.approx([0.25] * 4, abs=0.05)
    assert not drawn((("t1c", "t1n"),), 0.99, 20).any()


def test_a_difference_follows_its_parents() -> None:
    dropped = drawn(DERIVED, 0.3, 3000)
    assert not (dropped[:, 0] & ~dropped[:, 1]).any(), "t1c is a parent of the difference"
    # Either parent is lost, but for where all channels would be (t1c and t2f) and t1c, or the difference itself, stays.
    expected = 1 - 0.7**2 - 0.3**2 * (0.7 + 1) / 3
    assert dropped[:, 1].mean() == pytest.approx(expected, abs=0.03)
    assert (dropped[:, 1] & ~dropped[:, 0]).any(), "t1n is no channel, and is dropped too"


def test_dropped_channels_are_zero_after_all_other_changes() -> None:
    image = torch.randn(1, 3, 5, 5, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(1, 5, 5, 5, dtype=torch.uint8)
    settings = Augment(noise=1, brightness=1, contrast=1, gamma=1, sequence_dropout=0.6)
    draw = augment.build(settings, sequences=3, parents=DERIVED)
    seen = set()
    for step in range(20):
        sample = draw(partial(generator, 0, step, 0))
        gone = [change.dropped for change in sample.intensity if isinstance(change, SequenceDropout)]
        expected = gone[0] if gone else (False,) * 3
        assert sample.intensity[-1:] == (SequenceDropout(gone[0]),) if gone else True
        changed, _ = augmented(image, labels, [sample])
        assert tuple(not channel.any() for channel in changed[0]) == expected
        seen.add(expected)
    assert len(seen) > 2


def test_a_missing_sequence_stays_zero_and_the_last_one_is_not_dropped() -> None:
    image = torch.randn(1, 2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    image[0, 1] = 0
    labels = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    draw = augment.build(Augment(noise=1, gamma=1, brightness=1, contrast=1), sequences=2)
    changed, _ = augmented(image, labels, [draw(partial(generator, 0, 1, 0))])
    assert changed[0, 0].any()
    assert not changed[0, 1].any(), "noise must not fill what the case lacks"
    kept, _ = augmented(image, labels, [Drawn(intensity=(SequenceDropout((True, False)),))])
    assert torch.equal(kept, image), "the only sequence of the case"
    noisy, _ = augmented(image, labels, [Drawn(intensity=(Noise(0.1, 3), SequenceDropout((True, False))))])
    assert noisy[0, 0].any(), "noise in the sequence that the case lacks does not count"
