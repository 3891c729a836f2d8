"""Writes the section on grids: voxel sizes, shapes, orientations, and the size of brains."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from mets3d.data.describe import DataSet
from mets3d.data.describe_case import CaseNumbers
from mets3d.data.describe_summary import amounts, outliers, spread
from mets3d.ops.voxels import Spacing
from mets3d.reporting.charts.style import INK, SOFT
from mets3d.reporting.explore.chart import FILL, chart, charts, plain_numbers, whole_numbers
from mets3d.reporting.explore.tables import kinds_table
from mets3d.reporting.explore.words import (
    millimetres_text,
    names_text,
    shape_text,
    share_text,
    short,
    spread_text,
)
from mets3d.reporting.html_page import Section
from mets3d.reporting.html_table import flow
from mets3d.wording import counted

ANISOTROPIC = 1.05  # longest side of a voxel over its shortest
MILLION = 1e6


def grids_section(data: DataSet) -> Section | None:
    """Writes voxel sizes, shapes and orientations as charts and tables; None where no scan could be read."""
    cases = [case for case in data.cases if case.spacing_mm is not None]
    if not cases:
        return None
    tables = (
        kinds_table("Voxel sizes", "mm, along X Y Z", amounts(millimetres_text(_sides(case)) for case in cases)),
        kinds_table("Shapes", "voxels, along X Y Z", amounts(shape_text(case.shape) for case in cases)),
        kinds_table("Orientations", "axes of the file", amounts(case.orientation for case in cases)),
    )
    drawn = charts(_spacing_chart(cases), _size_chart(cases), _brain_chart(cases))
    beside = charts(*(flow(table) for table in tables))
    return Section("grids", "Grids", flow(_lead(cases), drawn, beside))


def in_plane_and_slice(spacing_mm: Spacing) -> tuple[float, float]:
    """Returns the size of a voxel within slices, as geometric mean, and across them, which is its longest side."""
    first, second, across = sorted(spacing_mm)
    return math.sqrt(first * second), across


def histogram(key: str, values: Sequence[float], across: str, *, title: str, alt: str, note: str) -> Markup:
    """Draws how many cases have which value; on a logarithmic axis where the largest is ten times the smallest."""
    low, high = min(values), max(values)
    wide = low > 0 and high / low > 10
    if high - low <= 1e-9 * abs(high):
        low, high = low - 0.5 * abs(low or 1), high + 0.5 * abs(high or 1)
    bins = min(30, max(8, round(2 * len(values) ** 0.5)))
    edges = np.geomspace(low, high, bins + 1) if wide else np.linspace(low, high, bins + 1)
    heights, _ = np.histogram(values, edges)

    def draw(axis: Axes) -> None:
        axis.stairs(heights, edges, fill=True, facecolor=FILL, edgecolor=SOFT, linewidth=0.8)
        if wide:
            axis.set_xscale("log")
            plain_numbers(axis.xaxis)
        whole_numbers(axis.yaxis)
        axis.set_ylim(bottom=0)
        axis.set_xlabel(across)
        axis.set_ylabel("cases")

    return chart(key, draw, title=title, alt=alt, note=note)


# ---------------------------------------------------------------- parts


def _sides(case: CaseNumbers) -> Spacing:
    return case.spacing_mm or (1.0, 1.0, 1.0)


def _lead(cases: Sequence[CaseNumbers]) -> str:
    sides = [_sides(case) for case in cases]
    uneven = [max(side) / min(side) for side in sides if max(side) / min(side) > ANISOTROPIC]
    kinds = counted(len(set(sides)), "voxel size"), counted(len({case.shape for case in cases}), "shape")
    text = f"{' and '.join(kinds)} in {counted(len(cases), 'case')}."
    if not uneven:
        return f"{text} All voxels are isotropic within 5 %."
    return (
        f"{text} {counted(len(uneven), 'case')} ({share_text(len(uneven), len(cases))}) with voxels that are "
        f"anisotropic by more than 5 %, the worst {short(max(uneven))} times longer than wide."
    )


def _spacing_chart(cases: Sequence[CaseNumbers]) -> Markup | None:
    found = Counter(in_plane_and_slice(_sides(case)) for case in cases)
    if len(found) == 1:  # the table says it
        return None
    places, weights = np.array(list(found)), np.array(list(found.values()), np.float64)
    low, high = places.min(axis=0) * 0.85, places.max(axis=0) * 1.18

    def draw(axis: Axes) -> None:
        axis.plot([low.min(), high.max()], [low.min(), high.max()], color=SOFT, linewidth=0.9, linestyle=":")
        sizes = 25 + 700 * weights / weights.sum()
        axis.scatter(places[:, 0], places[:, 1], sizes, color=FILL, alpha=0.55, edgecolor=INK, linewidths=0.6, zorder=3)
        axis.set_xscale("log")
        axis.set_yscale("log")
        for one in (axis.xaxis, axis.yaxis):
            one.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0), numticks=12))
            one.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            one.set_minor_formatter(NullFormatter())
        axis.set_xlim(low[0], high[0])
        axis.set_ylim(low[1], high[1])
        axis.set_xlabel("in plane [mm]")
        axis.set_ylabel("slice thickness [mm]")

    (thickness, amount), *_ = amounts(across for _, across in map(in_plane_and_slice, map(_sides, cases)))
    title = f"Slices are {short(thickness)} mm thick in {share_text(amount, len(cases))} of the cases"
    (plane_low, slice_low), (plane_high, slice_high) = places.min(axis=0).tolist(), places.max(axis=0).tolist()
    alt = (
        f"Voxel size in plane against slice thickness, a bubble for each of {len(found)} sizes: {short(plane_low)} to "
        f"{short(plane_high)} mm in plane, slices of {short(slice_low)} to {short(slice_high)} mm."
    )
    note = f"n = {len(cases):,}. A bubble's area is the number of cases; on the dotted line voxels are isotropic."
    return chart("spacings", draw, title=title, alt=alt, note=note)


def _size_chart(cases: Sequence[CaseNumbers]) -> Markup | None:
    millions = [case.voxels / MILLION for case in cases]
    if len(set(millions)) == 1:
        return None
    largest = max(cases, key=lambda case: case.voxels)
    title = f"A scan has {spread_text(spread(millions))} million voxels"
    alt = f"Histogram of voxels a scan, from {short(min(millions))} to {short(max(millions))} million."
    note = f"n = {len(cases):,}; median [quartiles]. The largest is {largest.name}: {shape_text(largest.shape)}."
    return histogram("sizes", millions, "voxels a scan [million]", title=title, alt=alt, note=note)


def _brain_chart(cases: Sequence[CaseNumbers]) -> Markup | None:
    brains = {case.name: case.brain_ml for case in cases if case.brain_ml}
    if not brains:
        return None
    far = outliers(brains)
    odd = f" Far from the others: {names_text(far)}." if far else ""
    title = f"A brain has {spread_text(spread(brains.values()))} ml"
    alt = f"Histogram of brain volumes, from {short(min(brains.values()))} to {short(max(brains.values()))} ml."
    note = f"n = {len(brains):,}. Brain is where any scan is not zero: with a skull, the head or all of the image.{odd}"
    return histogram("brains", list(brains.values()), "brain [ml]", title=title, alt=alt, note=note)
