"""Tests of signs against scipy, every choice of signs written out, published values, and on pure chance."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mets3d.statistics.paired_tests import EXACT_UP_TO, holm, sign_flip_p, signed_rank


def by_enumeration(values: list[int]) -> float:
    observed = abs(sum(values))
    sums = [abs(sum(s * v for s, v in zip(signs, values, strict=True)))
            for signs in itertools.product((1, -1), repeat=len(values))]  # fmt: skip
    return sum(found >= observed for found in sums) / len(sums)


@given(st.lists(st.integers(-9, 9), max_size=9))
@settings(max_examples=150, deadline=None)
def test_sign_flips_are_those_of_every_choice_of_signs(values: list[int]) -> None:
    p = sign_flip_p(np.array(values, np.int64))
    assert p == pytest.approx(by_enumeration(values), rel=1e-12)
    assert sign_flip_p(-np.array(values, np.int64)) == p
    assert sign_flip_p(7 * np.array(values, np.int64)) == p


def test_sign_flips_by_hand() -> None:
    assert sign_flip_p(np.array([], np.int64)) == 1.0
    assert sign_flip_p(np.array([0, 0])) == 1.0
    assert sign_flip_p(np.array([3])) == 1.0
    assert sign_flip_p(np.array([1, 1, 1, 1, 1])) == 2 / 32
    assert sign_flip_p(np.array([1, 2, -3])) == 1.0
    assert sign_flip_p(np.array([1, 2, 4])) == 2 / 8  # only all or none
    assert sign_flip_p(np.array([-1, 2, 4])) == 4 / 8  # 5 or 7 in either direction


def test_random_exchanges_reach_the_exact_p() -> None:
    values = np.random.default_rng(2).integers(-6, 9, 30)
    signs = np.random.default_rng(3).choice((-1, 1), size=(100_000, 30))
    hits = (np.abs(signs @ values) >= abs(values.sum())).sum()
    assert sign_flip_p(values) == pytest.approx((1 + hits) / 100_001, abs=0.005)


def test_wilcoxon_without_ties_is_scipys_exact_one() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 5, 6, 13, 30, 50, 120):
        differences = rng.normal(0.2, 1, n)
        found = signed_rank(differences)
        assert found.p == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue, rel=1e-9)
        assert (found.n, found.exact) == (n, True)


def test_wilcoxons_own_data() -> None:
    """Darwin's maize, in Wilcoxon 1945: W = 24 of 15, two-sided p 0.0413."""
    heights = np.array([6.0, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75])
    found = signed_rank(heights)
    assert found.p == pytest.approx(0.041259765625, rel=1e-12)
    assert found.effect == pytest.approx((96 - 24) / 120)


def test_wilcoxon_with_ties_and_zeros_is_every_choice_of_signs() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        differences = rng.integers(-2, 4, 11) / 4
        kept = differences[differences != 0]
        ranks = stats.rankdata(np.abs(kept)) * np.sign(kept)
        found = signed_rank(differences)
        assert found.p == pytest.approx(by_enumeration([round(2 * rank) for rank in ranks]), rel=1e-12)
        assert found.n == len(kept)
        assert found.effect == pytest.approx(ranks.sum() / np.abs(ranks).sum())


def test_differences_that_are_equal_but_for_rounding_are_tied() -> None:
    x, y = np.array([0.5, 0.825, 0.375, 0.5]), np.array([0.525, 0.775, 0.325, 0.55])
    assert signed_rank(x - y) == signed_rank(np.array([-0.025, 0.05, 0.05, -0.05]))
    assert signed_rank(np.full(3, 1e-13)) == signed_rank(np.zeros(3))


def test_many_differences_are_judged_by_the_normal_distribution() -> None:
    differences = np.random.default_rng(4).integers(-5, 7, 2 * EXACT_UP_TO).astype(float)
    found = signed_rank(differences)
    assert not found.exact
    assert found.p == pytest.approx(stats.wilcoxon(differences, method="asymptotic").pvalue)
    few = differences[: EXACT_UP_TO - 100]
    assert signed_rank(few).exact
    assert signed_rank(few).p == pytest.approx(stats.wilcoxon(few, method="asymptotic").pvalue, rel=0.2)


def test_nothing_differs() -> None:
    for differences in (np.zeros(0), np.zeros(8)):
        found = signed_rank(differences)
        assert (found.p, found.effect, found.n) == (1.0, 0.0, 0)


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_exchanging_the_methods_flips_the_effect_and_keeps_p(values: list[int]) -> None:
    forward, backward = signed_rank(np.array(values, float)), signed_rank(-np.array(values, float))
    assert backward.p == forward.p
    assert backward.effect == pytest.approx(-forward.effect)


def test_chance_alone_is_called_a_difference_at_most_as_often_as_allowed() -> None:
    """1,000 comparisons of nothing: the binomial SD of the rate at 5 % is 0.7 %."""
    rng = np.random.default_rng(6)
    for draw in (lambda: rng.normal(size=20), lambda: rng.integers(-2, 3, 20).astype(float)):
        rejected = np.mean([signed_rank(draw()).p <= 0.05 for _ in range(1000)])
        assert 0.03 < rejected <= 0.065


def test_holm_by_hand() -> None:
    assert holm([]) == []
    assert holm([0.04]) == [0.04]
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9, 0.01]) == pytest.approx([1.0, 1.0, 0.03])
    assert holm([0.02, 0.02]) == pytest.approx([0.04, 0.04])


def test_holm_keeps_the_family_below_its_level() -> None:
    rng = np.random.default_rng(8)
    any_rejected = np.mean([min(holm(list(rng.random(12)))) <= 0.05 for _ in range(2000)])
    assert 0.03 < any_rejected < 0.065
