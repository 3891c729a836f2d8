"""Charts made small look the same."""

import io
import re
import xml.etree.ElementTree as ET

import numpy as np
from matplotlib.figure import Figure

from mets3d.reporting.charts.compact import compact

X, Y = np.linspace(0.1, 0.9, 40), np.linspace(0.9, 0.1, 40) ** 2


def drawn(**marks):
    figure = Figure(figsize=(4, 3))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.scatter(X, Y, s=16, **marks)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def test_dots_of_a_colour_are_one_path_at_their_places():
    before = drawn(color="#0072B2", alpha=0.75, linewidths=0)
    after = compact(before)
    ET.fromstring(after)
    assert len(before) - len(after) > 80 * len(X)
    (points,) = re.findall(r'<path d="((?:M[\d.]+ [\d.]+h.01)+)" style="([^"]*)"', after)
    assert points[1] == "fill: none; stroke: #0072b2; stroke-width: 4; stroke-linecap: round; stroke-opacity: 0.75"
    places = np.array(re.findall(r"M([\d.]+) ([\d.]+)", points[0]), float)
    np.testing.assert_allclose(places, np.stack([X * 4 * 72, (1 - Y) * 3 * 72], axis=1), atol=0.011)


def test_other_marks_stay_marks_and_share_their_style():
    after = compact(drawn(color="#0072B2", marker="x", linewidths=1.1))
    (group,) = [group for group in ET.fromstring(after).iter() if len(group) == len(X)]
    assert "stroke: #0072b2" in group.get("style")
    assert all(use.tag.endswith("use") and use.get("style") is None for use in group)


def test_numbers_of_transforms_are_left():
    svg = '<svg><g transform="scale(0.015625)"><path d="M 1.23456 2\nL 3.5 4.999999"/></g></svg>'
    assert compact(svg) == '<svg><g transform="scale(0.015625)"><path d="M 1.23 2 L 3.5 4.99"/></g></svg>'
