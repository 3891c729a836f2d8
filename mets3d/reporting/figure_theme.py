"""Gives a picture in SVG a dark side: read in a browser whose reader asks for dark, its ink and paper change places."""

from __future__ import annotations

from urllib.parse import quote

# Colours of light paper -> what stands for them on dark; hues that tell runs and regions apart stay.
DARK = {
    "#22272e": "#e6e9ee",  # ink
    "#57606a": "#a4adb9",  # soft
    "#6b7280": "#a4adb9",
    "#8a919c": "#6b7684",  # edges
    "#c9ced6": "#3d4650",  # faint lines
    "#e6e8ec": "#262d36",  # grid
    "#ffffff": "#13171c",  # paper
    "#eaf4ee": "#15261d",  # the better side of a forest plot
    "#000000": "#ffffff",  # the third run's colour
    "#0072b2": "#5aa9d6",
}
SAFE = " !$&'()*+,-./:;=?@[]^_`{|}~"  # within a data URI in a quoted attribute


def with_dark_side(svg: str, *, attributes: bool) -> str:
    """Adds the style sheet; colours are `attributes` of elements (`fill="#22272e"`), else in their style."""
    rules = "".join(_rule(kind, light, dark, attributes) for light, dark in DARK.items() for kind in ("fill", "stroke"))
    style = f"<style>@media (prefers-color-scheme: dark) {{{rules}}}</style>"
    start = svg.index(">", svg.index("<svg ")) + 1
    return f"{svg[:start]}{style}{svg[start:]}"


def data_uri(svg: str) -> str:
    """Returns the SVG as an address that holds it, a quarter smaller than in base64 where it is mostly numbers."""
    return f"data:image/svg+xml,{quote(svg, safe=SAFE)}"


def _rule(kind: str, light: str, dark: str, attributes: bool) -> str:
    if attributes:
        return f'[{kind}="{light}"]{{{kind}:{dark}}}'
    return f'[style*="{kind}: {light}"]{{{kind}:{dark}!important}}'
