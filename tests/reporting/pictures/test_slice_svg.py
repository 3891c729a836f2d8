import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from mets3d.regions import scored_regions
from mets3d.reporting.pictures.slice_svg import case_svg
from mets3d.reporting.pictures.slices import views
from tests.reporting.pictures.test_slices import volumes

REGIONS = scored_regions()
SVG = "{http://www.w3.org/2000/svg}"


def lesion_case(runs, spacing_mm=(1.0, 1.0, 1.0)):
    labels = np.zeros((80, 80, 10), np.uint8)
    labels[20:30, 40:50, 4] = 2
    labels[22:26, 42:46, 4] = 3
    return volumes(labels, dict.fromkeys(runs, labels), spacing_mm=spacing_mm)


def panels_of(svg):
    return [
        panel
        for panel in ET.fromstring(svg).findall(f"{SVG}svg")
        if any(panel.find(f"{SVG}{kind}") is not None for kind in ("image", "use"))
    ]


def paths(panel, **wanted):
    keys = {key.replace("_", "-"): value for key, value in wanted.items()}
    return [path for path in panel.findall(f"{SVG}path") if all(path.get(key) == value for key, value in keys.items())]


def test_reference_is_solid_and_shaded_and_prediction_dashed():
    wt = REGIONS[0].colour
    svg = case_svg("CASE", views(lesion_case(["run"]), REGIONS), REGIONS, ["run"])
    whole, plain, reference, prediction = panels_of(svg)[:4]
    (solid,) = paths(reference, stroke=wt)
    assert solid.get("stroke-dasharray") is None
    assert paths(reference, fill=wt)
    (dashed,) = paths(prediction, stroke=wt)
    assert dashed.get("stroke-dasharray")
    assert paths(prediction, fill=wt)[0].get("stroke") is None
    assert not [path for path in plain.findall(f"{SVG}path") if path.get("stroke") == wt]
    assert sorted(bool(path.get("stroke-dasharray")) for path in paths(whole, stroke=wt)) == [False, True]


def test_an_enlarged_slice_is_held_once_and_shown_in_each_of_its_panels():
    panels = panels_of(case_svg("CASE", views(lesion_case(["a", "b"]), REGIONS), REGIONS, ["a", "b"]))
    for row, (whole, zoom, *others) in enumerate((panels[:5], panels[5:])):
        assert whole.find(f"{SVG}image").get("id") is None
        assert zoom.find(f"{SVG}image").get("id") == f"zoom{row}"
        held = [other.find(f"{SVG}use").get("{http://www.w3.org/1999/xlink}href") for other in others]
        assert held == 3 * [f"#zoom{row}"]


def test_two_runs_have_a_panel_each_and_neither_hides_the_whole_slice():
    svg = case_svg("CASE", views(lesion_case(["a", "b"]), REGIONS), REGIONS, ["a", "b"])
    panels = panels_of(svg)
    assert len(panels) == 2 * 5
    assert [bool(path.get("stroke-dasharray")) for path in paths(panels[0], stroke=REGIONS[0].colour)] == [False]
    for panel in panels[3:5]:
        assert len(paths(panel, stroke=REGIONS[0].colour)) == 1


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0), (0.5, 1.0, 4.0)])
def test_an_outline_lies_where_the_voxels_are_and_the_scale_bar_is_true(spacing_mm):
    case = lesion_case(["run"], spacing_mm)
    view = views(case, REGIONS)[0]
    svg = case_svg("CASE", [view], REGIONS, ["run"])
    whole = panels_of(svg)[0]
    side = float(whole.get("width"))
    wide, high = side / view.whole.columns, side / view.whole.rows
    assert wide / high == pytest.approx(spacing_mm[0] / spacing_mm[1], rel=0.02)
    (solid,) = (path for path in paths(whole, stroke=REGIONS[0].colour) if not path.get("stroke-dasharray"))
    numbers = [float(text) for text in re.findall(r"[\d.]+", solid.get("d"))]
    across, down = numbers[0::2], numbers[1::2]
    # X 20..29 of 80, right first: columns 50..59; Y 40..49 of 80, anterior first: rows 30..39
    assert min(across) == pytest.approx((50 - view.whole.column) * wide, abs=0.1)
    assert max(across) == pytest.approx((60 - view.whole.column) * wide, abs=0.1)
    assert min(down) == pytest.approx((30 - view.whole.row) * high, abs=0.1)
    assert max(down) == pytest.approx((40 - view.whole.row) * high, abs=0.1)
    bar = paths(whole, stroke="#fff")[0].get("d")
    start, end = bar.removeprefix("M").split()[0], bar.partition("H")[2]
    assert float(end) - float(start) == pytest.approx(50 / spacing_mm[0] * wide, abs=0.2)
    assert [text.text for text in whole.findall(f"{SVG}text")][:2] == ["R", "L"]


def test_names_are_escaped_in_figures():
    case = lesion_case(["<run>"])
    root = ET.fromstring(case_svg("A & <B>", views(case, REGIONS), REGIONS, ["<run>"]))
    assert root.find(f"{SVG}title").text == "A & <B>"
