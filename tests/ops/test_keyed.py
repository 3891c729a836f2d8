"""Numbers drawn from keys: what they depend on, how they are spread, and that they are the documented hash."""

import numpy as np
import pytest
import torch

from mets3d.ops.keyed import keyed_keep, keyed_uniform, random_keys, stream_of

KEYS = torch.tensor([3, 2**40 + 5, 2**62 + 2**31 + 7])


def by_numpy(key: int, stream: int, count: int) -> np.ndarray:
    """The hash in unsigned 64-bit integers, cut to 32 bits after each product."""
    cut, first, second = 2**32 - 1, 0x7FEB352D, 0x2C1B3C6D

    def mixed(word: int) -> int:
        word = (word ^ word >> 16) * first & cut
        word = (word ^ word >> 15) * second & cut
        return word ^ word >> 16

    low, high = key & cut, key >> 32
    one = mixed((mixed(low ^ stream) + high) & cut)
    two = mixed((mixed(high ^ (~stream * first & cut)) + low) & cut)
    bits = np.arange(count, dtype=np.uint64) ^ np.uint64(one)
    bits = (bits ^ bits >> np.uint64(16)) * np.uint64(first) & np.uint64(cut)
    return (bits ^ bits >> np.uint64(15) ^ np.uint64(two)) * np.uint64(second) & np.uint64(cut)


def test_numbers_are_the_hash_that_another_arithmetic_gives() -> None:
    for stream in (0, stream_of("vit.dropout"), 2**32 - 1):
        bits = np.stack([by_numpy(key, stream, 2 * 3 * 50) for key in KEYS.tolist()]).reshape(3, 2, 3, 50)
        expected = (bits >> np.uint64(8)).astype(np.float64) / 2**24
        assert np.array_equal(keyed_uniform(KEYS, stream, (2, 3, 50)).double().numpy(), expected)
        kept = keyed_keep(KEYS, stream, (2, 3, 50), 0.25)
        assert np.array_equal(kept.numpy(), (bits ^ np.uint64(2**31)) >= 2**30)  # as signed integers compare


def test_a_sample_has_its_numbers_in_any_batch() -> None:
    whole = keyed_uniform(KEYS, 9, (40,))
    for place, key in enumerate(KEYS):
        assert torch.equal(keyed_uniform(key[None], 9, (40,))[0], whole[place])
    assert torch.equal(keyed_uniform(KEYS.flip(0), 9, (40,)), whole.flip(0))


def test_numbers_are_uniform() -> None:
    """Chi-square of 256 equal bins, and of pairs of neighbours in 16 x 16 bins: 255 on average, deviation 22.6."""
    for stream in range(5):
        numbers = keyed_uniform(KEYS, stream, (200_000,))
        assert (numbers >= 0).all()
        assert (numbers < 1).all()
        for sample in numbers:
            for bins in (256 * sample, 16 * (16 * sample[:-1]).floor() + (16 * sample[1:]).floor()):
                counts = torch.bincount(bins.long(), minlength=256)
                expected = len(bins) / 256
                assert ((counts - expected) ** 2 / expected).sum() < 255 + 6 * 22.6


@pytest.mark.parametrize("drop", [0.001, 0.1, 0.5, 0.9])
def test_masks_keep_the_share_that_they_should(drop: float) -> None:
    count = 400_000
    for stream in range(5):
        share = keyed_keep(KEYS, stream, (count,), drop).double().mean(1)
        assert ((share - (1 - drop)).abs() < 5 * (drop * (1 - drop) / count) ** 0.5).all()


def test_nothing_is_dropped_with_probability_0_and_nearly_all_below_1() -> None:
    assert keyed_keep(KEYS, 1, (10_000,), 0.0).all()
    assert not keyed_keep(KEYS, 1, (10_000,), 1 - 1e-12).any()


def correlation(one: torch.Tensor, two: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one.double(), two.double()]))[0, 1])


def test_masks_of_other_keys_streams_and_places_are_independent() -> None:
    """Neighbouring keys and streams, keys that differ in one bit, and shifted copies: correlations are chance."""
    count = 100_000
    chance = 5 / count**0.5
    mask = keyed_keep(torch.tensor([77]), 5, (count,), 0.1)[0]
    others = [keyed_keep(torch.tensor([77 ^ 1 << bit]), 5, (count,), 0.1)[0] for bit in range(63)]
    others += [keyed_keep(torch.tensor([77]), 5 ^ 1 << bit, (count,), 0.1)[0] for bit in range(32)]
    for other in others:
        assert abs(correlation(mask, other)) < chance
    for shift in (1, 2, 3, 16, 64, 768, 3072, 4096):
        assert abs(correlation(mask[shift:], mask[:-shift])) < chance


def test_keys_without_samples_follow_torchs_generator() -> None:
    torch.manual_seed(0)
    one, two = random_keys(4, torch.device("cpu")), random_keys(4, torch.device("cpu"))
    assert len({*one.tolist(), *two.tolist()}) == 8
    torch.manual_seed(0)
    assert torch.equal(one, random_keys(4, torch.device("cpu")))


@pytest.mark.gpu
def test_numbers_are_the_same_on_a_gpu() -> None:
    for drawn in (keyed_uniform(KEYS.cuda(), 9, (7, 5000)), keyed_keep(KEYS.cuda(), 9, (7, 5000), 0.1)):
        one = keyed_uniform(KEYS, 9, (7, 5000)) if drawn.is_floating_point() else keyed_keep(KEYS, 9, (7, 5000), 0.1)
        assert torch.equal(drawn.cpu(), one)
