"""Intensities of a brain on a common scale."""

from pathlib import Path

import numpy as np
import pytest

from mets3d.config import Data, Preprocess
from mets3d.data import DataError
from mets3d.data.cases import SEQUENCES, find_cases
from mets3d.data.normalise import INTENSITIES, LANDMARKS, Normalisation, landmarks_of, mean_landmarks, normalised
from mets3d.data.prepare import prepare
from mets3d.data.preprocess import preprocess
from mets3d.data.reading import read_scan
from mets3d.data.store import open_store
from tests.builders.cases import make_case, scan


def brain(seed: int = 0, count: int = 20_000) -> np.ndarray:
    return np.random.default_rng(seed).gamma(4, 100, count).astype(np.float32)


def test_z_score_of_more_values_than_are_worked_on_at_a_time() -> None:
    values = brain(count=2_500_000)
    found, mean, std = normalised(values.copy(), "t1c", Normalisation())
    exact = values.astype(np.float64)
    assert mean == pytest.approx(exact.mean(), rel=1e-14)
    assert std == pytest.approx(exact.std(), rel=1e-12)
    np.testing.assert_allclose(found, (exact - exact.mean()) / exact.std(), rtol=1e-3, atol=1e-3)


def test_percentiles_are_where_a_normal_distribution_has_them() -> None:
    values = brain()
    found, mean, _ = normalised(values.copy(), "t1c", Normalisation("percentile"))
    ranked = np.sort(found.astype(np.float64))
    assert ranked[100] == pytest.approx(-2.5758, abs=0.01)
    assert ranked[-101] == pytest.approx(2.5758, abs=0.02)
    assert mean == pytest.approx(values.mean(), rel=1e-6)
    normal = np.random.default_rng(1).normal(300, 40, 200_000).astype(np.float32)
    alike = normalised(normal, "t1c", Normalisation("percentile"))[0].astype(np.float64)
    assert (alike.mean(), alike.std()) == pytest.approx((0, 1), abs=0.02)


def test_landmarks_make_two_scanners_alike() -> None:
    """A scan, and the same through another curve: after the landmarks their deciles are equal."""
    one = brain()
    other = 7 * one**1.2 + 30
    standard = mean_landmarks([{"t1c": landmarks_of(one.copy(), None)}, {"t1c": landmarks_of(other.copy(), None)}])
    how = Normalisation("nyul", landmarks=standard)
    found = [normalised(values.copy(), "t1c", how)[0].astype(np.float64) for values in (one, other)]
    for values in found:
        np.testing.assert_allclose(np.percentile(values, LANDMARKS), dict(standard)["t1c"], atol=0.01)
    between = (one > np.percentile(one, 1)) & (one < np.percentile(one, 99))  # the landmarks
    z_scores = [normalised(values.copy(), "t1c", Normalisation())[0].astype(np.float64) for values in (one, other)]
    alike, apart = (np.abs(a - b)[between].max() for a, b in (found, z_scores))
    assert 5 * alike < apart
    assert dict(standard)["t1c"][0] == pytest.approx(-2.3263)
    assert dict(standard)["t1c"][-1] == pytest.approx(2.3263)


def test_landmarks_by_hand() -> None:
    values = np.arange(101, dtype=np.float32)  # percentile p is p
    assert landmarks_of(values, None) == pytest.approx([2.3263 * (2 * (p - 1) / 98 - 1) for p in LANDMARKS])
    steep = tuple(np.linspace(0, 10, len(LANDMARKS)))
    found, _, _ = normalised(values, "t1n", Normalisation("nyul", landmarks=(("t1n", steep),)))
    assert found[1] == 0
    assert found[55] == pytest.approx(5.5)
    assert found[99] == pytest.approx(10)
    assert found[100] == pytest.approx(10 + 1 / 9, abs=0.01)  # the last piece, from 90 to 99, goes on
    assert found[0] == pytest.approx(-1 / 9, abs=1e-3)


def test_landmarks_that_are_one_value() -> None:
    values = np.repeat(np.float32([0, 5, 9]), [10, 70, 20])  # several deciles are 5
    steep = tuple(np.linspace(0, 10, len(LANDMARKS)))
    found, _, _ = normalised(values, "t1n", Normalisation("nyul", landmarks=(("t1n", steep),)))
    assert np.isfinite(found).all()
    assert (np.diff(found.astype(np.float64)) >= 0).all()
    assert found[0] < found[50] < found[-1]


@pytest.mark.parametrize("form", ["z_score", "percentile"])
def test_one_voxel_of_ten_million_takes_no_scale_when_it_is_clipped(form: str) -> None:
    values = brain()
    clean, _, _ = normalised(values.copy(), "t1c", Normalisation(form, 99.9))  # type: ignore[arg-type]
    values[7] = 1e7
    spoilt, mean, _ = normalised(values.copy(), "t1c", Normalisation(form, 99.9))  # type: ignore[arg-type]
    others = np.arange(len(values)) != 7
    np.testing.assert_allclose(spoilt[others].astype(np.float64), clean[others].astype(np.float64), atol=0.02)
    assert spoilt[7] == spoilt.max()
    assert mean < 500
    if form == "z_score":
        assert np.ptp(normalised(values.copy(), form, Normalisation())[0][others].astype(np.float64)) < 0.1


def test_clipped_at_both_ends() -> None:
    values = np.arange(1001, dtype=np.float32)
    normalised(values, "t1c", Normalisation(clip_percentile=99))
    assert (values.min(), values.max()) == (10, 990)
    assert values[500] == 500


@pytest.mark.parametrize(
    "how", [Normalisation("percentile"), Normalisation("nyul", landmarks=(("t1c", tuple(np.linspace(-2, 2, 11))),))]
)
def test_numbers_beyond_half_precision_become_its_largest(how: Normalisation) -> None:
    values = brain()
    values[0], values[1] = 1e12, -1e12
    found, _, _ = normalised(values * np.float32(1), "t1c", how)
    assert (found[0], found[1]) == (65504, -65504)
    assert np.isfinite(found).all()


def test_what_cannot_be_normalised() -> None:
    with pytest.raises(DataError, match="t1c is 4 everywhere in the brain"):
        normalised(np.full(9, 4, np.float32), "t1c", Normalisation())
    spike = np.full(1000, 4, np.float32)
    spike[0] = 900
    with pytest.raises(DataError, match="t1c is 4 in 99 % of the brain"):
        normalised(spike, "t1c", Normalisation("percentile"))
    row = (("t1c", tuple(np.linspace(-2, 2, 11))),)
    with pytest.raises(DataError, match="t1c is 4 in 98 % of the brain"):
        normalised(spike, "t1c", Normalisation("nyul", landmarks=row))
    with pytest.raises(DataError, match="t1n: no landmarks were learned for it"):
        normalised(brain(), "t1n", Normalisation("nyul", landmarks=row))
    assert landmarks_of(spike, None) is None


@pytest.mark.parametrize(
    "how",
    [Normalisation(), Normalisation("percentile", 99.5), Normalisation("nyul", None, (("t1c", tuple(range(11))),))],
)
def test_as_a_file_has_it(how: Normalisation) -> None:
    content = how.as_json()
    assert INTENSITIES.fits(content)
    assert Normalisation.from_json(content) == how


@pytest.mark.parametrize(
    "content",
    [
        *(
            {},
            [],
            {"form": "z_score"},
            {"form": "x", "clip_percentile": None},
            {"form": "nyul", "clip_percentile": None},
        ),
        *({"form": "z_score", "clip_percentile": 10}, {"form": "z_score", "clip_percentile": True}),
        {"form": "nyul", "clip_percentile": None, "landmarks": {"t1c": [0, 1]}},
        {"form": "nyul", "clip_percentile": None, "landmarks": {"t1c": [*range(10), 3]}},
        {"form": "percentile", "clip_percentile": None, "landmarks": {"t1c": list(range(11))}},
    ],
)
def test_what_a_file_must_not_have(content: object) -> None:
    assert not INTENSITIES.fits(content)


@pytest.mark.parametrize(("form", "clip"), [("percentile", None), ("nyul", 99.0), ("z_score", 99.0)])
def test_a_new_case_is_prepared_as_those_of_the_store(tmp_path: Path, form: str, clip: float | None) -> None:
    data = tmp_path / "data"
    for number in range(1, 4):
        make_case(data, f"MET-00{number}", volumes={"t1c": scan(number) * number})
    settings = Preprocess(normalisation=form, clip_percentile=clip, margin_voxels=1)  # type: ignore[arg-type]
    preprocess(data, tmp_path / "store", settings, data=Data())
    store = open_store(tmp_path / "store", expected=(settings, Data()))
    plan = store.plan
    assert (plan.intensities.form, plan.intensities.clip_percentile) == (form, clip)
    assert [name for name, _ in plan.intensities.landmarks] == (list(SEQUENCES) if form == "nyul" else [])
    for case in find_cases(data):
        images = {name: read_scan(case, name) for name in plan.sequences}
        again = prepare(images, None, plan.spacing_mm, 1, False, intensities=plan.intensities)
        np.testing.assert_array_equal(again.image, store.read(case.name).image().numpy())
    make_case(data, "MET-009", volumes={"t1c": scan(9) * 50})  # a store that grows keeps what it has learned
    preprocess(data, tmp_path / "store", settings, data=Data())
    grown = open_store(tmp_path / "store")
    assert len(grown.cases) == 4
    assert grown.plan.intensities == plan.intensities
