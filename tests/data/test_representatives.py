"""Which cases stand for many: spread over the lesion burden, the same whatever their order."""

from __future__ import annotations

import random

import pytest

from mets3d.data.representatives import representatives

# Eight without a lesion, eight with one of 10 mm3 to 80 mm3, and the largest burdens of names that come first.
BURDENS = (
    {f"n{number}": (0, 0.0) for number in range(8)}
    | {f"s{number}": (1, 10.0 * (number + 1)) for number in range(8)}
    | {f"a{number}": (20 + number, 5000.0) for number in range(8)}
)
CASES = sorted(BURDENS)


def test_each_share_of_the_burden_is_there_as_often_as_among_all() -> None:
    for amount in (3, 6, 12):
        kinds = [name[0] for name in representatives(CASES, amount, BURDENS)]
        assert {kind: kinds.count(kind) for kind in "nsa"} == dict.fromkeys("nsa", amount // 3)


def test_the_middle_case_of_each_group_is_taken() -> None:
    assert representatives(CASES, 1, BURDENS) == ["s4"]  # the 13th of 24
    assert representatives(CASES, 3, BURDENS) == ["a4", "n4", "s4"]
    burdens = {"d": (1, 4.0), "c": (1, 3.0), "b": (1, 2.0), "a": (1, 1.0), "e": (1, 5.0)}
    assert representatives(list(burdens), 2, burdens) == ["b", "d"]


def test_lesions_and_volume_count_alike() -> None:
    # Shares of lesions and of volume: many 0.9 + 0.05, big 0.05 + 0.9, little 0.05 + 0.05.
    burdens = {"many": (90, 5.0), "big": (5, 90.0), "little": (5, 5.0)}
    assert representatives(list(burdens), 2, burdens)[-1] == "many"
    assert "little" in representatives(list(burdens), 2, burdens)


def test_neither_the_order_of_names_nor_of_burdens_counts() -> None:
    expected = representatives(CASES, 5, BURDENS)
    shuffled, generator = list(CASES), random.Random(0)
    for _ in range(5):
        generator.shuffle(shuffled)
        assert representatives(shuffled, 5, {name: BURDENS[name] for name in reversed(shuffled)}) == expected


@pytest.mark.parametrize("amount", [None, 24, 100])
def test_all_where_there_are_no_more(amount: int | None) -> None:
    assert representatives(CASES[::-1], amount, BURDENS) == CASES


def test_cases_alike_and_without_a_burden_are_chosen_too() -> None:
    assert len(set(representatives(CASES, 7, {}))) == 7
    assert representatives([], 3, {}) == []
