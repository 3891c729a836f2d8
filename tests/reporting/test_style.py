"""The two themes of the page."""

from __future__ import annotations

import re

import pytest

from mets3d.data.describe_lesions import REGIONS
from mets3d.reporting.explore.chart import THEMED
from mets3d.reporting.rendering import asset

CSS = asset("style.css")
LIGHT = CSS.split("@media", maxsplit=1)[0]
DARK = CSS.split("@media (prefers-color-scheme: dark)")[1].split("}")[0]
PAPER = CSS.split("@media print")[1].split("}")[0]


def variables(theme: str) -> dict[str, str]:
    found = dict(re.findall(r"--([a-z]+): (#[0-9a-fA-F]{3,6})", LIGHT))
    return found if theme == "light" else found | dict(re.findall(r"--([a-z]+): (#[0-9a-fA-F]{3,6})", DARK))


def luminance(colour: str) -> float:
    """As WCAG 2.2 defines it."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    channels = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_formula_by_known_pairs():
    assert contrast("#000000", "#fff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read(theme):
    colours = variables(theme)
    for text, grounds in {
        "ink": ("paper", "tint", "note"),
        "soft": ("paper", "tint"),
        "link": ("paper", "note"),
        "warn": ("paper", "note"),
        "bad": ("paper",),
    }.items():
        for ground in grounds:
            assert contrast(colours[text], colours[ground]) >= 4.5, (theme, text, ground)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_drawings_can_be_seen(theme):
    colours = variables(theme)
    for line in ("bar", "ink", "soft"):
        assert contrast(colours[line], colours["paper"]) >= 3, (theme, line)
    # What a region's colour lacks on paper its edge has, which is drawn in `soft`.
    assert all(contrast(region.colour, colours["paper"]) >= 1.5 for region in REGIONS)


def test_every_colour_of_the_charts_has_a_variable_in_both_themes():
    assert set(THEMED.values()) <= set(variables("light"))
    assert set(variables("light")) - {"edge"} <= set(variables("dark"))
    changed = {name for name in variables("light") if variables("light")[name] != variables("dark")[name]}
    assert set(THEMED.values()) <= changed


def test_nothing_moves():
    assert not re.search("animation|transition|smooth", CSS)


def test_paper_has_the_light_theme_for_a_reader_of_the_dark_one():
    printed = dict(re.findall(r"--([a-z]+): (#[0-9a-fA-F]{3,6})", PAPER))
    assert set(printed) == set(variables("light"))
    assert printed | {"back": ""} == variables("light") | {"back": ""}  # no grey behind the sheet
