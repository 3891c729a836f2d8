"""Draws the FROC figure: sensitivity against false positives per patient by threshold, for one run or several."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mets3d.regions import Region
from mets3d.reporting.charts.style import (
    INK,
    SOFT,
    Cases,
    Records,
    coloured,
    colours_of,
    legend_of_runs,
    panels,
    unit_interval,
)
from mets3d.statistics.froc import FrocPoint, froc_curve

OPERATING_THRESHOLD = 0.5

Curves = dict[str, list[list[FrocPoint]]]  # region -> a curve a run


def froc_figure(records: Records, cases: Cases) -> bytes | None:
    """Draws a curve per region; for several runs a panel per region and in it a curve per run.

    Beside the curves of one run stands F1 against the threshold. None where there is no curve.
    """
    curves: Curves = {
        region.name: [froc_curve(record.froc_rows(region.name, cases)) for record in records]
        for region in records[0].regions
    }
    regions = [region for region in records[0].regions if any(curves[region.name])]
    if not regions:
        return None
    every = [point for region in regions for points in curves[region.name] for point in points]
    most = max([0.5, *(point.false_per_patient for point in every)])
    if len(records) == 1:
        return panels(1, 2, lambda axes: _draw_one(axes, regions, curves, most), height=3.4, across="")
    columns = max(len(regions), 2)
    return panels(1, columns, lambda axes: _draw_several(axes, records, regions, curves, most), height=3.4, across="")


def _draw_one(axes: Sequence[Axes], regions: Sequence[Region], curves: Curves, most: float) -> None:
    for region in regions:
        (points,) = curves[region.name]
        _draw_froc(axes[0], points, region.colour, region.name)
        _draw_curve(axes[1], [(point.threshold, point.f1) for point in points], points, region.colour, region.name)
    _frame_froc(axes[0], "FROC: sensitivity", most)
    axes[0].legend(handles=[*axes[0].get_legend_handles_labels()[0], _ring()], fontsize=7.5, loc="best")
    axes[1].set_title("F1 of lesions by threshold")
    axes[1].set_xlabel("threshold", fontsize=8.5, color=SOFT)
    axes[1].set_xlim(0, 1)
    unit_interval(axes[1])


def _draw_several(
    axes: Sequence[Axes], records: Records, regions: Sequence[Region], curves: Curves, most: float
) -> None:
    for axis, region in zip(axes, regions, strict=False):
        for points, colour in zip(curves[region.name], colours_of(records, region), strict=True):
            _draw_froc(axis, points, colour, region.name)
        _frame_froc(axis, f"{region.name}: FROC, sensitivity", most)
    legend_of_runs(axes[0], coloured(records), _ring())


def _draw_froc(axis: Axes, points: Sequence[FrocPoint], colour: str, name: str) -> None:
    _draw_curve(axis, [(point.false_per_patient, point.sensitivity) for point in points], points, colour, name)


def _draw_curve(
    axis: Axes, places: Sequence[tuple[float, float]], points: Sequence[FrocPoint], colour: str, name: str
) -> None:
    """Draws a line through the places, with a ring at the operating threshold."""
    if not places:
        return
    axis.plot(*zip(*places, strict=True), "o-", color=colour, linewidth=1.4, markersize=3, label=name)
    for (x, y), point in zip(places, points, strict=True):
        if abs(point.threshold - OPERATING_THRESHOLD) < 1e-9:
            axis.plot([x], [y], "o", markersize=8, markerfacecolor="none", color=INK)


def _frame_froc(axis: Axes, title: str, most: float) -> None:
    axis.set_title(title)
    axis.set_xlim(-0.03 * most, 1.05 * most)
    axis.set_xlabel("false positives per patient", fontsize=8.5, color=SOFT)
    unit_interval(axis)


def _ring() -> Line2D:
    return Line2D([], [], marker="o", color="none", markeredgecolor=INK, markersize=8, label="threshold 0.5")
