import numpy as np
import pytest

from mets3d.evaluation.lesions import lesion_scores
from mets3d.reporting.pictures.case_volumes import CaseVolumes
from mets3d.reporting.pictures.frames import radiological
from mets3d.reporting.pictures.lesion_picture import important, lesion_picture
from mets3d.reporting.pictures.lesion_planes import Lesion

SHAPE = (90, 80, 40)
RULES = "brats2023"


def volumes(reference, prediction, spacing_mm=(1.0, 1.0, 1.0), sequences=("t2f", "t1c")):
    image = np.zeros(reference.shape, np.float32)
    brain = (slice(2, -10), slice(12, -2), slice(4, -1))  # not in the middle, so that frames have an origin
    image[brain] = 100 + np.random.default_rng(0).normal(0, 5, image[brain].shape)
    image[reference == 3] = 220
    return CaseVolumes("CASE", spacing_mm, dict.fromkeys(sequences, image), reference, {"run": prediction})


def one_of_each():
    """Boxes: found (20..25, 20..23, 10..13), missed (60..62, 50..52, 25..27), false (40..41, 60..61, 30..31)."""
    reference, prediction = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    reference[20:26, 20:24, 10:14] = 3
    prediction[20:26, 20:23, 10:14] = 3
    reference[60:63, 50:53, 25:28] = 3
    prediction[40:42, 60:62, 30:32] = 3
    return reference, prediction


def test_lesions_are_numbered_and_measured():
    picture = lesion_picture(volumes(*one_of_each()), "run", rules=RULES)
    assert [(lesion.number, lesion.kind) for lesion in picture.lesions] == [(1, "found"), (2, "missed"), (3, "false")]
    assert [lesion.volume_mm3 for lesion in picture.lesions] == [96, 27, 8]
    assert picture.lesions[0].dice == pytest.approx(2 * 72 / (96 + 72))


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.5, 1.0, 3.0)])
def test_a_tile_is_centred_on_the_centroid_of_its_slice(spacing_mm):
    picture = lesion_picture(volumes(*one_of_each(), spacing_mm), "run", rules=RULES)
    for (lesion, tile), (x, y, z) in zip(
        picture.tiles, ((22.5, 21.5, 11.5), (61, 51, 26), (40.5, 60.5, 30.5)), strict=True
    ):
        assert lesion.centre == pytest.approx((x, y, z))
        assert abs(tile.frame.row + tile.frame.rows / 2 - (SHAPE[1] - y - 0.5)) <= 0.5
        assert abs(tile.frame.column + tile.frame.columns / 2 - (SHAPE[0] - x - 0.5)) <= 0.5
        assert (tile.frame.rows, tile.frame.columns) == (32 / spacing_mm[1], 32 / spacing_mm[0])
        assert int(tile.title.removeprefix("slice ")) - 1 in (np.floor(z), np.ceil(z))


@pytest.mark.parametrize(("width", "side"), [(24, 32), (26, 48), (38, 64), (60, 64)])
def test_the_tile_is_as_large_as_the_lesion_needs(width, side):
    reference = np.zeros(SHAPE, np.uint8)
    reference[10 : 10 + width, 30:34, 10:14] = 3
    picture = lesion_picture(volumes(reference, reference), "run", rules=RULES)
    assert picture.tiles[0][1].frame.rows == side


def test_a_lesion_without_a_voxel_in_its_centroids_slice_is_shown_in_the_nearest_that_has():
    reference = np.zeros(SHAPE, np.uint8)
    reference[20:30, 20:24, 10] = reference[20:30, 20:24, 12] = 3  # one lesion by the rules, its centroid between
    picture = lesion_picture(volumes(reference, reference * 0), "run", rules=RULES)
    ((lesion, tile),) = picture.tiles
    assert lesion.centre[2] == 11
    assert tile.title == "slice 11"  # counted from 1: index 10
    assert any(layer.subject and layer.mask.sum() == 40 for layer in tile.layers)


def test_numbers_are_those_of_the_table():
    rng = np.random.default_rng(5)
    reference, prediction = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    for labels in (reference, prediction):
        for _ in range(12):
            x, y, z = (int(rng.integers(4, size - 8)) for size in SHAPE)
            labels[x : x + rng.integers(1, 5), y : y + rng.integers(1, 5), z : z + rng.integers(1, 5)] = 3
    picture = lesion_picture(volumes(reference, prediction, (1.0, 0.9, 1.2)), "run", rules=RULES, most=100)
    table = [row for row in lesion_scores(prediction, reference, (1.0, 0.9, 1.2)).lesions if row["region"] == "ET"]
    assert [(row["lesion"], row["kind"]) for row in table] == [(item.number, item.kind) for item in picture.lesions]
    for row, lesion in zip(table, picture.lesions, strict=True):
        assert lesion.volume_mm3 == row["prediction_volume_mm3" if row["kind"] == "false" else "reference_volume_mm3"]
        assert lesion.dice == row["dice"]
    assert [item.number for item, _ in picture.tiles] == [row["lesion"] for row in table if row["kind"] != "ignored"]


def test_the_fullest_slice_and_the_projections():
    reference, prediction = one_of_each()
    reference[26, 20, 12] = 3
    case = volumes(reference, prediction)
    whole, axial, coronal = lesion_picture(case, "run", rules=RULES).overviews
    assert whole.title == "t1c, axial slice 13 of 40, most ET"
    assert axial.grey.shape == (SHAPE[1], SHAPE[0])
    assert coronal.grey.shape == (SHAPE[2], SHAPE[0])
    brightest = np.unravel_index(radiological(case.images["t1c"].max(axis=2)).argmax(), axial.grey.shape)
    assert axial.grey[brightest] == 255
    assert {mark.lesion.number for mark in whole.marks} == {1}


def test_without_et_the_tumour_core_is_shown_and_without_that_the_whole_tumour_on_t2f():
    reference, prediction = one_of_each()
    for label, region, sequence in ((1, "TC", "t1c"), (2, "WT", "t2f")):
        picture = lesion_picture(
            volumes(np.where(reference, label, 0).astype(np.uint8), prediction), "run", rules=RULES
        )
        assert (picture.region.name, picture.sequence) == (region, sequence)
    false = lesion_picture(volumes(reference * 0, prediction), "run", rules=RULES)
    assert false.region.name == "ET"
    assert {lesion.kind for lesion in false.lesions} == {"false"}


def test_no_picture_without_a_reference_or_without_a_tumour():
    reference, prediction = one_of_each()
    case = volumes(reference, prediction)
    assert (
        lesion_picture(CaseVolumes("C", (1, 1, 1), case.images, None, {"run": prediction}), "run", rules=RULES) is None
    )
    assert lesion_picture(volumes(reference * 0, prediction * 0), "run", rules=RULES) is None


def test_lesions_too_small_to_count_are_on_the_maps_alone():
    reference, prediction = one_of_each()
    reference[70, 20, 20] = 3
    picture = lesion_picture(volumes(reference, prediction), "run", rules=RULES)
    small = next(lesion for lesion in picture.lesions if lesion.kind == "ignored")
    assert small not in [lesion for lesion, _ in picture.tiles]
    assert small in [mark.lesion for mark in picture.overviews[1].marks]
    assert picture.left_out == ()


def test_the_most_important_lesions_are_missed_false_and_large_ones():
    kinds = ("found", "found", "missed", "found", "false", "missed")
    lesions = [
        Lesion(number, kind, volume, 0.5, (0, 0, 0))
        for number, (kind, volume) in enumerate(zip(kinds, (500, 10, 3, 90, 4, 5), strict=True), 1)
    ]
    assert [lesion.number for lesion in important(lesions, 2)] == [5, 6]
    assert [lesion.number for lesion in important(lesions, 4)] == [1, 3, 5, 6]
    assert important(lesions, 10) == lesions
