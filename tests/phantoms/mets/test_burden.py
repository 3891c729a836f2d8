"""The laws of number and size, against those of BraTS-METS 2025's training set."""

import numpy as np

from mets3d.phantoms.mets.burden import lesion_count, lesion_volume, place_in_block


def test_sizes_follow_the_law_of_the_disease() -> None:
    rng = np.random.default_rng(0)
    volumes = np.array([lesion_volume(rng, 100_000.0) for _ in range(20_000)])
    low, median, high = np.percentile(volumes, [5, 50, 95])
    assert 2 < low < 4  # METS: 2.6
    assert 38 < median < 42  # 39.7
    assert 1_500 < high < 2_700  # 2,678
    assert 0.385 < np.mean(volumes < 27) < 0.415  # 0.41
    assert volumes.min() >= 1
    assert 50_000 < volumes.max() <= 100_000  # 96,130
    assert max(lesion_volume(rng, 30.0) for _ in range(500)) <= 30


def test_numbers_follow_the_law_of_the_disease_in_every_twenty_patients() -> None:
    for seed in range(5):
        counts = [
            lesion_count(np.random.default_rng([seed, index]), place_in_block(seed, index, 20, 3))
            for index in range(200)
        ]
        assert counts.count(0) == 10
        assert all(counts[first : first + 20].count(0) == 1 for first in range(0, 200, 20))
        assert 3 <= np.median(counts) <= 5
        assert 14 <= np.percentile(counts, 90) <= 20
        assert max(counts) <= 40
    many = [lesion_count(np.random.default_rng(index), 19) for index in range(300)]
    assert max(many) == 40


def test_each_place_comes_once_in_a_block_and_in_another_order_in_the_next() -> None:
    orders = [[place_in_block(7, index, 5, 1) for index in range(first, first + 5)] for first in (0, 5, 10, 15)]
    assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    assert [place_in_block(8, index, 5, 1) for index in range(20)] != [place for order in orders for place in order]
