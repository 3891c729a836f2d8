"""Statistics of a data set and the best single threshold."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from mets3d.data import DataError
from mets3d.data.fingerprint import best_threshold, collect, describe_case, dice_curve, thresholds
from mets3d.data.store import open_store
from mets3d.data.stored_case import Entry


def brute_force(image: np.ndarray, labels: np.ndarray, threshold: float) -> float:
    """Whole-volume Dice of t2f >= threshold inside the brain against labels 1, 2, 3."""
    predicted = (image[3].astype(np.float64) >= threshold) & (image != 0).any(0)
    truth = np.isin(labels, (1, 2, 3))
    total = predicted.sum() + truth.sum()
    return 1.0 if total == 0 else float(2 * (predicted & truth).sum() / total)


def test_the_threshold_is_the_best_of_all_by_brute_force(phantom_store: Path) -> None:
    store = open_store(phantom_store)
    arrays = {name: (store.read(name).image().numpy(), store.read(name).labels().numpy()) for name in store.cases}
    training, validation = store.cases[:4], store.cases[4:]
    result = best_threshold(store.fingerprint, training, validation)
    means = {t: np.mean([brute_force(*arrays[name], t) for name in training]) for t in thresholds()}
    assert result["training_dice"] == pytest.approx(max(means.values()))
    assert means[result["threshold"]] == pytest.approx(max(means.values()))
    expected = {name: brute_force(*arrays[name], result["threshold"]) for name in validation}
    assert result["per_case"] == pytest.approx(expected)
    assert result["validation_dice"] == pytest.approx(np.mean(list(expected.values())))
    assert (result["sequence"], result["region"]) == ("t2f", "WT")


def entry(shape: tuple[int, int, int]) -> Entry:
    box = ((0, shape[0]), (0, shape[1]), (0, shape[2]))
    return Entry(shape, (1.0, 1.0, 2.0), box, shape, (1.0, 2.0, 3.0, 4.0), (5.0, 6.0, 7.0, 8.0))


def random_case(seed: int, *, tumour: bool = True) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, (6, 5, 4)).astype(np.uint8) * tumour
    image = (rng.standard_normal((4, 6, 5, 4)) * 4 + (labels > 0)).astype(np.float16)
    image[:, :2] = 0
    return image, labels


@pytest.mark.parametrize("tumour", [True, False])
def test_dice_at_every_threshold_values_beyond_the_bins_included(tumour: bool) -> None:
    image, labels = random_case(3, tumour=tumour)
    assert image[3].min() < -4
    assert image[3].max() > 8
    row = describe_case(image, labels, entry((6, 5, 4)), cavity=False)
    expected = [brute_force(image, labels, t) for t in thresholds()]
    np.testing.assert_allclose(dice_curve(row["histogram"]), expected)


def test_nothing_there_and_nothing_predicted_is_perfect() -> None:
    image = np.full((4, 2, 2, 2), -5, dtype=np.float16)
    row = describe_case(image, np.zeros((2, 2, 2), dtype=np.uint8), entry((2, 2, 2)), cavity=False)
    assert (dice_curve(row["histogram"]) == 1).all()


def test_a_value_on_a_threshold_is_predicted() -> None:
    image = np.full((4, 1, 1, 2), -1, dtype=np.float16)
    image[3, 0, 0, 0] = 1.0
    labels = np.array([[[1, 0]]], dtype=np.uint8)
    curve = dice_curve(describe_case(image, labels, entry((1, 1, 2)), cavity=False)["histogram"])
    at = int(np.flatnonzero(np.isclose(thresholds(), 1.0))[0])
    assert (curve[at], curve[at + 1]) == (1, 0)


def test_a_row_measures_lesions_in_mm3() -> None:
    image, labels = random_case(1)
    labels[:] = 0
    labels[0, 0, 0], labels[3:5, 3, 3], labels[0, 4, 0] = 3, 1, 2
    row = describe_case(image, labels, entry((6, 5, 4)), cavity=False)
    volumes = {region: sorted(sizes) for region, sizes in row["lesion_volumes_mm3"].items()}
    assert volumes == {"WT": [2, 2, 4], "TC": [2, 4], "ET": [2]}
    assert row["mean"] == {"t1n": 1, "t1c": 2, "t2w": 3, "t2f": 4}


def test_the_data_set_in_numbers(phantom_store: Path) -> None:
    store = open_store(phantom_store)
    fingerprint = store.fingerprint
    counts = []
    for name in store.cases:
        labels = store.read(name).labels().numpy()
        counts.append(ndimage.label(labels == 3, np.ones((3, 3, 3)))[1])
    assert fingerprint["lesions"]["ET"]["lesions"] == sum(counts)
    assert fingerprint["lesions"]["ET"]["per_case_most"] == max(counts)
    assert fingerprint["lesions"]["ET"]["per_case_median"] == np.median(counts)
    assert fingerprint["median_shape"] == [40, 48, 36]
    assert fingerprint["median_spacing_mm"] == [4, 4, 4]
    means = [store.read(name).entry.mean[1] for name in store.cases]
    assert fingerprint["intensity"]["t1c"]["mean"] == pytest.approx(np.mean(means))


def test_no_lesion_at_all() -> None:
    image, labels = random_case(1, tumour=False)
    fingerprint = collect({"A": describe_case(image, labels, entry((6, 5, 4)), cavity=True)})
    assert fingerprint["lesions"]["RC"] == {
        "lesions": 0,
        "per_case_median": 0,
        "per_case_most": 0,
        "cases_without": 1,
        "volume_mm3_percentiles": {},
    }
    assert best_threshold(fingerprint, ["A"], [])["validation_dice"] is None


def test_cases_it_does_not_know(phantom_store: Path) -> None:
    store = open_store(phantom_store)
    with pytest.raises(DataError, match="no fingerprint of case X"):
        best_threshold(store.fingerprint, store.cases[:2], ["X"])
    with pytest.raises(DataError, match="needs a training case"):
        best_threshold(store.fingerprint, [], store.cases[:2])
