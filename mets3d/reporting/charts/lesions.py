"""Figures of lesions by region, for one run or several: recall by size, Dice against volume, FROC.

One run is drawn in the colours of its regions; several have a colour each. A figure without anything to draw is None.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mets3d.regions import Region
from mets3d.reporting.charts.cohort import (
    OPERATING_THRESHOLD,
    FrocPoint,
    counted_lesions,
    froc,
    recall_by_size,
    size_edges_mm3,
)
from mets3d.reporting.charts.style import (
    FAINT,
    INK,
    SOFT,
    Cases,
    Records,
    by_region,
    colours_of,
    dots,
    logarithmic,
    offset,
    panels,
    run_handles,
    unit_interval,
)


def recall_figure(records: Records, cases: Cases) -> bytes | None:
    """Share of reference lesions found by class of volume, with 95 % intervals: a panel per region."""
    edges = size_edges_mm3(records)

    def draw(axis: Axes, region: Region) -> None:
        classes = [recall_by_size(record, region.name, cases, edges) for record in records]
        for place, (own, colour) in enumerate(zip(classes, colours_of(records, region), strict=True)):
            for at, held in enumerate(own):
                if held.recall is None:
                    continue
                x = at + offset(place, len(records), 0.2)
                if held.interval:
                    axis.plot([x, x], held.interval, color=colour, linewidth=1.6, solid_capstyle="butt")
                axis.plot([x], [held.recall], "o", color=colour, markersize=6)
        counts = [sorted({own[at].lesions for own in classes}) for at in range(len(classes[0]))]
        names = [f"{held.name}\nn = {'/'.join(map(str, n))}" for held, n in zip(classes[0], counts, strict=True)]
        axis.set_xticks(range(len(names)), names, fontsize=8)
        axis.set_xlim(-0.6, len(names) - 0.4)
        axis.grid(visible=False, axis="x")
        total = max(sum(held.lesions for held in own) for own in classes)
        axis.set_title(f"{region.name}: recall, {total} lesions")
        unit_interval(axis)

    return by_region(records, lambda region: _any_lesions(records, region, cases), draw, "volume of the lesion [mm³]")


def dice_figure(records: Records, cases: Cases) -> bytes | None:
    """Dice of every reference lesion against its volume on a logarithmic axis: found ones dots, missed ones crosses."""
    edges = size_edges_mm3(records)

    def draw(axis: Axes, region: Region) -> None:
        for edge in edges:
            axis.axvline(edge, color=FAINT, linewidth=0.8, linestyle=":", zorder=1)
        for place, (record, colour) in enumerate(zip(records, colours_of(records, region), strict=True)):
            lesions = counted_lesions(record, region.name, cases)
            found = [row for row in lesions if row.kind == "found" and "dice" in row.values]
            lost = [row for row in lesions if row.kind == "missed"]
            volumes = [row.values["reference_volume_mm3"] for row in found]
            dice = [row.values["dice"] for row in found]
            dots(axis, volumes, dice, colour)
            volumes = [row.values["reference_volume_mm3"] for row in lost]
            heights = [-0.04 - 0.045 * place] * len(lost)
            ink = colour if len(records) > 1 else INK
            dots(axis, volumes, heights, ink, marker="x", linewidths=1.1)
        logarithmic(axis)
        axis.set_title(f"{region.name}: Dice of each lesion")
        axis.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
        axis.set_ylim(-0.08 - 0.045 * len(records), 1.04)

    def legend(axes: Sequence[Axes]) -> None:
        grey = "#6b7280"
        dot = Line2D([], [], marker="o", color="none", markerfacecolor=grey, markeredgecolor="none", label="found")
        cross = Line2D([], [], marker="x", color="none", markeredgecolor=INK, label="missed")
        axes[0].add_artist(axes[0].legend(handles=[dot, cross], fontsize=7.5, loc="upper left"))

    def there(region: Region) -> bool:
        return _any_lesions(records, region, cases)

    return by_region(records, there, draw, "volume of the reference lesion [mm³]", legend)


def froc_figure(records: Records, cases: Cases) -> bytes | None:
    """Sensitivity against false positives per case by threshold: a curve per region; for several runs a curve per run.

    One run has its regions in one panel and F1 against the threshold beside it; several have a panel per region.
    """
    regions = [region for region in records[0].regions if any(froc(record, region.name, cases) for record in records)]
    if not regions:
        return None
    one = len(records) == 1
    every = [point for record in records for region in regions for point in froc(record, region.name, cases)]
    most = max([0.5, *(point.false_per_patient for point in every)])

    def draw(axes: Sequence[Axes]) -> None:
        for place, region in enumerate(regions):
            axis = axes[0] if one else axes[place]
            for record, colour in zip(records, colours_of(records, region), strict=True):
                points = froc(record, region.name, cases)
                _curve(
                    axis,
                    [(point.false_per_patient, point.sensitivity) for point in points],
                    points,
                    colour,
                    region.name,
                )
                if one:
                    _curve(axes[1], [(point.threshold, point.f1) for point in points], points, colour, region.name)
            axis.set_title("FROC: sensitivity" if one else f"{region.name}: FROC, sensitivity")
            axis.set_xlim(-0.03 * most, 1.05 * most)
            axis.set_xlabel("false positives per patient", fontsize=8.5, color=SOFT)
            unit_interval(axis)
        ring = Line2D([], [], marker="o", color="none", markeredgecolor=INK, markersize=8, label="threshold 0.5")
        shown = axes[0].get_legend_handles_labels()[0] if one else run_handles(records)
        axes[0].legend(handles=[*shown, ring], fontsize=7.5, loc="best")
        if one:
            axes[1].set_title("F1 of lesions by threshold")
            axes[1].set_xlabel("threshold", fontsize=8.5, color=SOFT)
            axes[1].set_xlim(0, 1)
            unit_interval(axes[1])

    return panels(1, 2 if one else max(len(regions), 2), draw, height=3.4, across="")


# ---------------------------------------------------------------- parts


def _curve(
    axis: Axes, places: Sequence[tuple[float, float]], points: Sequence[FrocPoint], colour: str, name: str
) -> None:
    if not places:
        return
    axis.plot(*zip(*places, strict=True), "o-", color=colour, linewidth=1.4, markersize=3, label=name)
    for (x, y), point in zip(places, points, strict=True):
        if abs(point.threshold - OPERATING_THRESHOLD) < 1e-9:
            axis.plot([x], [y], "o", markersize=8, markerfacecolor="none", color=INK)


def _any_lesions(records: Records, region: Region, cases: Cases) -> bool:
    return any(counted_lesions(record, region.name, cases) for record in records)
