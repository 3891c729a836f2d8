"""Figures of cases by region, for one run or several: lesion-wise scores, and agreement of volumes.

One run is drawn in the colours of its regions; several have a colour each. A figure without anything to draw is None.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from mets3d.regions import Region
from mets3d.reporting.charts.cohort import agreement, share_of
from mets3d.reporting.charts.style import (
    INK,
    SOFT,
    Cases,
    Records,
    by_region,
    coloured,
    colours_of,
    dots,
    legend_of_runs,
    logarithmic,
    millimetres,
    offset,
    panels,
    unit_interval,
)
from mets3d.reporting.compare import COUNTS, METRICS, Metric
from mets3d.reporting.run_record import RunRecord

NSD_COLUMNS = (("lesion_wise_nsd_1.0", "1 mm"), ("lesion_wise_nsd_0.5", "0.5 mm"), ("lesion_wise_nsd_spacing", "voxel"))
FEWEST_FOR_BOX = 5  # below it the points are all there is, and quartiles are made up between them


def scores_figure(records: Records, cases: Cases) -> bytes | None:
    """Lesion-wise Dice, HD95 and NSD of every case by region: points, box, and how many are at their worst."""
    metrics = [*METRICS[:2], *_nsd(records)]
    metrics = [metric for metric in metrics if any(_values(record, metric, cases) for record in records)]
    if not metrics:
        return None

    def draw(axes: Sequence[Axes]) -> None:
        for axis, metric in zip(axes, metrics, strict=True):
            _score_panel(axis, records, cases, metric)
        if len(records) > 1:
            legend_of_runs(axes[0], coloured(records))

    return panels(1, len(metrics), draw, height=3.5, across="")


def volumes_figure(records: Records, cases: Cases) -> bytes | None:
    """Bland and Altman's plot of each case's volumes, a panel per region, with bias and limits of agreement."""

    def draw(axis: Axes, region: Region) -> None:
        largest, smallest, texts = 0.0, np.inf, []
        for record, colour in zip(records, colours_of(records, region), strict=True):
            found = agreement(record, region.name, cases)
            if found is None:
                continue
            means, differences = found.mean_mm3 / 1000, found.difference_mm3 / 1000
            largest, smallest = max(largest, float(means.max())), min(smallest, float(means.min()))
            dots(axis, means, differences, colour)
            levels = [("bias", found.bias_mm3 / 1000, "-")]
            levels += [("limit", limit / 1000, "--") for limit in found.limits_mm3 or ()]
            for what, level, style in levels:
                axis.axhline(level, color=colour if len(records) > 1 else INK, linewidth=1.1, linestyle=style, zorder=2)
                texts.append((what, level))
        axis.axhline(0, color="#8a919c", linewidth=0.8, zorder=1)
        axis.set_xlim(smallest / 1.6, largest * 1.6)
        logarithmic(axis)
        axis.margins(y=0.12)
        if len(records) == 1:
            _levels(axis, texts)
        axis.set_title(f"{region.name}: volume, prediction − reference [cm³]")

    def there(region: Region) -> bool:
        return any(agreement(record, region.name, cases) is not None for record in records)

    return by_region(records, there, draw, "mean of the two volumes [cm³]")


# ---------------------------------------------------------------- panels


def _score_panel(axis: Axes, records: Records, cases: Cases, metric: Metric) -> None:
    names, largest = [], 1.0
    for at, region in enumerate(records[0].regions):
        worst, amounts = [], []
        for place, (record, colour) in enumerate(zip(records, colours_of(records, region), strict=True)):
            values = list(record.values(region.name, metric.column, cases).values())
            largest = max([largest, *values])
            _box(axis, at + offset(place, len(records), 0.8 / len(records)), 0.55 / len(records), values, colour)
            worst.append(share_of(values) if metric.better == "higher" else _penalised(record, region, cases))
            amounts.append(len(values))
        shares = "/".join(f"{100 * share:.0f}" for share in worst)
        what = "at 0:" if metric.better == "higher" else "penalty"
        names.append(f"{region.name}\nn = {'/'.join(map(str, sorted(set(amounts))))}\n{what} {shares} %")
    axis.set_xticks(range(len(names)), names, fontsize=8)
    axis.set_xlim(-0.6, len(names) - 0.4)
    axis.grid(visible=False, axis="x")
    axis.set_title(metric.name + (f" [{metric.unit}]" if metric.unit else ""))
    if metric.better == "lower":
        millimetres(axis, largest)
    else:
        unit_interval(axis)


def _box(axis: Axes, x: float, width: float, values: Sequence[float], colour: str) -> None:
    """Quartiles and median as a box, whiskers to the last value within 1.5 of its height; every value a dot."""
    if len(values) >= FEWEST_FOR_BOX:
        line = {"color": colour, "linewidth": 1.1}
        axis.boxplot(
            [list(values)],
            positions=[x],
            widths=[width],
            showfliers=False,
            manage_ticks=False,
            patch_artist=True,
            boxprops={"facecolor": f"{colour}2e", "edgecolor": colour, "linewidth": 1.1},
            whiskerprops=line,
            capprops=line,
            medianprops={"color": INK, "linewidth": 1.8},
        )
    elif values:
        middle = float(np.median(values))
        axis.plot([x - width / 2, x + width / 2], [middle, middle], color=INK, linewidth=1.8)
    # Golden-ratio steps spread any number of dots evenly, the same way every time.
    spread = [x + width * 0.8 * ((0.5 + 0.618034 * index) % 1 - 0.5) for index in range(len(values))]
    dots(axis, spread, values, colour)


def _levels(axis: Axes, texts: Sequence[tuple[str, float]]) -> None:
    """Writes the value of each line at its right end."""
    for what, level in texts:
        text = f"{what} {level:+.2g}".replace("-", "−")
        axis.annotate(
            text,
            (1, level),
            xycoords=("axes fraction", "data"),
            xytext=(-2, 2),
            textcoords="offset points",
            ha="right",
            va="bottom",
            fontsize=7.5,
            color=SOFT,
            bbox={"facecolor": "#fff", "alpha": 0.8, "linewidth": 0, "pad": 0.5},
            zorder=4,
        )


# ---------------------------------------------------------------- what is drawn


def _nsd(records: Records) -> list[Metric]:
    """The first tolerance of NSD_COLUMNS that a table has."""
    columns = {column for record in records for score in record.scores for column in score.values}
    return [
        Metric(column, f"Lesion-wise NSD, tolerance {tolerance}", "", 3, "higher")
        for column, tolerance in NSD_COLUMNS
        if column in columns
    ][:1]


def _values(record: RunRecord, metric: Metric, cases: Cases) -> bool:
    return any(record.values(region.name, metric.column, cases) for region in record.regions)


def _penalised(record: RunRecord, region: Region, cases: Cases) -> float:
    """Share of the cases whose lesion-wise HD95 holds a penalty: those with a missed or a false lesion."""
    missed, false = (record.values(region.name, metric.column, cases) for metric in COUNTS[1:])
    both = [missed[case] + false[case] for case in missed.keys() & false.keys()]
    return 1 - share_of(both) if both else 0.0
