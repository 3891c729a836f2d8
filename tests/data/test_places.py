"""Where samples are taken: each lesion alike, but that a case with very many counts as one with fewer."""

from pathlib import Path

import numpy as np
import pytest

from mets3d.config import ConfigError, load_file
from mets3d.data.loader import Samples, generator
from mets3d.data.places import Lesion, Places
from mets3d.data.store import open_store

NAMES = ("few", "none", "many", "some")
LESIONS = np.array([2, 0, 30, 5])
LARGEST = np.nextafter(1.0, 0.0)  # the largest number that a generator draws


def places(cap: int | None, *, fraction: float = 1.0, lesions: np.ndarray = LESIONS) -> Places:
    return Places(NAMES[: len(lesions)], lesions, fraction, cap)


def test_a_case_counts_at_most_so_many_lesions_and_all_of_its_lesions_stay_alike() -> None:
    made = places(6)
    drawn = [made.draw(generator(0, step, 0)) for step in range(6000)]
    counts = {name: [place.lesion for place in drawn if place.case == name] for name in NAMES}
    # 2 + 0 + 6 + 5 lesions count.
    assert [len(counts[name]) / 6000 for name in NAMES] == pytest.approx([2 / 13, 0, 6 / 13, 5 / 13], abs=0.02)
    for name, lesions in zip(NAMES, LESIONS, strict=True):
        hits = np.bincount(counts[name], minlength=lesions)
        assert len(hits) == lesions
        assert all(abs(hits - len(counts[name]) / max(lesions, 1)) < 5 * np.sqrt(len(counts[name]) / max(lesions, 1)))


@pytest.mark.parametrize("cap", [None, 1, 6, 20, 30])
def test_each_lesion_has_an_interval_of_its_own_and_the_ends_are_lesions(cap: int | None) -> None:
    made = places(cap)
    weights = [1.0 if cap is None else min(count, cap) / count for count in LESIONS if count for _ in range(count)]
    ends = np.cumsum(weights) / np.sum(weights)
    lesions = [Lesion(name, i) for name, count in zip(NAMES, LESIONS, strict=True) for i in range(count)]
    middles = ends - np.diff(ends, prepend=0) / 2
    assert [made.lesion(float(middle)) for middle in middles] == lesions
    assert made.lesion(0.0) == Lesion("few", 0)
    assert made.lesion(LARGEST) == Lesion("some", 4)


def test_a_cap_that_no_case_reaches_changes_no_draw() -> None:
    rng = np.random.default_rng(0)
    for which in rng.random(500):
        number = int(which * LESIONS.sum())  # as it was before there was a cap
        place = int(np.searchsorted(np.cumsum(LESIONS), number, side="right"))
        expected = Lesion(NAMES[place], number - int(LESIONS[:place].sum()))
        assert places(None).lesion(which) == places(30).lesion(which) == expected


def test_another_case_can_be_asked_for() -> None:
    made = places(6)
    found = {lesion.case for which in np.linspace(0, LARGEST, 300) if (lesion := made.lesion(which, not_of="many"))}
    assert found == {"few", "some"}
    assert places(None, lesions=np.array([3])).lesion(0.5, not_of="few") is None
    assert places(None, lesions=np.array([0, 0])).lesion(0.5) is None


def test_without_lesions_samples_are_taken_anywhere() -> None:
    drawn = [places(6, lesions=np.array([0, 0])).draw(generator(0, step, 0)) for step in range(50)]
    assert {place.case for place in drawn} == {"few", "none"}
    assert {place.lesion for place in drawn} == {None}


def test_the_samples_of_a_store_follow_the_cap(phantom_store: Path) -> None:
    store = open_store(phantom_store)
    lesions = {name: len(store.read(name).lesions("TC")) - 1 for name in store.cases}
    capped = Samples(phantom_store, store.cases, patch=(4, 4, 4), seed=3, lesion_fraction=1.0, lesions_per_case=1)
    drawn = [capped.place((step, 0))[0].name for step in range(600)]
    with_lesions = [name for name, count in lesions.items() if count]
    assert max(lesions.values()) > 1
    for name in with_lesions:
        assert drawn.count(name) / 600 == pytest.approx(1 / len(with_lesions), abs=0.06)


def test_a_cap_below_one_lesion_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("data: {lesions_per_case: 0}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_file(file)
    assert error.value.faults == ["data.lesions_per_case: input should be greater than or equal to 1; found 0"]
