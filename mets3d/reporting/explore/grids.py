"""Writes the section on grids: voxel sizes, shapes, orientations, and the size of brains."""

from __future__ import annotations

import math
from collections import Counter
from html import escape

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mets3d.data.describe import DataSet
from mets3d.data.describe_case import CaseNumbers
from mets3d.data.describe_summary import amounts, outliers, spread
from mets3d.ops.voxels import Spacing
from mets3d.reporting.charts.style import INK, SOFT
from mets3d.reporting.explore.chart import chart, charts
from mets3d.reporting.explore.tables import kinds_table
from mets3d.reporting.explore.words import millimetres_text, names_text, shape_text, share_text, short, spread_text
from mets3d.reporting.sentences import count

ANISOTROPIC = 1.05  # longest side of a voxel over its shortest
FILL = "#0072B2"
MILLION = 1e6


def grids_section(data: DataSet) -> str:
    """Writes voxel sizes, shapes and orientations as charts and tables; empty where no scan could be read."""
    cases = [case for case in data.cases if case.spacing_mm is not None]
    if not cases:
        return ""
    spacings = amounts(millimetres_text(case.spacing_mm or ()) for case in cases)
    shapes = amounts(shape_text(case.shape) for case in cases)
    orientations = amounts(case.orientation for case in cases)
    tables = (
        kinds_table("Voxel sizes", "mm, along X Y Z", spacings),
        kinds_table("Shapes", "Voxels, along X Y Z", shapes),
        kinds_table("Orientations", "Axes of the file", orientations),
    )
    drawn = charts(_spacing_chart(cases), _size_chart(cases), _brain_chart(cases))
    return (
        f'<section><h2 id="grids">Grids</h2><p>{escape(_lead(cases))}</p>{drawn}<div class="charts">{"".join(tables)}</div>'
        "</section>"
    )


def _lead(cases: list[CaseNumbers]) -> str:
    sides = [case.spacing_mm or (1.0, 1.0, 1.0) for case in cases]
    uneven = [max(side) / min(side) for side in sides if max(side) / min(side) > ANISOTROPIC]
    spacings, shapes = len(set(sides)), len({case.shape for case in cases})
    text = f"{count(spacings, 'voxel size')} and {count(shapes, 'shape')} in {count(len(cases), 'case')}."
    if not uneven:
        return f"{text} All voxels are isotropic within 5 %."
    verb = "is" if len(uneven) == 1 else "are"
    return (
        f"{text} {len(uneven):,} ({share_text(len(uneven), len(cases))}) {verb} anisotropic by more than 5 %, "
        f"the worst {short(max(uneven))} times longer than wide."
    )


def in_plane_and_slice(spacing_mm: Spacing) -> tuple[float, float]:
    """Returns the size of a voxel within slices, as geometric mean, and across them, which is its longest side."""
    first, second, across = sorted(spacing_mm)
    return math.sqrt(first * second), across


def _spacing_chart(cases: list[CaseNumbers]) -> str:
    found = Counter(in_plane_and_slice(case.spacing_mm or (1.0, 1.0, 1.0)) for case in cases)
    places = np.array(list(found))
    weights = np.array(list(found.values()), np.float64)
    (common, amount), *_ = found.most_common(1)

    def draw(axis: Axes) -> None:
        low, high = places.min() * 0.8, places.max() * 1.25
        axis.plot([low, high], [low, high], color=SOFT, linewidth=0.9, linestyle=":")
        area = 25 + 700 * weights / weights.sum()
        axis.scatter(*places.T, s=area, color=FILL, alpha=0.55, edgecolor=INK, linewidths=0.6, zorder=3)
        for one, other in ((axis.xaxis, "x"), (axis.yaxis, "y")):
            axis.set(**{f"{other}scale": "log"})
            one.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0), numticks=12))
            one.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            one.set_minor_formatter(NullFormatter())
        axis.set_xlim(places[:, 0].min() * 0.8, places[:, 0].max() * 1.25)
        axis.set_ylim(places[:, 1].min() * 0.8, places[:, 1].max() * 1.25)
        axis.set_xlabel("in plane [mm]")
        axis.set_ylabel("slice thickness [mm]")

    title = f"Slices are {short(common[1])} mm thick in {share_text(amount, len(cases))} of the cases"
    thickest = max(found, key=lambda size: size[1])
    alt = (
        f"Voxel size in plane against slice thickness, a bubble for each of {len(found)} sizes; the most common is "
        f"{short(common[0])} mm by {short(common[1])} mm, the thickest slices are {short(thickest[1])} mm."
    )
    note = "A bubble's area is the number of cases; on the dotted line voxels are isotropic."
    return chart("spacings", draw, title=title, alt=alt, note=note)


def _size_chart(cases: list[CaseNumbers]) -> str:
    millions = [case.voxels / MILLION for case in cases]
    found = spread(millions)
    largest = max(cases, key=lambda case: case.voxels)
    title = f"A scan has {spread_text(found)} million voxels"
    alt = f"Histogram of voxels a scan, from {short(min(millions))} to {short(max(millions))} million."
    note = f"n = {len(cases):,}. The largest is {largest.name}: {shape_text(largest.shape)}."
    return histogram("sizes", millions, "voxels a scan [million]", title=title, alt=alt, note=note)


def _brain_chart(cases: list[CaseNumbers]) -> str:
    brains = {case.name: case.brain_ml for case in cases if case.brain_ml}
    if not brains:
        return ""
    found = spread(brains.values())
    far = outliers(brains)
    title = f"A brain has {spread_text(found)} ml"
    alt = f"Histogram of brain volumes, from {short(min(brains.values()))} to {short(max(brains.values()))} ml."
    odd = f" Far from the others: {names_text(far)}." if far else ""
    note = f"n = {len(brains):,}. The brain is where any scan is not zero, the air of an unstripped head too.{odd}"
    return histogram("brains", list(brains.values()), "brain [ml]", title=title, alt=alt, note=note)


def histogram(key: str, values: list[float], across: str, *, title: str, alt: str, note: str) -> str:
    """Draws how many cases have which value; on a logarithmic axis where the largest is ten times the smallest."""
    low, high = min(values), max(values)
    wide = low > 0 and high / low > 10
    if high - low < 1e-9 * abs(high):
        low, high = low - 0.5 * abs(low or 1), high + 0.5 * abs(high or 1)
    bins = min(30, max(8, round(2 * len(values) ** 0.5)))
    edges = np.geomspace(low, high, bins + 1) if wide else np.linspace(low, high, bins + 1)

    def draw(axis: Axes) -> None:
        axis.hist(values, edges, color=FILL, edgecolor=SOFT)
        if wide:
            axis.set_xscale("log")
            axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.xaxis.set_minor_formatter(NullFormatter())
        axis.yaxis.get_major_locator().set_params(integer=True)
        axis.set_xlabel(across)
        axis.set_ylabel("cases")

    return chart(key, draw, title=title, alt=alt, note=note)
