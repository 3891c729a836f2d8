import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from mets3d.reporting.pictures.lesion_numbers import COLOURS, COLUMN, LETTER, MOST_NUMBERS
from mets3d.reporting.pictures.lesion_picture import lesion_picture
from mets3d.reporting.pictures.lesion_svg import MAP, in_mm3, lesions_svg
from tests.reporting.pictures.test_lesion_picture import RULES, SHAPE, one_of_each, volumes

SVG = "{http://www.w3.org/2000/svg}"


def drawn(picture, run=""):
    root = ET.fromstring(lesions_svg("CASE", picture, run))
    panels = [panel for panel in root.findall(f"{SVG}svg") if panel.find(f".//{SVG}image") is not None]
    return root, panels


def coloured(panel, kind):
    return [
        path for path in panel.iter(f"{SVG}path") if path.get("stroke") == COLOURS[kind] and path.get("d")[-1] == "Z"
    ]


def texts(element):
    """What is written on a picture, or under the pictures where the element is the root."""
    inside = element.find(f"{SVG}g")
    return [text.text for text in (element if inside is None else inside).findall(f"{SVG}text")]


def test_one_found_one_missed_one_false():
    picture = lesion_picture(volumes(*one_of_each()), "run", rules=RULES)
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


def test_the_sides_stand_in_the_columns_below_every_number():
    picture = lesion_picture(volumes(*one_of_each()), "run", rules=RULES)
    _, panels = drawn(picture)
    for panel in panels[:3]:
        placed = {text.text: (float(text.get("x")), float(text.get("y"))) for text in panel.iter(f"{SVG}text")}
        assert -COLUMN < placed["R"][0] < 0
        assert MAP < placed["L"][0] < MAP + COLUMN
        for number in {"1", "2", "3"} & set(placed):
            assert placed[number][1] < MAP - LETTER < min(placed["R"][1], placed["L"][1]) < MAP


def test_the_maps_number_every_lesion_at_its_place():
    picture = lesion_picture(volumes(*one_of_each()), "run", rules=RULES)
    _, panels = drawn(picture)
    # middles of the boxes; columns run from the patient's right (high X), rows from anterior (high Y) or superior
    middles = {"1": (22.5, 21.5, 11.5), "2": (61, 51, 26), "3": (40.5, 60.5, 30.5)}
    for plane, panel, row_axis in ((picture.overviews[1], panels[1], 1), (picture.overviews[2], panels[2], 2)):
        numbers = [text for text in panel.iter(f"{SVG}text") if text.text.isdigit()]
        assert sorted(text.text for text in numbers) == ["1", "2", "3"]
        assert float(panel.get("width")) == pytest.approx(MAP + 2 * COLUMN, abs=0.1)
        scale = MAP / plane.frame.columns
        ends = {}
        for path in panel.iter(f"{SVG}path"):
            if path.get("stroke-width") != "0.9":
                continue
            start_x, start_y, x, y = (float(value) for value in re.findall(r"-?[\d.]+", path.get("d")))
            (number,) = (text for text in numbers if near(text, start_x, start_y))
            ends[number.text] = (x / scale + plane.frame.column, y / scale + plane.frame.row, path.get("stroke"))
        for number, middle in middles.items():
            column, row = SHAPE[0] - middle[0] - 0.5, SHAPE[row_axis] - middle[row_axis] - 0.5
            assert ends[number][:2] == pytest.approx((column, row), abs=0.05)
        assert {number: end[2] for number, end in ends.items()} == {
            "1": COLOURS["found"],
            "2": COLOURS["missed"],
            "3": COLOURS["false"],
        }


def near(text, x, y):
    return abs(float(text.get("x")) - x) < 0.11 and abs(float(text.get("y")) - 3.6 - y) < 0.11


def test_the_legend_explains_lesions_too_small_to_count_where_there_are_some():
    reference, prediction = one_of_each()
    reference[70, 20, 20] = 3
    picture = lesion_picture(volumes(reference, prediction), "run", rules=RULES)
    assert "too small to count" in texts(drawn(picture)[0])
    without = lesion_picture(volumes(*one_of_each()), "run", rules=RULES)
    assert "too small to count" not in texts(drawn(without)[0])


def test_lesions_without_a_tile_are_counted():
    picture = lesion_picture(volumes(*one_of_each()), "run", rules=RULES, most=1)
    assert [lesion.kind for lesion, _ in picture.tiles] == ["missed"]
    note = texts(drawn(picture)[0])[-1]
    assert "the 1 most important of 3 lesions" in note
    assert note.endswith("2 lesions left out: 1 found, 1 false.")


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
