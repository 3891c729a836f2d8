"""Draws training curves by matplotlib without a display, as SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from mets3d.evaluation.tables import Row
from mets3d.log_names import (
    BOUNDARY_WEIGHT,
    DICE,
    LESION_WISE_DICE,
    LOSS,
    MEAN,
    SCORES,
    is_boundary,
    loss_parts,
    score_name,
    terms_below,
)
from mets3d.regions import scored_regions
from mets3d.reporting.charts.style import INK, legend_of_runs, panels, run_colours
from mets3d.reporting.run_record import RunRecord
from mets3d.statistics.curves import Curve, curve, mean_curve, summed_curve, thinned

PART_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
OVERLAID = (LESION_WISE_DICE, DICE)  # scores of the validation with a panel a region where runs are compared
RAW_POINTS, SMOOTH_POINTS = 1200, 60
LOW, LEAST_TOP = 0.2, 0.02  # of scores, below which the axis ends earlier, and where at the least


def training_figure(record: RunRecord) -> bytes:
    """Draws loss, its parts, the schedule, and the scores of the validation per region of one run."""
    of = [*(region.name for region in scored_regions(cavity=True)), MEAN]
    validated = [score for score in SCORES if any(_is_curve(record, score, one) for one in of)]

    def draw(axes: Sequence[Axes]) -> None:
        _loss(axes[0], [(record, PART_COLOURS[0])], "Training loss", total_loss)
        _parts(axes[1], record.training)
        _schedule(axes[2], record.training)
        for axis, score in zip(axes[3:], validated, strict=False):
            _validation(axis, record.validation, score)
        for axis in axes[3 + len(validated) :]:
            axis.set_axis_off()

    rows = 2 if validated else 1
    return panels(rows, 3, draw, height=2.6 * rows, across="optimizer step")


def overlay_figure(records: Sequence[RunRecord]) -> bytes:
    """Draws loss, loss without the boundary term, and scores of the validation per region, one colour a run."""
    coloured = list(zip(records, run_colours(len(records)), strict=True))
    every = [(score, region) for score in OVERLAID for region in scored_regions(cavity=True)]
    validated = [pair for pair in every if any(_is_curve(run, pair[0], pair[1].name) for run in _all_runs(records))]
    bounded = any(record.config.loss.boundary != "none" for record in records)

    def draw(axes: Sequence[Axes]) -> None:
        axes_left = iter(axes)
        _loss(next(axes_left), coloured, "Training loss" + (", all terms" if bounded else ""), total_loss)
        if bounded:
            _loss(next(axes_left), coloured, "Loss without the boundary term", base_loss)
        for score, region in validated:
            axis = next(axes_left)
            for record, colour in coloured:
                if record.runs:
                    runs = [curve(run.validation, score_name(score, region.name)) for run in record.runs.values()]
                    _band(axis, runs, color=colour, linewidth=1.3)
                else:
                    _scored(axis, record.validation, score, region.name, color=colour, linewidth=1.3)
            axis.set_title(f"Validation: {SCORES[score]}, {region.name}")
            _from_zero(axis)
        for axis in axes_left:
            axis.set_axis_off()
        legend_of_runs(axes[0], coloured)

    wanted = 1 + bounded + len(validated)
    rows = -(-wanted // 3)
    return panels(rows, 3, draw, height=2.7 * rows, across="optimizer step")


def total_loss(rows: Sequence[Row]) -> Curve:
    """Returns the logged loss, all terms."""
    return curve(rows, LOSS)


def base_loss(rows: Sequence[Row]) -> Curve:
    """Returns the sum of the logged parts without the boundary term: common to runs with and without one."""
    return summed_curve(rows, [name for name in _part_names(rows) if not is_boundary(name)])


# ---------------------------------------------------------------- panels


def _loss(
    axis: Axes,
    coloured: Sequence[tuple[RunRecord, str]],
    title: str,
    points_of: Callable[[Sequence[Row]], Curve],
) -> None:
    for record, colour in coloured:
        if record.runs:
            curves = [points_of(run.training) for run in record.runs.values()]
            _band(axis, curves, color=colour, linewidth=1.6)
            continue
        points = points_of(record.training)
        axis.plot(*thinned(points, RAW_POINTS), color=colour, linewidth=0.7, alpha=0.3)
        axis.plot(*thinned(points, SMOOTH_POINTS), color=colour, linewidth=1.6)
    axis.set_title(title)
    _no_curve(axis)


def _band(axis: Axes, curves: Sequence[Curve], **style: Any) -> None:
    """Draws the mean of an arm's runs as a line, and as a band what lies between the lowest and the highest."""
    found = mean_curve([points for points in curves if len(points[0])])
    (steps, mean), (_, low), (_, high) = (thinned(points, SMOOTH_POINTS) for points in found)
    if len(steps):
        axis.plot(steps, mean, **style)
        axis.fill_between(steps, low, high, color=style["color"], alpha=0.18, linewidth=0)


def _parts(axis: Axes, rows: Sequence[Row]) -> None:
    """Draws smoothed parts on a logarithmic axis, because they differ by orders of magnitude."""
    for (name, label), colour in zip(_part_names(rows).items(), PART_COLOURS, strict=False):
        steps, values = thinned(curve(rows, name), SMOOTH_POINTS)
        positive = values > 0
        axis.plot(steps[positive], values[positive], color=colour, linewidth=1.5, label=label)
    axis.set_title("Parts of the loss")
    if axis.lines:
        axis.set_yscale("log")
        axis.legend(fontsize=7.5, ncols=2, loc="best")
    _no_curve(axis)


def _validation(axis: Axes, rows: Sequence[Row], score: str) -> None:
    for region in scored_regions(cavity=True):
        _scored(axis, rows, score, region.name, color=region.colour, linewidth=1.5, label=region.name)
    _scored(axis, rows, score, MEAN, color=INK, linewidth=1, linestyle="--", label="mean")
    axis.set_title(f"Validation: {SCORES[score]}")
    _from_zero(axis)
    if axis.lines:
        axis.legend(fontsize=7.5, ncols=2, loc="best")
    _no_curve(axis)


def _scored(axis: Axes, rows: Sequence[Row], score: str, of: str, **style: Any) -> None:
    """Draws the score at every validation as a curve, and as diamonds that of all cases where it is logged apart."""
    steps, values = curve(rows, score_name(score, of))
    if len(steps):
        axis.plot(steps, values, marker="o", markersize=2.5, **style)
    steps, values = curve(rows, score_name(score, of, all_cases=True))
    if len(steps):
        axis.plot(steps, values, color=style["color"], marker="D", markersize=5, linestyle="", fillstyle="none")


def _schedule(axis: Axes, rows: Sequence[Row]) -> None:
    """Draws learning rate and boundary weights, each as a share of its peak, so that one axis serves all."""
    weights = terms_below(BOUNDARY_WEIGHT, (name for row in rows for name in row))
    drawn = [("lr", "learning rate", INK)]
    for key, colour in zip(weights, PART_COLOURS[1:], strict=False):
        of = key.removeprefix(BOUNDARY_WEIGHT).replace("/", ": ").replace("_", " ")
        drawn.append((key, f"boundary weight{of}", colour))
    for key, name, colour in drawn:
        steps, values = thinned(curve(rows, key), RAW_POINTS)
        peak = float(values.max()) if len(values) else 0.0
        if peak > 0:
            axis.plot(steps, values / peak, color=colour, linewidth=1.5, label=f"{name}, peak {peak:g}")
    axis.set_title("Schedule, share of the peak")
    axis.set_ylim(0, 1.05)
    if axis.lines:
        axis.legend(fontsize=7.5, loc="best")
    _no_curve(axis)


def _from_zero(axis: Axes) -> None:
    """Sets the axis of a score to 0 to 1; where all values are low, closer, so that they do not lie on the edge."""
    values = [np.asarray(line.get_ydata(), np.float64) for line in axis.lines]
    highest = max((float(own.max()) for own in values if len(own)), default=1.0)
    axis.set_ylim(0, 1 if highest >= LOW else max(1.25 * highest, LEAST_TOP))


def _no_curve(axis: Axes) -> None:
    if not any(len(np.asarray(line.get_xdata())) for line in axis.lines):
        axis.text(0.5, 0.5, "not logged", transform=axis.transAxes, ha="center", va="center", color="#8a919c")


def _part_names(rows: Sequence[Row]) -> dict[str, str]:
    """Returns the names of the loss's parts in any row, and how they are called in a figure."""
    return loss_parts(name for row in rows for name in row)


def _all_runs(records: Sequence[RunRecord]) -> list[RunRecord]:
    return [run for record in records for run in record.members.values()]


def _is_curve(record: RunRecord, score: str, of: str) -> bool:
    """Returns whether a score was logged at two validations: a single one is no course of a training."""
    return len(curve(record.validation, score_name(score, of))[0]) > 1
