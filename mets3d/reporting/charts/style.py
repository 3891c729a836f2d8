"""Sets the look of the page's diagrams: style, colours of runs, and panels drawn by matplotlib without a display."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mets3d.regions import Region
from mets3d.reporting.charts.compact import compact
from mets3d.reporting.figure_theme import with_dark_side
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import amount, shortened

# What Okabe and Ito's palette has left beside the regions' colours, then greys.
RUN_COLOURS = ("#0072B2", "#D55E00", "#000000", "#8C8C8C")
BITMAP_DPI = 150
MOST_INSIDE = 4  # runs of a legend inside a panel
INK, SOFT, FAINT = "#22272e", "#57606a", "#c9ced6"
MOST_DOTS = 5000  # in one path, of ten bytes each; more become a bitmap
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a919c",
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e8ec",
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": "#57606a",
    "ytick.color": "#57606a",
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: smaller, and it can be changed for a paper
    "svg.hashsalt": "mets3d",
}

Records = Sequence[RunRecord]
Cases = Sequence[str]
Coordinates = Sequence[float] | Float64[np.ndarray, " n"]


def panels(rows: int, columns: int, draw: Callable[[Sequence[Axes]], None], *, height: float, across: str) -> bytes:
    """Returns an SVG of 11.5 in x `height` with rows x columns axes that `draw` fills."""
    # Simplifying would drop lines without length, which are dots.
    with matplotlib.rc_context({**STYLE, "path.simplify": False}):
        figure = Figure(figsize=(11.5, height), layout=ConstrainedLayoutEngine(h_pad=0.1, w_pad=0.08))
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        draw(axes)
        figure.supxlabel(across, fontsize=8.5, color="#57606a")
        _lay_out(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", dpi=BITMAP_DPI, metadata={"Date": None})
    return with_dark_side(compact(buffer.getvalue()), attributes=False).encode()


def _lay_out(figure: Figure) -> None:
    """Lays the figure out once and for all; otherwise everything is drawn twice when it is saved."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")


def run_colours(amount: int) -> list[str]:
    """Returns a colour per run; of more than RUN_COLOURS has black for the first, then hues from blue to red."""
    if amount <= len(RUN_COLOURS):
        return list(RUN_COLOURS[:amount])
    hues = matplotlib.colormaps["turbo"](np.linspace(0.05, 0.95, amount - 1))
    return [INK, *(to_hex(hue) for hue in hues)]


def millimetres(axis: Axes, largest: float) -> None:
    """Makes the y axis linear up to 1 mm, then logarithmic.

    One penalty of some hundred mm must not flatten all other cases.
    """
    axis.set_yscale("symlog", linthresh=1.0, linscale=0.5)
    ticks = [tick for tick in (0, 1, 3, 10, 30, 100, 300) if tick <= largest * 1.3]
    axis.set_yticks(ticks, [str(tick) for tick in ticks])
    axis.set_yticks([], minor=True)
    axis.set_ylim(-0.15, largest * 1.4)


def logarithmic(axis: Axes) -> None:
    """Makes the x axis logarithmic with plain numbers: at the decades, and at 2 and 5 where it spans few of them."""
    axis.set_xscale("log")
    low, high = axis.get_xlim()
    few = high / low < 300
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,), numticks=20))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())


def legend_of_runs(axis: Axes, coloured: Sequence[tuple[RunRecord, str]], *others: Line2D) -> None:
    """Adds a legend with a line per run and `others`: in a panel, that of more than MOST_INSIDE runs above them all."""
    handles = [
        Line2D([], [], color=colour, linewidth=2, label=shortened(record.label, 32)) for record, colour in coloured
    ]
    if len(handles) <= MOST_INSIDE:
        axis.legend(handles=[*handles, *others], fontsize=7.5, loc="best")
        return
    figure = axis.get_figure(root=True)
    if figure is not None:
        figure.legend(handles=[*handles, *others], fontsize=7.5, loc="outside upper center", ncols=4)


def by_region(
    records: Records,
    there: Callable[[Region], bool],
    draw: Callable[[Axes, Region], None],
    across: str,
    finish: Callable[[Sequence[Axes]], None] | None = None,
) -> bytes | None:
    """Returns a panel for each region that is `there`, drawn by `draw`, then `finish` for all; None without any."""
    regions = [region for region in records[0].regions if there(region)]
    if not regions:
        return None

    def draw_all(axes: Sequence[Axes]) -> None:
        for axis, region in zip(axes, regions, strict=False):
            draw(axis, region)
        for axis in axes[len(regions) :]:
            axis.set_axis_off()
        if finish is not None:
            finish(axes)
        if len(records) > 1:
            legend_of_runs(axes[len(regions) - 1], coloured(records))

    return panels(1, max(len(regions), 2), draw_all, height=3.4, across=across)


def colours_of(records: Records, region: Region) -> list[str]:
    """Returns a colour for each run: the region's where there is one run, else the run's own."""
    return [region.colour] if len(records) == 1 else run_colours(len(records))


def coloured(records: Records) -> list[tuple[RunRecord, str]]:
    """Returns each run with its colour."""
    return list(zip(records, run_colours(len(records)), strict=True))


def dots(
    axis: Axes, x: Coordinates, y: Coordinates, colour: str, *, diameter: float = 4.1, alpha: float = 0.75
) -> None:
    """Draws dots of a diameter in points, as a line without length and with round ends at each place.

    That is drawn, and written as SVG, many times as fast as a marker each. Very many become a bitmap.
    """
    gap = np.full(len(x), np.nan)
    places, heights = (np.stack([values, values, gap], axis=1).ravel() for values in (x, y))
    axis.plot(
        places,
        heights,
        color=colour,
        linewidth=diameter,
        solid_capstyle="round",
        alpha=alpha,
        zorder=3,
        rasterized=len(x) > MOST_DOTS,
    )


def crosses(axis: Axes, x: Coordinates, y: Coordinates, colour: str) -> None:
    """Draws crosses as wide as dots."""
    axis.plot(x, y, "x", color=colour, markersize=4.1, markeredgewidth=1.1, alpha=0.75, zorder=3)


def from_to(amounts: Iterable[float]) -> str:
    """Writes what amounts there are: one where all are equal, else the lowest and the highest, as in 143–151."""
    known = sorted(set(amounts))
    return "–".join(dict.fromkeys((amount(known[0]), amount(known[-1]))))


def offset(place: int, amount: int, step: float) -> float:
    """Returns the position of the `place`-th of `amount` things relative to their middle."""
    return step * (place - (amount - 1) / 2)


def unit_interval(axis: Axes) -> None:
    """Sets the y axis from 0 to 1 with room for dots at both ends."""
    axis.set_ylim(-0.04, 1.04)
