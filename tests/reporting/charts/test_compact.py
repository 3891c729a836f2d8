"""Charts made small look the same."""

import io
import re
import xml.etree.ElementTree as ET

import numpy as np
from matplotlib.figure import Figure

from mets3d.reporting.charts.compact import compact
from mets3d.reporting.charts.small_paths import number
from mets3d.reporting.charts.style import crosses, dots

X, Y = np.linspace(0.1, 0.9, 40), np.linspace(0.9, 0.1, 40) ** 2
PLACES = np.stack([X * 4 * 72, (1 - Y) * 3 * 72], axis=1)
HALF_A_DECIMAL = 0.0551  # and of the second, by which matplotlib's marks are rounded before


def drawn(draw):
    figure = Figure(figsize=(4, 3))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.set_axis_off()
    draw(axis)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def walked(path):
    """The places that a pen comes to, as (letter, x, y), read as the standard says: small letters are steps."""
    x = y = 0.0
    start, found = (x, y), []
    for letter, numbers in re.findall(r"([MmLlhz])([^MmLlhz]*)", path):
        values = [float(number) for number in re.findall(r"-?(?:\d+\.?\d*|\.\d+)", numbers)]
        if letter == "z":
            x, y = start
        elif letter == "h":
            x += values[0]
        else:
            x, y = (x + values[0], y + values[1]) if letter.islower() else values
        start = (x, y) if letter in "Mm" else start
        found.append((letter.upper(), x, y))
    return found


def the_path(svg, colour):
    """Steps and style of the one path in a colour."""
    svg = re.sub(r"<defs>.*?</defs>", "", svg, flags=re.DOTALL)
    ((path, style),) = re.findall(rf'<path d="([^"]*)"[^>]*? style="([^"]*stroke: {colour}[^"]*)"', svg)
    return walked(path), style


def test_dots_of_a_colour_are_one_path_at_their_places():
    svg = compact(drawn(lambda axis: dots(axis, X, Y, "#0072B2")))
    ET.fromstring(svg)
    steps, style = the_path(svg, "#0072b2")
    assert {"stroke-width: 4.1", "stroke-linecap: round", "stroke-opacity: 0.75"} <= set(style.split("; "))
    np.testing.assert_allclose([place for letter, *place in steps if letter == "M"], PLACES, atol=HALF_A_DECIMAL)
    assert [letter for letter, *_ in steps] == ["M", "H"] * len(X)
    assert (
        max(np.abs(np.subtract(one[1:], other[1:])).max() for one, other in zip(steps[::2], steps[1::2], strict=True))
        == 0
    )
    assert len(svg) < 1200 + 16 * len(X)


def test_markers_of_matplotlib_are_such_a_path_too():
    svg = compact(drawn(lambda axis: axis.scatter(X, Y, s=16, color="#0072B2", alpha=0.75, linewidths=0)))
    steps, style = the_path(svg, "#0072b2")
    assert style == "fill: none; stroke: #0072b2; stroke-width: 4; stroke-linecap: round; stroke-opacity: 0.75"
    np.testing.assert_allclose([place for letter, *place in steps if letter == "M"], PLACES, atol=HALF_A_DECIMAL)


def test_marks_of_straight_lines_are_one_path_with_each_at_its_place():
    svg = compact(drawn(lambda axis: crosses(axis, X, Y, "#0072B2")))
    assert "<use" not in svg
    steps, _ = the_path(svg, "#0072b2")
    strokes = [np.subtract(to[1:], start[1:]) for start, to in zip(steps[::2], steps[1::2], strict=True)]
    assert len(strokes) == 2 * len(X)
    assert np.allclose(np.abs(strokes), 4.1, atol=0.11), "as wide as high"
    middles = np.array([step[1:] for step in steps]).reshape(len(X), 4, 2).mean(axis=1)
    np.testing.assert_allclose(middles, PLACES, atol=2 * HALF_A_DECIMAL)


def test_marks_with_curves_stay_marks_and_share_their_style():
    svg = compact(drawn(lambda axis: axis.plot(X, Y, "o", markerfacecolor="none", color="#0072B2")))
    (group,) = [group for group in ET.fromstring(svg).iter() if len(group) == len(X)]
    assert "stroke: #0072b2" in group.get("style")
    assert all(use.tag.endswith("use") and use.get("style") is None for use in group)


def test_marks_without_a_place_leave_a_picture_that_can_be_read():
    figure = Figure()
    axis = figure.subplots()
    axis.plot([1.0, 2.0], [float("nan"), float("nan")], "o")
    axis.plot([1.0, 2.0], [1.0, 2.0], "o")
    stream = io.StringIO()
    figure.savefig(stream, format="svg")
    assert "/>" in stream.getvalue()
    ET.fromstring(compact(stream.getvalue()))


def test_a_long_line_goes_through_its_places_without_drift():
    steps, _ = the_path(compact(drawn(lambda axis: axis.plot(X, Y, color="#0072B2"))), "#0072b2")
    np.testing.assert_allclose([place for _, *place in steps], PLACES, atol=HALF_A_DECIMAL)
    assert [letter for letter, *_ in steps] == ["M", *"L" * (len(X) - 1)]


def test_short_paths_keep_two_decimals_and_transforms_all():
    svg = '<svg><g transform="scale(0.015625)"><path d="M 1.23456 2\nL 3.5 -0.996 z"/></g></svg>'
    assert compact(svg) == '<svg><g transform="scale(0.015625)"><path d="M1.23 2L3.5-1z"/></g></svg>'


def test_lines_that_look_alike_are_one_unless_they_are_translucent():
    line = '<path d="M 0 0 L 1 1" clip-path="url(#p12)" style="fill: none; stroke: #000000"/>\n'
    svg = compact(f'<svg><defs><clipPath id="p12"/></defs><g id="a"><g id="b">{line}</g>\n{line}</g></svg>')
    assert svg.count("<path") == 1
    assert "M0 0L1 1M0 0L1 1" in svg
    assert "<g" not in svg, "groups that nothing needs"
    (name,) = re.findall(r'<clipPath id="([^"]*)"', svg)
    assert f"url(#{name})" in svg
    thin = line.replace("#000000", "#000000; stroke-opacity: 0.5")
    assert compact(f"<svg>{thin}{thin}</svg>").count("<path") == 2


def test_the_font_is_named_once():
    text = "<text style=\"font-size: 9px; font-family: 'A', sans-serif; fill: #22272e\">a</text>"
    svg = compact(f'<svg width="1">{text}{text}</svg>')
    assert svg.count("font-family") == 1
    assert ET.fromstring(svg).get("font-family") == "'A', sans-serif"
    assert svg.count('style="font-size: 9px; fill: #22272e"') == 2


def test_whole_numbers_keep_their_zeros():
    assert [number(value, 0) for value in (0, 10, 100, -20)] == ["0", "10", "100", "-20"]
    assert [number(value, 2) for value in (10, 0.5, -0.25, 1.10, -0.001)] == ["10", ".5", "-.25", "1.1", "0"]
