"""Draws a chart by matplotlib as SVG that stands in the page itself: its text stays text, its colours follow the theme.

A chart is as wide as a telephone. On a wide screen several stand beside each other.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from mets3d.reporting.charts.style import FAINT, INK, SOFT, STYLE
from mets3d.reporting.explore.words import thousands
from mets3d.reporting.rendering import macro

WIDTH_IN, HEIGHT_IN = 4.5, 2.7  # 324 x 194 units, which are pixels where the page is as narrow as a telephone
MOST_COLUMNS = 160  # of a chart with a column per case; more cases share columns
FILL = "#0072B2"  # of what belongs to no region; the theme replaces it too

# Colours of the style that the page's theme replaces, by the variable of its style sheet.
THEMED = {INK: "ink", SOFT: "soft", FAINT: "line", "#8a919c": "edge", "#e6e8ec": "grid", FILL: "bar"}
OWN_STYLE: Any = {
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.labelsize": 10,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "patch.linewidth": 0.8,
}


def chart(
    key: str, draw: Callable[[Axes], None], *, title: str, alt: str, note: str = "", height: float = HEIGHT_IN
) -> Markup:
    """Returns a `<figure>`: the finding as its title, the drawing, and a note on how to read it.

    `key` is a word that no other chart of the page has; `alt` says what the drawing shows. All are text.
    """
    return framed(title, _inline(_svg(draw, height), key, alt), note)


def framed(title: str, drawing: Markup | None, note: str = "", kind: str = "chart") -> Markup:
    """Returns a `<figure>` of a drawing with its finding above and a note below; without one these alone."""
    return macro("framed", "chart.html", title, drawing or "", note, kind)


def charts(*figures: Markup | None) -> Markup | None:
    """Puts those charts that there are beside each other where there is room; None without any."""
    drawn = [figure for figure in figures if figure]
    two = len(drawn) in (2, 4)  # a row of three would leave one alone
    return macro("beside", "chart.html", drawn, two) if drawn else None


def whole_numbers(axis: Axis) -> None:
    """Puts ticks at whole numbers alone: there is no half case."""
    axis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))


def plain_numbers(axis: Axis) -> None:
    """Writes ticks of a logarithmic axis as numbers: the decades, and 2 and 5 where it spans few of them."""
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 300 else (1.0,), numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: thousands(value)))
    axis.set_minor_formatter(NullFormatter())


def _svg(draw: Callable[[Axes], None], height: float) -> str:
    """Returns the file that matplotlib writes."""
    with matplotlib.rc_context(STYLE), matplotlib.rc_context(OWN_STYLE):
        figure = Figure(figsize=(WIDTH_IN, height), layout=ConstrainedLayoutEngine(h_pad=0.02, w_pad=0.02))
        draw(figure.subplots())
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def _inline(svg: str, key: str, alt: str) -> Markup:
    """Turns a file of matplotlib's into an element of the page: own ids, the theme's colours, no metadata."""
    body = svg[svg.index("<svg ") :]
    for useless in (r"<metadata>.*?</metadata>", r"<!--.*?-->", r"<defs>\s*<style.*?</style>\s*</defs>"):
        body = re.sub(useless, "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r'(?<= id=")|(?<=href="#)|(?<=url\(#)', f"{key}-", body)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    for colour, variable in THEMED.items():
        body = re.sub(colour, f"var(--{variable})", body, flags=re.IGNORECASE)
    body = re.sub(r"(\d+\.\d\d)\d+", r"\1", body)
    view = re.search(r'viewBox="[^"]*"', body)
    start = f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(alt)}" {view[0] if view else ""}>'
    # Between elements a line break says nothing; within a path it separates numbers.
    return Markup(start + re.sub(r">\s+<", "><", body[body.index(">") + 1 :]).strip())
