import numpy as np

from mets3d.regions import scored_regions
from mets3d.reporting.pictures.case_volumes import CaseVolumes
from mets3d.reporting.pictures.frames import radiological
from mets3d.reporting.pictures.slices import grey_levels, views

REGIONS = scored_regions()


def volumes(labels, predictions=None, *, reference=True, spacing_mm=(1.0, 1.0, 1.0)):
    image = np.full(labels.shape, 100, np.float32)
    image[0] = image[-1] = image[:, 0] = image[:, -1] = 0
    images = {"t2f": image, "t1c": image}
    return CaseVolumes("CASE", spacing_mm, images, labels if reference else None, predictions or {"run": labels})


def test_each_sequence_shows_the_slice_with_most_of_its_innermost_region():
    labels = np.zeros((30, 30, 12), np.uint8)
    labels[5:15, 5:15, 3] = 2  # most WT
    labels[5:10, 5:10, 6] = 3  # most ET
    labels[5:11, 5:11, 8] = 1  # most TC
    flair, contrast = views(volumes(labels), REGIONS)
    assert (flair.sequence, flair.index) == ("t2f", 3)
    assert (contrast.sequence, contrast.index) == ("t1c", 6)
    assert set(flair.reference) == {"WT"}
    assert set(contrast.reference) == {"TC", "ET"}
    assert flair.reference["WT"].sum() == 100
    assert contrast.predictions["run"]["ET"].sum() == 25

    labels[labels == 3] = 0
    assert views(volumes(labels), REGIONS)[1].index == 8  # no ET: the most TC
    labels[labels == 1] = 0
    assert views(volumes(labels), REGIONS)[1].index == 3  # no TC either: the most WT


def test_without_a_reference_the_predictions_choose_and_without_them_the_brain():
    empty, predicted = np.zeros((30, 30, 12), np.uint8), np.zeros((30, 30, 12), np.uint8)
    predicted[5:9, 5:9, 10] = 3
    for reference in (True, False):  # an empty one, and none
        view = views(volumes(empty, {"run": predicted}, reference=reference), REGIONS)[0]
        assert view.index == 10
        assert view.zoom is not None
    nothing = volumes(empty)
    nothing.images["t2f"][:, :, :7] = 0
    view = views(nothing, REGIONS)[0]
    assert (view.index, view.zoom) == (7, None)


def test_grey_levels_span_the_brains_percentiles():
    rng = np.random.default_rng(0)
    image = rng.normal(1000, 50, (20, 20, 8)).astype(np.float32)
    image[:4] = 0
    brain = image != 0
    low, high = np.quantile(image[brain], [0.005, 0.995])
    shown = grey_levels(image, brain, 5)
    inside = radiological(image[:, :, 5])
    assert (shown[radiological(~brain[:, :, 5])] == 0).all()
    middle = (inside > low + 1) & (inside < high - 1)
    assert np.abs(shown[middle] - (inside[middle] - low) / (high - low) * 255).max() <= 1
    assert (shown[inside >= high] == 255).all()


def test_negative_intensities_are_brain_too():
    image = np.array([-3.0, -1.0, 1.0, 3.0, 0.0], np.float32).reshape(5, 1, 1)
    shown = grey_levels(image, image != 0, 0)
    assert shown[0].tolist()[::-1][:4] == sorted(shown[0].tolist()[::-1][:4])
    assert shown[0, 1] > shown[0, 4]
