"""Makes the SVG that matplotlib writes small: many dots become one path, numbers keep two decimals."""

from __future__ import annotations

import re

METADATA = re.compile(r"<metadata>.*?</metadata>\s*|<!--.*?-->\s*", re.DOTALL)
NUMBERS = re.compile(r' (d|x|y)="([^"]*)"')
DECIMALS = re.compile(r"(\.\d\d)\d+")
CIRCLE = re.compile(r'<path id="(m[0-9a-f]+)" d="M 0 ([\d.]+) C[^"]*"')
USE = re.compile(r' x="([^"]*)" y="([^"]*)" style')
ALIKE = re.compile(
    r'<use xlink:href="#(m[0-9a-f]+)" x="[^"]*" y="[^"]*" style="([^"]*)"/>\s*'
    r'(?:<use xlink:href="#\1" x="[^"]*" y="[^"]*" style="\2"/>\s*)+'
)
FILLED = re.compile(r"fill: (#[0-9a-f]{6})(?:; fill-opacity: ([\d.]+))?(?:; stroke: \1(?:; stroke-width: [\d.]+)?)?")


def compact(svg: str) -> str:
    """Returns a picture that looks the same, without metadata.

    Filled round markers in a row become one path of points with round ends: 15 bytes a dot in place of 100. Others in
    a row share their style.
    """
    svg = METADATA.sub("", svg)
    svg = NUMBERS.sub(lambda found: f' {found[1]}="{_numbers(found[2])}"', svg)
    radii = {marker: float(radius) for marker, radius in CIRCLE.findall(svg)}
    svg = ALIKE.sub(lambda found: _together(found[1], found[2], USE.findall(found[0]), radii.get(found[1])), svg)
    return re.sub(r">\s+<", ">\n<", svg)


def _numbers(text: str) -> str:
    return " ".join(DECIMALS.sub(r"\1", text).split())


def _together(marker: str, style: str, places: list[tuple[str, str]], radius: float | None) -> str:
    """Writes markers in a row anew; radius: of a circle."""
    filled = FILLED.fullmatch(style)
    if radius is None or filled is None:
        own = "".join(f'<use xlink:href="#{marker}" x="{x}" y="{y}"/>' for x, y in places)
        return f'<g style="{style}">{own}</g>\n'
    points = "".join(f"M{x} {y}h.01" for x, y in places)
    opacity = f"; stroke-opacity: {filled[2]}" if filled[2] else ""
    stroke = f"stroke: {filled[1]}; stroke-width: {2 * radius:g}; stroke-linecap: round{opacity}"
    return f'<path d="{points}" style="fill: none; {stroke}"/>\n'
