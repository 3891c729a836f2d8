"""Patients as hard as the disease: what their labels and images promise."""

import numpy as np
import pytest
from scipy import ndimage

from mets3d.phantoms.mets import patient as mets
from mets3d.phantoms.mets.burden import BLOCK, lesion_count, lesion_volume, place_in_block
from mets3d.phantoms.synth import Phantom, phantom

SHAPE, SPACING = (104, 128, 100), (1.4, 1.4, 1.4)
COARSE, COARSE_SPACING = (40, 48, 40), (3.6, 3.6, 3.6)
TOUCHING = np.ones((3, 3, 3))


@pytest.fixture(scope="module")
def patient() -> Phantom:
    return phantom(3, MANY, SHAPE, SPACING, difficulty="mets")


def counts(seed: int, patients: int) -> list[int]:
    return [
        lesion_count(mets._stream(seed, index, mets.BURDEN), place_in_block(seed, index, BLOCK, mets.BY_COUNT))
        for index in range(patients)
    ]


MANY, NONE = int(np.argmax(counts(3, 20))), counts(3, 20).index(0)


def test_every_lesion_has_the_volume_that_was_drawn(patient: Phantom) -> None:
    """On voxels of 1.4 mm too, where most are a few voxels: none vanishes, none runs into another."""
    parts, found = ndimage.label(np.isin(patient.labels, (1, 3)), TOUCHING)
    streams = [mets._stream(3, MANY, mets.LESION, number, 0) for number in range(counts(3, 20)[MANY])]
    drawn = sorted(lesion_volume(stream, 100_000.0) for stream in streams)
    assert found == len(drawn) > 15
    voxels = sorted(np.bincount(parts.ravel())[1:])
    np.testing.assert_allclose(voxels, np.maximum(1, np.rint(np.array(drawn) / 1.4**3)), atol=1e-9)


def test_each_lesion_has_enhancing_tumour(patient: Phantom) -> None:
    parts, found = ndimage.label(np.isin(patient.labels, (1, 3)), TOUCHING)
    assert set(np.unique(parts[patient.labels == 3])) == set(range(1, found + 1))
    assert (patient.labels == 1).any()


def test_lesions_lie_in_the_brain_and_are_brighter_than_what_is_around(patient: Phantom) -> None:
    t1c, labels = patient.images["t1c"].astype(float), patient.labels
    assert (patient.images["t1c"][labels > 0] > 0).all()
    parts, found = ndimage.label(labels == 3, TOUCHING)
    ratios = []
    for number in range(1, found + 1):
        own = parts == number
        around = ndimage.binary_dilation(own, TOUCHING, 3) & (labels == 0) & (t1c > 0)
        ratios.append(t1c[own].mean() / np.median(t1c[around]))
    assert np.median(ratios) > 1.1
    assert min(ratios) < 1.25  # some are hardly seen
    assert np.percentile(ratios, 90) > 1.4


def test_it_depends_on_seed_index_grid_and_difficulty_alone() -> None:
    small, other, again = (phantom(3, index, COARSE, COARSE_SPACING, difficulty="mets") for index in (0, 1, 0))
    np.testing.assert_array_equal(small.labels, again.labels)
    for kind, image in small.images.items():
        np.testing.assert_array_equal(image, again.images[kind])
    easy = phantom(3, 0, COARSE, COARSE_SPACING)
    assert not np.array_equal(small.images["t1n"], other.images["t1n"])
    assert not np.array_equal(small.images["t1n"], easy.images["t1n"])


def test_one_in_twenty_has_no_metastasis() -> None:
    labels = phantom(3, NONE, COARSE, COARSE_SPACING, difficulty="mets").labels
    assert not np.isin(labels, (1, 3)).any()


def test_cavities_have_their_own_label() -> None:
    operated = [
        index
        for index in range(20)
        if (place_in_block(3, index, BLOCK, mets.BY_CAVITY) + mets._stream(3, index, mets.CAVITY).random()) / BLOCK
        < mets.CAVITIES
    ]
    assert 2 <= len(operated) <= 3
    patient = phantom(3, operated[0], COARSE, COARSE_SPACING, difficulty="mets")
    cavity = patient.labels == 4
    assert cavity.sum() * 3.6**3 > 400
    t1n = patient.images["t1n"]
    assert np.median(t1n[cavity]) < 0.8 * np.median(t1n[t1n > 0])


def test_a_small_field_of_view_gets_small_lesions() -> None:
    small = phantom(3, MANY, (48, 56, 46), (1.0, 1.0, 1.0), difficulty="mets")
    parts, found = ndimage.label(np.isin(small.labels, (1, 3)), TOUCHING)
    assert found > 5
    assert np.bincount(parts.ravel())[1:].max() < 100_000 * (1 / 2.8) ** 3
