"""Makes the SVG that matplotlib writes small: marks in a row become one path, and what nothing needs is left out."""

from __future__ import annotations

import re

from mets3d.reporting.charts.small_paths import POINT, number, repeated, small_path

METADATA = re.compile(r"<metadata>.*?</metadata>\s*|<!--.*?-->\s*", re.DOTALL)
FONT = re.compile(r"font-family: ([^;\"]*)(?:; )?")
PLACE = re.compile(r' (x|y)="([^"]*)"')
PATH = re.compile(r' d="([^"]*)"')
MARKER = re.compile(r'<path id="(m[0-9a-f]+)" d="([^"]*)"')
CIRCLE = re.compile(r"M0 ([\d.]+)C")
STRAIGHT = re.compile(r"[^A-KN-Ya-y]+")  # no command of a path but M, L and z
USE = re.compile(r' x="([^"]*)" y="([^"]*)" style')
ALIKE = re.compile(
    r'<use xlink:href="#(m[0-9a-f]+)" x="[^"]*" y="[^"]*" style="([^"]*)"/>\s*'
    r'(?:<use xlink:href="#\1" x="[^"]*" y="[^"]*" style="\2"/>\s*)+'
)
FILLED = re.compile(r"fill: (#[0-9a-f]{6})(?:; fill-opacity: ([\d.]+))?(?:; stroke: \1(?:; stroke-width: [\d.]+)?)?")
NAME = re.compile(r' id="([^"]*)"')
NAMED = re.compile(r'(?<=href="#)[^"]+|(?<=url\(#)[^)]+')
EMPTY_GROUP = re.compile(r"<g\b[^>]*/>\s*")
GROUP = re.compile(r"<g[ >][^<]*|</g>\s*")
LINES = re.compile(
    r'<path d="([^"]*)"((?: clip-path="[^"]*")? style="fill: none; stroke: [^"]*")/>\s*'
    r'(?:<path d="[^"]*"\2/>\s*)+'
)


def compact(svg: str) -> str:
    """Returns a picture that looks the same, without metadata.

    Filled round markers in a row become one path of points with round ends: ten bytes a dot in place of 100. Those of
    straight lines become one path too, and such with curves share their style. The font is named once, lines in a row
    that look alike become one, and groups and names that nothing needs are left out.
    """
    svg = _font_once(METADATA.sub("", svg))
    svg = PLACE.sub(lambda found: f' {found[1]}="{number(float(found[2]), 2)}"', svg)
    svg = PATH.sub(lambda found: f' d="{small_path(found[1])}"', svg)
    shapes = dict(MARKER.findall(svg))
    svg = ALIKE.sub(lambda found: _together(found[1], found[2], USE.findall(found[0]), shapes.get(found[1], "C")), svg)
    svg = LINES.sub(_one_line, _without_groups(_short_names(svg)))
    return re.sub(r">\s+<", ">\n<", svg)


def _font_once(svg: str) -> str:
    """Moves the font that the texts have in common to the picture; texts in another keep theirs."""
    found = FONT.search(svg)
    if found is None:
        return svg
    family = found[1]
    svg = FONT.sub(lambda own: "" if own[1] == family else own[0], svg)
    return svg.replace("<svg ", f'<svg font-family="{family}" ', 1)


def _together(marker: str, style: str, places: list[tuple[str, str]], shape: str) -> str:
    """Writes markers in a row anew; shape: the path of one."""
    points = [(float(x), float(y)) for x, y in places]
    circle, filled = CIRCLE.match(shape), FILLED.fullmatch(style)
    if circle and filled:
        opacity = f"; stroke-opacity: {filled[2]}" if filled[2] else ""
        stroke = f"stroke: {filled[1]}; stroke-width: {2 * float(circle[1]):g}; stroke-linecap: round{opacity}"
        return f'<path d="{repeated(points, POINT)}" style="fill: none; {stroke}"/>\n'
    if STRAIGHT.fullmatch(shape):
        return f'<path d="{repeated(points, shape)}" style="{style}"/>\n'
    own = "".join(f'<use xlink:href="#{marker}" x="{x}" y="{y}"/>' for x, y in places)
    return f'<g style="{style}">{own}</g>\n'


def _one_line(found: re.Match[str]) -> str:
    """Joins lines that look alike; where they are translucent, two of them that cross would no longer be seen twice."""
    if "opacity" in found[2]:
        return found[0]
    return f'<path d="{"".join(PATH.findall(found[0]))}"{found[2]}/>\n'


def _short_names(svg: str) -> str:
    """Gives what is referred to a short name, and takes the others' names away."""
    short = {name: f"n{place}" for place, name in enumerate(dict.fromkeys(NAMED.findall(svg)))}
    svg = NAME.sub(lambda found: f' id="{short[found[1]]}"' if found[1] in short else "", svg)
    return NAMED.sub(lambda found: short[found[0]], svg)


def _without_groups(svg: str) -> str:
    """Takes away the groups that have no attributes."""
    kept: list[bool] = []

    def written(found: re.Match[str]) -> str:
        if not found[0].startswith("</"):
            kept.append(not found[0].startswith("<g>"))
            return found[0] if kept[-1] else ""
        return found[0] if kept.pop() else ""

    return GROUP.sub(written, EMPTY_GROUP.sub("", svg))
