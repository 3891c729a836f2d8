"""Training curves and paired dots as SVG, drawn by matplotlib without a display."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes

from mets3d.evaluation.tables import Row
from mets3d.regions import Region, scored_regions
from mets3d.reporting.charts.style import FAINT, INK, legend_of_runs, millimetres, panels, run_colours
from mets3d.reporting.compare import Metric
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import shortened

PART_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
RAW_POINTS, SMOOTH_POINTS = 1200, 60

Curve = tuple[Float64[np.ndarray, " n"], Float64[np.ndarray, " n"]]
ShorterCurve = tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, " m"]]


def training_figure(record: RunRecord) -> bytes:
    """Loss, its parts, validation Dice per region, and the schedule of one run, as SVG."""

    def draw(axes: Sequence[Axes]) -> None:
        _loss(axes[0], [(record, PART_COLOURS[0])], "Training loss")
        _parts(axes[1], record.training)
        _validation(axes[2], record.validation)
        _schedule(axes[3], record.training)

    return panels(2, 2, draw, height=5.2, across="optimizer step")


def overlay_figure(records: Sequence[RunRecord]) -> bytes:
    """Loss, loss without the boundary term, and validation Dice per region, one colour a run, as SVG."""
    coloured = list(zip(records, run_colours(len(records)), strict=True))
    regions = [
        region for region in scored_regions(cavity=True) if any(_validated(record, region) for record in records)
    ]
    bounded = any(record.config.loss.boundary != "none" for record in records)

    def draw(axes: Sequence[Axes]) -> None:
        panels = iter(axes)
        _loss(next(panels), coloured, "Training loss" + (", all terms" if bounded else ""))
        if bounded:
            _loss(next(panels), coloured, "Loss without the boundary term", base_loss)
        for region in regions:
            axis = next(panels)
            for record, colour in coloured:
                steps, values = curve(record.validation, f"dice/{region.name}")
                axis.plot(steps, values, color=colour, marker="o", markersize=2.5, linewidth=1.3)
            axis.set_title(f"Validation Dice, {region.name}")
            axis.set_ylim(0, 1)
        for axis in panels:
            axis.set_axis_off()
        legend_of_runs(axes[0], coloured)

    wanted = 1 + bounded + len(regions)
    rows = -(-wanted // 3)
    return panels(rows, 3, draw, height=2.7 * rows, across="optimizer step")


def dots_figure(records: Sequence[RunRecord], cases: Sequence[str], metrics: Sequence[Metric]) -> bytes:
    """Every case as a dot in each run, joined by a line, the mean as a bar: a panel per score and region, as SVG."""
    regions = records[0].regions

    def draw(axes: Sequence[Axes]) -> None:
        panels = iter(axes)
        for metric in metrics:
            for region in regions:
                _dots(next(panels), records, cases, metric, region)

    return panels(len(metrics), len(regions), draw, height=2.7 * len(metrics), across="")


def curve(rows: Sequence[Row], key: str) -> Curve:
    """Steps and values of `key` where it has a finite value."""
    pairs = [(row["step"], row[key]) for row in rows if isinstance(row.get(key), int | float) and np.isfinite(row[key])]
    array = np.array(pairs, float).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def total_loss(rows: Sequence[Row]) -> Curve:
    return curve(rows, "loss")


def base_loss(rows: Sequence[Row]) -> Curve:
    """The sum of the logged parts without the boundary term: what runs with and without one have in common."""
    keys = [key for key in _part_keys(rows) if key != "loss/boundary"]
    sums = [
        {"step": row["step"], "sum": sum(row[key] for key in keys if row.get(key) is not None)}
        for row in rows
        if any(row.get(key) is not None for key in keys)
    ]
    return curve(sums, "sum")


def thinned(points: Curve, most: int) -> ShorterCurve:
    """At most `most` points: means over neighbouring groups of as equal a size as can be."""
    steps, values = points
    if len(steps) <= most:
        return points
    starts = np.linspace(0, len(steps), most, endpoint=False).astype(int)
    sizes = np.diff(np.append(starts, len(steps)))
    return np.add.reduceat(steps, starts) / sizes, np.add.reduceat(values, starts) / sizes


# ---------------------------------------------------------------- panels


def _loss(
    axis: Axes,
    coloured: Sequence[tuple[RunRecord, str]],
    title: str,
    points_of: Callable[[Sequence[Row]], Curve] = total_loss,
) -> None:
    for record, colour in coloured:
        points = points_of(record.training)
        axis.plot(*thinned(points, RAW_POINTS), color=colour, linewidth=0.7, alpha=0.3)
        axis.plot(*thinned(points, SMOOTH_POINTS), color=colour, linewidth=1.6)
    axis.set_title(title)
    _no_curve(axis)


def _parts(axis: Axes, rows: Sequence[Row]) -> None:
    """Smoothed parts on a logarithmic axis, because they differ by orders of magnitude."""
    for key, colour in zip(_part_keys(rows), PART_COLOURS, strict=False):
        steps, values = thinned(curve(rows, key), SMOOTH_POINTS)
        positive = values > 0
        axis.plot(steps[positive], values[positive], color=colour, linewidth=1.5, label=_part_name(key))
    axis.set_title("Parts of the loss")
    if axis.lines:
        axis.set_yscale("log")
        axis.legend(fontsize=7.5, ncols=2, loc="best")
    _no_curve(axis)


def _validation(axis: Axes, rows: Sequence[Row]) -> None:
    for region in scored_regions(cavity=True):
        steps, values = curve(rows, f"dice/{region.name}")
        if len(steps):
            axis.plot(steps, values, color=region.colour, marker="o", markersize=3, linewidth=1.5, label=region.name)
    steps, values = curve(rows, "dice/mean")
    if len(steps):
        axis.plot(steps, values, color=INK, linewidth=1, linestyle="--", label="mean")
    axis.set_title("Validation Dice")
    axis.set_ylim(0, 1)
    if axis.lines:
        axis.legend(fontsize=7.5, ncols=2, loc="best")
    _no_curve(axis)


def _schedule(axis: Axes, rows: Sequence[Row]) -> None:
    """Learning rate and boundary weight, each as a share of its peak, so that one axis serves both."""
    for key, name, colour in (("lr", "learning rate", INK), ("boundary_weight", "boundary weight", "#D55E00")):
        steps, values = thinned(curve(rows, key), RAW_POINTS)
        peak = float(values.max()) if len(values) else 0.0
        if peak > 0:
            axis.plot(steps, values / peak, color=colour, linewidth=1.5, label=f"{name}, peak {peak:g}")
    axis.set_title("Schedule, share of the peak")
    axis.set_ylim(0, 1.05)
    if axis.lines:
        axis.legend(fontsize=7.5, loc="best")
    _no_curve(axis)


def _dots(axis: Axes, records: Sequence[RunRecord], cases: Sequence[str], metric: Metric, region: Region) -> None:
    columns = [record.values(region.name, metric.column, cases) for record in records]
    colours = run_colours(len(records))
    for case in cases:
        axis.plot([column.get(case, np.nan) for column in columns], color=FAINT, linewidth=0.8, zorder=1)
    for place, (column, colour) in enumerate(zip(columns, colours, strict=True)):
        values = list(column.values())
        axis.scatter([place] * len(values), values, s=18, color=colour, alpha=0.8, linewidths=0, zorder=2)
        if values:
            axis.hlines(float(np.mean(values)), place - 0.22, place + 0.22, color=colour, linewidth=2.4, zorder=3)
    axis.set_xticks(range(len(records)), [shortened(record.label, 45 // len(records)) for record in records])
    axis.set_xlim(-0.5, len(records) - 0.5)
    axis.grid(visible=False, axis="x")
    unit = f" [{metric.unit}]" if metric.unit else ""
    axis.set_title(f"{region.name}: {metric.name}{unit}")
    if metric.unit:
        millimetres(axis, max([1.0, *(value for column in columns for value in column.values())]))
    else:
        axis.set_ylim(-0.03, 1.03)


def _no_curve(axis: Axes) -> None:
    if not any(len(np.asarray(line.get_xdata())) for line in axis.lines):
        axis.text(0.5, 0.5, "not logged", transform=axis.transAxes, ha="center", va="center", color="#8a919c")


def _part_keys(rows: Sequence[Row]) -> list[str]:
    """`loss/NAME` of any row, in order of appearance; `loss/NAME/REGION` left out."""
    return list(dict.fromkeys(key for row in rows for key in row if key.startswith("loss/") and key.count("/") == 1))


def _part_name(key: str) -> str:
    return key.removeprefix("loss/").replace("_", " ")


def _validated(record: RunRecord, region: Region) -> bool:
    return bool(len(curve(record.validation, f"dice/{region.name}")[0]))
