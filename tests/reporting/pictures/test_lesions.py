import itertools
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from mets3d.evaluation.lesions import lesion_scores
from mets3d.reporting.pictures.lesion_picture import important, lesion_picture
from mets3d.reporting.pictures.lesion_planes import Lesion
from mets3d.reporting.pictures.lesion_svg import COLOURS, MOST_NUMBERS, in_mm3, lesions_svg, placed
from mets3d.reporting.pictures.slices import CaseVolumes, radiological

SVG = "{http://www.w3.org/2000/svg}"
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


def drawn(picture, run=""):
    root = ET.fromstring(lesions_svg("CASE", picture, run))
    panels = [panel for panel in root.findall(f"{SVG}svg") if panel.find(f"{SVG}image") is not None]
    return root, panels


def coloured(panel, kind):
    return [
        path for path in panel.findall(f"{SVG}path") if path.get("stroke") == COLOURS[kind] and path.get("d")[-1] == "Z"
    ]


def texts(element):
    return [text.text for text in element.findall(f"{SVG}text")]


def test_one_found_one_missed_one_false():
    picture = lesion_picture(volumes(*one_of_each()), "run", rules=RULES)
    assert [(lesion.number, lesion.kind) for lesion in picture.lesions] == [(1, "found"), (2, "missed"), (3, "false")]
    assert [lesion.volume_mm3 for lesion in picture.lesions] == [96, 27, 8]
    assert picture.lesions[0].dice == pytest.approx(2 * 72 / (96 + 72))
    root, panels = drawn(picture)
    assert len(panels) == 3 + 3
    for panel, kind, dashes in zip(
        panels[3:], ("found", "missed", "false"), ([False, True], [False], [True]), strict=True
    ):
        lines = coloured(panel, kind)
        assert sorted(bool(line.get("stroke-dasharray")) for line in lines) == dashes
        assert not [line for other in COLOURS if other != kind for line in coloured(panel, other)]
    shown = texts(root)
    assert shown[0] == "CASE, lesions of ET"
    assert shown[1:10] == [
        *("1", "found", "96 mm³, Dice 0.86"),
        *("2", "missed", "27 mm³, Dice 0.00"),
        *("3", "false", "8.0 mm³, Dice 0.00"),
    ]
    for meaning in (
        "found (true positive)",
        "missed (false negative)",
        "false (false positive)",
        "reference",
        "prediction",
    ):
        assert meaning in shown


def test_the_maps_number_every_lesion_at_its_place():
    picture = lesion_picture(volumes(*one_of_each()), "run", rules=RULES)
    _, panels = drawn(picture)
    # middles of the boxes; columns run from the patient's right (high X), rows from anterior (high Y) or superior
    middles = {"1": (22.5, 21.5, 11.5), "2": (61, 51, 26), "3": (40.5, 60.5, 30.5)}
    for plane, panel, row_axis in ((picture.overviews[1], panels[1], 1), (picture.overviews[2], panels[2], 2)):
        assert {text for text in texts(panel) if text.isdigit()} == {"1", "2", "3"}
        scale = float(panel.get("width")) / plane.frame.columns
        leaders = [path for path in panel.findall(f"{SVG}path") if path.get("stroke-width") == "0.9"]
        ends = {}
        for path in leaders:
            start_x, start_y, x, y = (float(value) for value in re.findall(r"[\d.]+", path.get("d")))
            number = min(
                (text for text in panel.findall(f"{SVG}text") if text.text.isdigit()),
                key=lambda text: abs(float(text.get("x")) - start_x) + abs(float(text.get("y")) - 3.6 - start_y),
            )
            ends[number.text] = (x / scale + plane.frame.column, y / scale + plane.frame.row, path.get("stroke"))
        for number, middle in middles.items():
            column, row = SHAPE[0] - middle[0] - 0.5, SHAPE[row_axis] - middle[row_axis] - 0.5
            assert ends[number][:2] == pytest.approx((column, row), abs=0.05)
        assert {number: end[2] for number, end in ends.items()} == {
            "1": COLOURS["found"],
            "2": COLOURS["missed"],
            "3": COLOURS["false"],
        }


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
    assert drawn(false)[1]


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
    assert "too small to count" in texts(drawn(picture)[0])


def test_the_most_important_lesions_are_missed_false_and_large_ones():
    kinds = ("found", "found", "missed", "found", "false", "missed")
    lesions = [
        Lesion(number, kind, volume, 0.5, (0, 0, 0))
        for number, (kind, volume) in enumerate(zip(kinds, (500, 10, 3, 90, 4, 5), strict=True), 1)
    ]
    assert [lesion.number for lesion in important(lesions, 2)] == [5, 6]
    assert [lesion.number for lesion in important(lesions, 4)] == [1, 3, 5, 6]
    assert important(lesions, 10) == lesions


def test_lesions_without_a_tile_are_counted():
    picture = lesion_picture(volumes(*one_of_each()), "run", rules=RULES, most=1)
    assert [lesion.kind for lesion, _ in picture.tiles] == ["missed"]
    said = texts(drawn(picture)[0])[-1]
    assert "the 1 most important of 3 lesions" in said
    assert said.endswith("2 lesions left out: 1 found, 1 false.")


@pytest.mark.parametrize("amount", [1, 15, 45])
def test_numbers_on_a_map_do_not_overlap(amount):
    rng = np.random.default_rng(amount)
    discs = [
        ((float(x), float(y)), float(reach))
        for x, y, reach in zip(*rng.uniform((60, 60, 1), (300, 300, 9), (amount, 3)).T, strict=True)
    ]
    radii = [7.5 if number < 99 else 8.5 for number in range(amount)]
    places = placed(discs, radii, 354.7)
    for (first, a), (second, b) in itertools.combinations(zip(places, radii, strict=True), 2):
        assert np.hypot(first[0] - second[0], first[1] - second[1]) >= a + b
    for x, y in places:
        assert 7.5 <= x <= 354.7 - 7.5
        assert 22 <= y <= 354.7 - 7.5  # the title is above


@pytest.mark.parametrize(
    ("middle", "text"),  # left, top, right, bottom of what is written there
    [
        ((30.0, 177.0), (0, 168, 18, 186)),  # R
        ((325.0, 177.0), (337, 168, 355, 186)),  # L
        ((180.0, 34.0), (0, 0, 355, 20)),  # title
        ((300.0, 318.0), (255, 326, 345, 347)),  # scale bar
    ],
)
def test_numbers_keep_clear_of_what_is_written(middle, text):
    ((x, y),) = placed([(middle, 4.0)], [7.5], 354.7)
    left, top, right, bottom = text
    assert x + 7.5 <= left or x - 7.5 >= right or y + 7.5 <= top or y - 7.5 >= bottom


def test_more_lesions_than_numbers_fit():
    reference = np.zeros((90, 90, 40), np.uint8)
    reference[6:84:10, 6:84:10, 8:12] = reference[7:84:10, 6:84:10, 8:12] = 3
    amount = 64
    picture = lesion_picture(volumes(reference, reference * 0), "run", rules=RULES)
    assert len(picture.lesions) == amount
    root, panels = drawn(picture)
    assert len([text for text in texts(panels[1]) if text.isdigit()]) == MOST_NUMBERS
    assert f"Of {amount} lesions, the maps number the {MOST_NUMBERS} most important." in texts(root)


def test_names_are_escaped():
    root = ET.fromstring(lesions_svg("A & <B>", lesion_picture(volumes(*one_of_each()), "run", rules=RULES), "<run>"))
    assert root.find(f"{SVG}title").text == "A & <B>, lesions of ET, run <run>"


def test_volumes_in_words():
    assert [in_mm3(value) for value in (0.96, 9.94, 9.96, 1234.5)] == ["1.0 mm³", "9.9 mm³", "10 mm³", "1,234 mm³"]


# Machado, Oliveira and Fernandes, IEEE TVCG 15:1291, 2009: severity 1.0.
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


@pytest.mark.parametrize("vision", VISION)
def test_the_three_colours_differ_for_every_reader_and_from_black(vision):
    seen = [lab(np.array(VISION[vision]) @ linear(COLOURS[kind])) for kind in ("found", "missed", "false")]
    for one, other in itertools.combinations([*seen, lab(np.zeros(3))], 2):
        assert np.linalg.norm(one - other) > 28  # CIE 1976; about 2 is the least that is seen


def linear(colour):
    values = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    matrix = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    x, y, z = np.array(matrix) @ rgb.clip(0, 1) / (0.95047, 1, 1.08883)
    fx, fy, fz = (np.cbrt(value) if value > 0.008856 else 7.787 * value + 16 / 116 for value in (x, y, z))
    return np.array([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)])
