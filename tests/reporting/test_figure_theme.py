"""The dark side of pictures, and pictures as addresses."""

import re
import xml.etree.ElementTree as ET
from urllib.parse import unquote

import pytest

from mets3d.reporting.charts.style import INK, RUN_COLOURS, panels
from mets3d.reporting.figure_theme import DARK, data_uri, with_dark_side
from tests.reporting.test_style import contrast, variables


def drawn():
    return panels(1, 1, lambda axes: axes[0].plot([0, 1], color=INK), height=2.0, across="x")


def test_what_is_light_in_a_chart_has_a_dark_side_that_can_be_seen():
    svg = drawn().decode()
    colours = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", svg.partition("</style>")[2]))
    assert {"#22272e", "#57606a", "#ffffff"} <= colours
    paper = DARK["#ffffff"]
    assert paper == variables("dark")["paper"]
    needed = {INK: 4.5, "#57606a": 4.5, "#8a919c": 3.0} | {colour.lower(): 3.0 for colour in RUN_COLOURS}
    for light, least in needed.items():
        assert contrast(DARK.get(light, light), paper) >= least, light
    assert f'[style*="fill: {INK}"]{{fill:{DARK[INK]}!important}}' in svg


def test_pictures_of_attributes_change_theirs():
    svg = with_dark_side('<svg xmlns="http://www.w3.org/2000/svg"><text fill="#57606a">a</text></svg>', attributes=True)
    style = ET.fromstring(svg)[0].text
    assert '[fill="#57606a"]{fill:#a4adb9}' in style
    assert style.startswith("@media (prefers-color-scheme: dark)")


@pytest.mark.parametrize("text", ['<svg a="1">\n%41 #b</svg>', "<svg>µ & '</svg>"])
def test_an_address_holds_the_whole_picture(text):
    address = data_uri(text)
    assert unquote(address.removeprefix("data:image/svg+xml,")) == text
    assert not re.search(r'[\n#"<>]', address)
