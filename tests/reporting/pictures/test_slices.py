import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.image import imread

from mets3d.regions import scored_regions
from mets3d.reporting.pictures.slice_svg import case_svg
from mets3d.reporting.pictures.slices import (
    CaseVolumes,
    Frame,
    chosen_cases,
    grey_levels,
    radiological,
    views,
    whole_frame,
    zoom_frame,
)
from mets3d.reporting.pictures.svg import grey_png, outlines

REGIONS = scored_regions()
XLINK = "{http://www.w3.org/1999/xlink}href"
SVG = "{http://www.w3.org/2000/svg}"


def volumes(labels, predictions=None, *, reference=True, spacing_mm=(1.0, 1.0, 1.0)):
    image = np.full(labels.shape, 100, np.float32)
    image[0] = image[-1] = image[:, 0] = image[:, -1] = 0
    images = {"t2f": image, "t1c": image}
    return CaseVolumes("CASE", spacing_mm, images, labels if reference else None, predictions or {"run": labels})


def test_the_patients_right_is_on_the_left_and_anterior_is_up():
    plane = np.zeros((6, 4), int)
    plane[5, 3] = 1  # RAS: the highest X is right, the highest Y anterior
    plane[0, 0] = 2
    shown = radiological(plane)
    assert shown.shape == (4, 6)
    assert shown[0, 0] == 1
    assert shown[-1, -1] == 2


def test_frames_cut_beyond_the_image():
    shown = np.arange(12).reshape(3, 4)
    assert Frame(1, 1, 2, 2).cut(shown).tolist() == [[5, 6], [9, 10]]
    assert Frame(-1, 2, 3, 4).cut(shown).tolist() == [[0, 0, 0, 0], [2, 3, 0, 0], [6, 7, 0, 0]]
    assert not Frame(9, 9, 2, 2).cut(shown).any()


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


def test_the_whole_frame_holds_the_brain_in_a_square_of_mm():
    brain = np.zeros((60, 100), bool)
    brain[10:50, 20:80] = True
    frame = whole_frame(brain, (2.0, 1.0))  # 80 mm x 60 mm
    assert frame.rows * 2.0 == pytest.approx(84, abs=2)
    assert frame.columns == pytest.approx(84, abs=1)
    assert frame.row <= 10
    assert frame.row + frame.rows >= 50
    assert whole_frame(np.zeros((8, 8), bool), (1.0, 1.0)).rows >= 8


def test_the_zoom_is_as_close_as_the_lesion_allows():
    mask = np.zeros((200, 200), bool)
    mask[100:106, 40:46] = True
    near = zoom_frame(mask, (1.0, 1.0))
    assert (near.rows, near.columns) == (32, 32)
    assert near.row + 16 == 103
    assert near.column + 16 == 43
    mask[90:150, 40:100] = True  # 60 mm wide: fits into three quarters of 96 mm, not of 64 mm
    assert zoom_frame(mask, (1.0, 1.0)).rows == 96
    mask[:] = False
    mask[0, 0] = True  # at the image's corner
    assert zoom_frame(mask, (1.0, 2.0)) == Frame(-16, -8, 32, 16)


def test_the_zoom_goes_where_most_of_the_mask_is():
    mask = np.zeros((300, 300), bool)
    mask[20:24, 20:24] = True
    mask[200:210, 220:230] = True
    frame = zoom_frame(mask, (1.0, 1.0))
    assert frame.cut(mask).sum() == 100


def test_chosen_cases_are_the_best_the_middle_and_the_worst():
    dice = {f"c{rank:02d}": 1 - rank / 20 for rank in range(11)}
    assert chosen_cases(dice, list(dice)) == [
        *(("c00", "best"), ("c01", "rank 2 of 11"), ("c05", "rank 6 of 11, median"), ("c06", "rank 7 of 11")),
        *(("c09", "rank 10 of 11"), ("c10", "worst")),
    ]
    assert chosen_cases({"b": 0.2, "a": 0.1}, ["a", "b", "unscored"]) == [
        *(("b", "best"), ("a", "rank 2 of 3, median"), ("unscored", "")),
    ]
    assert chosen_cases({}, list("hgfedcba")) == [(name, "") for name in "abcdef"]
    assert chosen_cases({"a": 0.5}, ["a"]) == [("a", "")]
    assert len(chosen_cases(dice, list(dice), most=3)) == 3


# ---------------------------------------------------------------- drawing


def enclosed(loops):
    """Area inside closed loops by the shoelace formula; holes run the other way and count negative."""
    total = 0.0
    for loop in loops:
        for (r0, c0), (r1, c1) in zip(loop, [*loop[1:], loop[0]], strict=True):
            total += (c0 * r1 - c1 * r0) / 2
    return total


def test_outlines_by_hand():
    mask = np.zeros((4, 5), bool)
    mask[1:3, 1:4] = True
    (loop,) = outlines(mask)
    assert sorted(loop) == [(1, 1), (1, 4), (3, 1), (3, 4)]  # straight runs are one segment
    assert outlines(np.zeros((3, 3), bool)) == []
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    assert sorted(map(len, outlines(ring))) == [4, 4]
    assert enclosed(outlines(ring)) == 8


@settings(max_examples=60, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_outlines_enclose_exactly_the_mask(mask):
    loops = outlines(mask)
    assert enclosed(loops) == mask.sum()
    corners = {point for loop in loops for point in loop}
    assert all(0 <= row <= mask.shape[0] and 0 <= column <= mask.shape[1] for row, column in corners)


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (90, 64)])
def test_grey_png_is_read_back_exactly(shape):
    grey = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    assert (np.rint(imread(io.BytesIO(grey_png(grey))) * 255).astype(np.uint8) == grey).all()


def lesion_case(runs, spacing_mm=(1.0, 1.0, 1.0)):
    labels = np.zeros((80, 80, 10), np.uint8)
    labels[20:30, 40:50, 4] = 2
    labels[22:26, 42:46, 4] = 3
    return volumes(labels, dict.fromkeys(runs, labels), spacing_mm=spacing_mm)


def panels_of(svg):
    return [panel for panel in ET.fromstring(svg).findall(f"{SVG}svg") if panel.find(f"{SVG}image") is not None]


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
