"""One case prepared and put back."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from mets3d.data import DataError
from mets3d.data.cases import SEQUENCES
from mets3d.data.nifti import ImageVolume, LabelVolume, read_labels
from mets3d.data.prepare import Prepared, prepare, put_back
from mets3d.data.reading import read_scan
from mets3d.data.stored_case import Entry
from tests.builders.cases import SHAPE, brain_box, make_case, scan, two_lesions

MM = (1.0, 1.0, 1.0)


def volumes(tmp_path: Path, **arguments: Any) -> tuple[list[ImageVolume], LabelVolume]:
    case = make_case(tmp_path, **arguments)
    assert case.labels is not None
    return [read_scan(case, sequence) for sequence in SEQUENCES], read_labels(case.labels)


def named(images: list[ImageVolume]) -> dict[str, ImageVolume]:
    return dict(zip(SEQUENCES, images, strict=True))


def prepared(
    tmp_path: Path, *, spacing: tuple[float, float, float] = MM, margin: int = 0, **arguments: Any
) -> Prepared:
    images, labels = volumes(tmp_path, **arguments)
    return prepare(named(images), labels, spacing, margin, False)


# ---------------------------------------------------------------- prepare


def test_crop_and_z_score(tmp_path: Path) -> None:
    result = prepared(tmp_path)
    images, labels = volumes(tmp_path)
    assert result.entry.box == ((2, 10), (2, 12), (2, 8))
    assert result.image.dtype == np.float16
    for channel, image in enumerate(images):
        inside = image.data[brain_box()].astype(np.float64)
        expected = (inside - inside.mean()) / inside.std()
        np.testing.assert_allclose(result.image[channel], expected, atol=2e-3)
        assert result.entry.mean[channel] == pytest.approx(inside.mean())
        assert result.entry.std[channel] == pytest.approx(inside.std())
    np.testing.assert_array_equal(result.labels, labels.labels[brain_box()])


def test_the_brain_is_where_any_sequence_is_not_zero(tmp_path: Path) -> None:
    wider = np.zeros(SHAPE, dtype=np.int16)
    wider[1, 5, 5] = -3
    result = prepared(tmp_path, volumes={"t2w": scan(0) + wider})
    assert result.entry.box[0] == (1, 10)
    outside = np.ones(result.image.shape[1:], dtype=bool)
    outside[1:] = False
    outside[0, 3, 3] = False
    assert (result.image[:, outside] == 0).all()
    assert (result.image[:, 0, 3, 3] != 0).all()
    brain = ~outside
    for channel in range(4):
        assert float(result.image[channel][brain].astype(np.float64).mean()) == pytest.approx(0, abs=2e-3)
        assert float(result.image[channel][brain].astype(np.float64).std()) == pytest.approx(1, abs=2e-3)


def test_margin_ends_at_the_volume(tmp_path: Path) -> None:
    assert prepared(tmp_path, margin=1).entry.box == ((1, 11), (1, 13), (1, 9))
    result = prepared(tmp_path, margin=5)
    assert result.entry.box == tuple((0, n) for n in SHAPE)
    assert (result.image[:, 0] == 0).all()


def test_resampled_size_and_brain(tmp_path: Path) -> None:
    result = prepared(tmp_path, spacing=(0.5, 1.0, 2.0))
    assert result.image.shape == (4, 16, 10, 3)
    assert result.labels is not None
    assert result.labels.shape == (16, 10, 3)
    assert result.entry.stored_shape == (16, 10, 3)
    assert result.entry.spacing_mm == MM


def test_resampled_values_stay_within_those_of_the_brain(tmp_path: Path) -> None:
    images, _ = volumes(tmp_path)
    result = prepared(tmp_path, spacing=(0.7, 0.8, 1.3))
    for channel, image in enumerate(images):
        values = result.image[channel].astype(np.float64) * result.entry.std[channel] + result.entry.mean[channel]
        assert values.min() > image.data[brain_box()].min() - 5
        assert values.max() < image.data[brain_box()].max() + 5


@pytest.mark.parametrize("cavity", [False, True])
def test_the_cavity_becomes_background_unless_wanted(tmp_path: Path, cavity: bool) -> None:
    labels = two_lesions()
    labels[7, 7, 5] = 4
    images, reference = volumes(tmp_path, volumes={"seg": labels})
    result = prepare(named(images), reference, MM, 0, cavity)
    assert result.labels is not None
    assert result.labels[5, 5, 3] == (4 if cavity else 0)
    assert int((result.labels == 1).sum()) == 1


def test_without_reference(tmp_path: Path) -> None:
    images, _ = volumes(tmp_path)
    assert prepare(named(images), None, MM, 0, False).labels is None


def test_what_cannot_be_prepared(tmp_path: Path) -> None:
    images, labels = volumes(tmp_path)
    zero = ImageVolume(np.zeros(SHAPE, dtype=np.float32), MM, images[0].affine, images[0].source)
    with pytest.raises(DataError, match="zeros in all sequences"):
        prepare(named([zero] * 4), labels, MM, 0, False)
    flat = ImageVolume((images[0].data != 0).astype(np.float32), MM, images[0].affine, images[0].source)
    with pytest.raises(DataError, match="is 1 everywhere in the brain"):
        prepare(named([*images[:3], flat]), labels, MM, 0, False)
    noise = np.random.default_rng(0).normal(size=flat.data.shape)
    for level, spread in ((4000.0, 0.01), (-3e-4, 1e-9), (1e30, 1e24)):  # as resampling rounds
        rounded = (flat.data * (level + spread * noise)).astype(np.float32)
        with pytest.raises(DataError, match=re.escape(f"is {level:g} everywhere in the brain")):
            prepare(named([*images[:3], replace(flat, data=rounded)]), labels, MM, 0, False)
    faint = (flat.data * (4000 + noise)).astype(np.float32)  # that varies, if little
    prepare(named([*images[:3], replace(flat, data=faint)]), labels, MM, 0, False)
    short = ImageVolume(images[0].data[:-1], MM, images[0].affine, images[0].source)
    with pytest.raises(DataError, match=r"one shape, found .*\(11, 14, 10\)"):
        prepare(named([*images[:3], short]), labels, MM, 0, False)


# ---------------------------------------------------------------- put back


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("spacing", [MM, (1.5, 1.0, 1.0)])
def test_values_that_are_not_finite_are_counted(tmp_path: Path, value: float, spacing: Any) -> None:
    images, labels = volumes(tmp_path)
    spoilt = images[1].data.copy()
    spoilt[3, 3, 3] = spoilt[6, 6, 6] = spoilt[0, 9, 6] = value  # the last one outside the brain
    images[1] = replace(images[1], data=spoilt)
    with pytest.raises(DataError, match=rf"^{SEQUENCES[1]} is NaN or infinite in 3 voxels"):
        prepare(named(images), labels, spacing, 0, False)


def test_put_back_is_exact_without_resampling(tmp_path: Path) -> None:
    result = prepared(tmp_path)
    probabilities = np.random.default_rng(0).random((3, *result.entry.stored_shape), dtype=np.float32)
    whole = put_back(probabilities, result.entry, outside=(1.0, 0.0, 0.25))
    assert whole.shape == (3, *SHAPE)
    np.testing.assert_array_equal(whole[(slice(None), *brain_box())], probabilities)
    assert (whole[0, :2] == 1).all()
    assert (whole[1, :2] == 0).all()
    assert (whole[2, :, :, -2:] == 0.25).all()


def test_labels_survive_preparing_and_putting_back(tmp_path: Path) -> None:
    """On a grid twice as fine every label comes back; the one-voxel lesion too."""
    result = prepared(tmp_path, spacing=(0.5, 0.5, 0.5))
    assert result.labels is not None
    channels = np.stack([result.labels == label for label in range(4)]).astype(np.float32)
    whole = put_back(channels, result.entry, outside=(1.0, 0.0, 0.0, 0.0))
    np.testing.assert_array_equal(whole.argmax(0), two_lesions())


WHOLE_SLICES = [
    *[(0.86, 0.86, 1.5), (1.17, 1.17, 1.5), (0.75, 0.75, 2.0), (0.5, 0.5, 1.0), (1.0, 1.0, 0.6), (0.49, 0.49, 0.6)],
    *[(0.47, 0.47, 5.5), (5.5, 0.47, 0.47), (0.9, 3.1, 0.9), (1.0, 1.0, 1.0), (2.0, 2.0, 2.0)],
]


@pytest.mark.parametrize("own", WHOLE_SLICES)
def test_in_plane_a_stored_label_map_comes_back_exactly(tmp_path: Path, own: tuple[float, float, float]) -> None:
    images, _ = volumes(tmp_path)
    images = [replace(image, spacing_mm=own) for image in images]
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[brain_box()] = np.random.default_rng(3).integers(0, 5, (8, 10, 6))
    reference = LabelVolume(labels, own, images[0].affine, images[0].source)
    result = prepare(named(images), reference, "in_plane", 1, True)
    assert result.labels is not None
    channels = np.stack([result.labels == label for label in range(5)]).astype(np.float32)
    whole = put_back(channels, result.entry, outside=(1.0, 0.0, 0.0, 0.0, 0.0))
    np.testing.assert_array_equal(whole.argmax(0), labels)
    np.testing.assert_array_equal((whole > 0.5).any(0), np.ones(SHAPE, dtype=bool))
    assert max(result.entry.stored_spacing_mm) <= max(1.0, sorted(own)[1])


def test_a_small_lesion_keeps_volume_and_place_at_one_millimetre(tmp_path: Path) -> None:
    """Of 8.9 mm3 on voxels of 0.86 x 0.86 x 1.5 mm, wherever it lies; and on the way back its Dice is above 0.7."""
    own = (0.86, 0.86, 1.5)
    shape = (60, 60, 40)
    source = volumes(tmp_path)[0][0].source
    image = np.zeros(shape, dtype=np.float32)
    image[2:-2, 2:-2, 2:-2] = np.random.default_rng(0).uniform(1, 2, (56, 56, 36))
    labels = np.zeros(shape, dtype=np.uint8)
    places = [slice(start, start + 2) for start in range(4, 36, 6)]
    for place in places:
        labels[place, place, place] = 3
    images = {"t1c": ImageVolume(image, own, np.eye(4), source)}
    reference = LabelVolume(labels, own, np.eye(4), source)
    result = prepare(images, reference, MM, 0, False)
    assert result.labels is not None
    numbers, count = ndimage.label(result.labels, np.ones((3, 3, 3)))
    assert count == len(places)
    assert all(8 <= size <= 12 for size in np.bincount(numbers.ravel())[1:])
    back = put_back((result.labels == 3)[None].astype(np.float32), result.entry)[0] > 0.5
    scores = []
    for place in places:
        near = tuple(slice(place.start - 2, place.stop + 2) for _ in range(3))
        found, real = back[near], labels[near] == 3
        scores.append(2 * np.count_nonzero(found & real) / (np.count_nonzero(found) + np.count_nonzero(real)))
    assert np.mean(scores) > 0.7
    assert result.survival is not None
    assert sum(row["kept"] for row in result.survival) == 3 * len(places)


def test_put_back_refuses_another_shape(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"stored grid \(8, 10, 6\), found \(8, 10, 7\)"):
        put_back(np.zeros((3, 8, 10, 7), dtype=np.float32), prepared(tmp_path).entry)


box_end = st.tuples(st.integers(0, 3), st.integers(4, 9))


@settings(deadline=None, max_examples=25)
@given(st.tuples(box_end, box_end, box_end), st.tuples(*[st.integers(1, 9)] * 3))
def test_a_constant_comes_back_constant(box: Any, stored: Any) -> None:
    entry = Entry((9, 9, 9), MM, box, stored, (0.0,), (1.0,))
    whole = put_back(np.full((1, *stored), 0.7, dtype=np.float32), entry)
    inside = np.zeros((9, 9, 9), dtype=bool)
    inside[tuple(slice(*ends) for ends in box)] = True
    np.testing.assert_allclose(whole[0][inside], 0.7, rtol=1e-5)
    assert (whole[0][~inside] == 0).all()
    assert Entry.from_json(entry.as_json()) == entry
