"""Which voxels are brain, by backgrounds of every kind."""

from pathlib import Path

import numpy as np
import pytest

from mets3d.data import DataError
from mets3d.data.brain import brain_of, with_background
from mets3d.data.cases import SEQUENCES
from mets3d.data.check import check_case
from mets3d.data.nifti import Grid, ImageVolume
from mets3d.data.prepare import prepare
from mets3d.data.reading import read_scan
from mets3d.settings import Data
from tests.builders.cases import make_case, scan

SHAPE = (20, 24, 16)


def volume(data: np.ndarray) -> ImageVolume:
    grid = Grid(data.shape, np.eye(4), (1.0, 1.0, 1.0), {})
    return ImageVolume(data.astype(np.float32), (1.0, 1.0, 1.0), np.eye(4), grid)


def ball(radius: float = 0.8) -> np.ndarray:
    """True inside an ellipsoid of this share of the volume's half axes."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    return np.asarray(sum(axis**2 for axis in axes) < radius**2)


def stripped(outside: float, *, mean: float = 500, std: float = 100, radius: float = 0.8) -> np.ndarray:
    values = np.random.default_rng(0).normal(mean, std, SHAPE).astype(np.float32)
    return np.where(ball(radius), values, np.float32(outside))


def brain(data: np.ndarray) -> np.ndarray:
    return brain_of([with_background(volume(data))])


@pytest.mark.parametrize("outside", [-1.0, -4.7, 7.0, -1024.0, 1e-3, 0.0, np.nan])
@pytest.mark.parametrize(("mean", "std"), [(500, 100), (0, 1)])
def test_a_constant_around_the_brain_is_outside_it(outside: float, mean: float, std: float) -> None:
    image = with_background(volume(stripped(outside, mean=mean, std=std)))
    np.testing.assert_array_equal(brain_of([image]), ball())
    assert image.background == np.float32(0 if np.isnan(outside) else outside)
    assert np.isfinite(image.data).all()
    told = [(oddity.severity, oddity.what) for oddity in image.oddities]
    assert told == ([] if outside == 0 else [("note", "background is not 0")])


def test_what_is_said_names_value_and_share() -> None:
    data = stripped(0.0, mean=0, std=1)
    data[~ball()] = data.min() - 1
    (oddity,) = with_background(volume(data)).oddities
    assert f"{data.min():g} (the smallest value) in {np.mean(~ball()):.1%} of the voxels" in oddity.detail


def test_zero_outside_and_negative_values_inside_stay_as_they_are() -> None:
    data = stripped(0.0, mean=0, std=1)
    image = with_background(volume(data))
    assert (image.background, image.oddities) == (0.0, ())
    np.testing.assert_array_equal(brain_of([image]), ball())


def test_rounding_of_the_background_is_part_of_it() -> None:
    data = stripped(-1.0)
    data[::2][~ball()[::2]] *= np.float32(1 + 3e-7)
    np.testing.assert_array_equal(brain(data), ball())


def test_zeros_inside_are_brain_where_the_background_is_another_value() -> None:
    data = stripped(-1.0)
    data[10, 12, 8] = 0
    assert brain(data)[10, 12, 8]


def test_each_image_has_its_own_background() -> None:
    left, right = stripped(-1.0, radius=0.5), stripped(0.0, radius=0.7)
    found = brain_of([with_background(volume(left)), with_background(volume(right))])
    np.testing.assert_array_equal(found, ball(0.7))


def test_nan_inside_the_brain_stays() -> None:
    data = stripped(np.nan)
    data[10, 12, 8] = np.nan
    image = with_background(volume(data))
    assert np.argwhere(np.isnan(image.data)).tolist() == [[10, 12, 8]]
    data = stripped(0.0)
    data[0, 0, 0] = np.nan
    assert np.isnan(with_background(volume(data)).data[0, 0, 0])


def head(air: np.ndarray) -> np.ndarray:
    """A skull that touches no face but the lowest, around a brain, in air."""
    data = np.where(ball(0.95), np.float32(300), air.astype(np.float32))
    data[ball(0.8)] = stripped(0.0)[ball(0.8)]
    return data


@pytest.mark.parametrize("levels", [2, 3, 4])
def test_air_of_few_integers_is_no_constant_background(levels: int) -> None:
    """Also where more than half of the border has one of them."""
    rng = np.random.default_rng(0)
    air = rng.choice(levels, SHAPE, p=[0.3, 0.7, 0, 0][:levels] if levels < 4 else [0.1, 0.6, 0.2, 0.1])
    image = with_background(volume(head(air)))
    assert (image.background, image.oddities) == (0.0, ())


def test_a_skull_under_zeroed_air_is_taken_as_it_is() -> None:
    image = with_background(volume(head(np.zeros(SHAPE))))
    assert (image.background, image.oddities) == (0.0, ())
    np.testing.assert_array_equal(brain_of([image]), ball(0.95))


def test_a_brain_that_fills_the_border_has_no_background() -> None:
    data = np.random.default_rng(0).normal(500, 100, SHAPE)
    assert with_background(volume(data)).oddities == ()
    assert brain(data).all()


def test_a_box_at_the_edge_of_the_brain_still_shows_its_background() -> None:
    data = stripped(-1.0, radius=1.0)
    filled = [np.flatnonzero(ball(1.0).any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    box = tuple(slice(line[0], line[-1] + 1) for line in filled)
    np.testing.assert_array_equal(brain(data[box]), ball(1.0)[box])


def test_a_constant_image_is_left_to_the_check() -> None:
    image = with_background(volume(np.full(SHAPE, 7.0)))
    assert (image.background, image.oddities) == (0.0, ())


def test_a_mask_from_a_file_and_no_brain_at_all() -> None:
    images = [volume(stripped(0.0))]
    assert brain_of(images, "none").all()
    mask = ball(0.4)
    np.testing.assert_array_equal(brain_of(images, "file", mask), mask)
    with pytest.raises(DataError, match=r"brain mask for scans of \(20, 24, 16\) voxels, found none"):
        brain_of(images, "file")
    with pytest.raises(DataError, match=r"found \(20, 24, 15\) voxels"):
        brain_of(images, "file", mask[..., 1:])
    with pytest.raises(DataError, match="found an empty one"):
        brain_of(images, "file", np.zeros(SHAPE, bool))


@pytest.mark.parametrize("outside", [-1.0, -900.0, np.nan])
def test_check_and_prepare_see_the_same_brain_as_with_zeros(tmp_path: Path, outside: float) -> None:
    """z-scored files, in which the value that was 0 is another one."""
    plain = make_case(tmp_path / "plain")
    moved = {kind: np.where(scan(k) == 0, outside, scan(k) - 500.0).astype("f4") for k, kind in enumerate(SEQUENCES)}
    zeros = {kind: np.where(scan(k) == 0, 0, scan(k) - 500.0).astype("f4") for k, kind in enumerate(SEQUENCES)}
    odd = make_case(tmp_path / "odd", volumes=moved)
    even = make_case(tmp_path / "even", volumes=zeros)
    told = [finding for finding in check_case(odd, Data()) if finding.what == "background is not 0"]
    assert len(told) == 4
    assert not [finding for finding in check_case(odd, Data()) if finding.severity == "error"]
    assert "background is not 0" not in {finding.what for finding in check_case(plain, Data())}
    found, expected = (
        prepare({sequence: read_scan(case, sequence) for sequence in SEQUENCES}, None, (1.0, 1.0, 1.0), 0, cavity=False)
        for case in (odd, even)
    )
    assert found.entry.box == expected.entry.box
    np.testing.assert_array_equal(found.image, expected.image)
