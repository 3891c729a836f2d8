"""Label maps as people draw them."""

import numpy as np
import pytest
from scipy import ndimage

from mets3d.phantoms.annotation import annotated

SHAPE = (60, 60, 40)


def truth() -> np.ndarray:
    """A tumour with core and oedema, and 20 small ones of 8 voxels."""
    labels = np.zeros(SHAPE, dtype=np.uint8)
    distance = np.linalg.norm(np.indices(SHAPE) - np.array([30, 42, 20])[:, None, None, None], axis=0)
    for radius, label in ((14, 2), (9, 3), (5, 1)):
        labels[distance < radius] = label
    for x in range(4, 54, 5):
        labels[x : x + 2, 4:6, 10:12] = labels[x : x + 2, 14:16, 30:32] = 3
    return labels


def drawn(noise: float, seed: int = 0, brain: np.ndarray | None = None) -> np.ndarray:
    whole = np.ones(SHAPE, dtype=bool) if brain is None else brain
    return annotated(np.random.default_rng(seed), truth(), whole, (1.0, 1.0, 1.0), noise)


def test_no_noise_is_the_truth() -> None:
    np.testing.assert_array_equal(drawn(0), truth())


def test_boundaries_are_off_by_a_voxel_at_most_over_the_share_that_was_asked_for() -> None:
    true = np.isin(truth(), (1, 3))
    large = ndimage.label(true, np.ones((3, 3, 3)))[0] == ndimage.label(true, np.ones((3, 3, 3)))[0][30, 42, 20]
    inner, outer = large & ~ndimage.binary_erosion(large), ndimage.binary_dilation(large) & ~large
    for noise in (0.3, 1.0):
        found = [np.isin(drawn(noise, seed), (1, 3)) for seed in range(3)]
        for core in found:
            changed = (core != true) & (ndimage.binary_dilation(large, iterations=3))
            assert not (changed & ~inner & ~outer).any()
        lost = np.mean([1 - core[inner].mean() for core in found])
        gained = np.mean([core[outer].mean() for core in found])
        assert noise / 2 - 0.12 < lost < noise / 2 + 0.12
        assert noise / 2 - 0.12 < gained < noise / 2 + 0.12


def test_small_tumours_are_left_out_and_no_other_vanishes() -> None:
    kept = [ndimage.label(drawn(0.5, seed)[:, :20] > 0)[1] for seed in range(5)]
    assert 6 < np.mean(kept) < 14  # of 20
    assert ndimage.label(drawn(1.0)[:, :20] > 0)[1] == 0
    thin = np.zeros(SHAPE, dtype=np.uint8)
    for x in range(4, 56, 6):
        for y in range(4, 56, 6):
            thin[x : x + 2, y : y + 2, 10:17] = 3  # 28 mm3, all of it boundary
    labels = annotated(np.random.default_rng(0), thin, np.ones(SHAPE, dtype=bool), (1.0, 1.0, 1.0), 1.0)
    parts, found = ndimage.label(thin)
    assert found == 81
    assert set(np.unique(parts[labels == 3])) >= set(range(1, 82))


def test_labels_stay_nested_and_in_the_brain() -> None:
    brain = np.ones(SHAPE, dtype=bool)
    brain[:, 50:] = False
    labels = drawn(0.6, 1, brain)
    assert not labels[~brain].any()
    assert set(np.unique(labels)) == {0, 1, 2, 3}
    assert (labels[truth() == 3] != 0).mean() > 0.5


@pytest.mark.parametrize("noise", [-0.1, 1.1, float("nan")])
def test_noise_is_a_share(noise: float) -> None:
    with pytest.raises(ValueError, match="annotation noise: expected a number from 0 to 1, found"):
        drawn(noise)
