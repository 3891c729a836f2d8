"""Draws how fast a training goes by matplotlib without a display, as SVG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from mets3d.reporting.charts.style import INK, panels
from mets3d.reporting.charts.training import PART_COLOURS, RAW_POINTS, SMOOTH_POINTS
from mets3d.reporting.run_record import RunRecord
from mets3d.statistics.curves import Curve, curve, thinned
from mets3d.statistics.pace import step_curve


def pace_figure(record: RunRecord) -> bytes:
    """Draws seconds a step, learning rate and seconds a validation over the steps so far."""

    def draw(axes: Sequence[Axes]) -> None:
        times = step_curve(record.training, record.config.train.batch_size)
        axes[0].plot(*thinned(times, RAW_POINTS), color=PART_COLOURS[0], linewidth=0.7, alpha=0.3)
        axes[0].plot(*thinned(times, SMOOTH_POINTS), color=PART_COLOURS[0], linewidth=1.6)
        if len(times[1]):  # one step that waited, such as the first, must not flatten all others
            axes[0].set_ylim(0, 1.5 * float(np.percentile(times[1], 98)))
        axes[0].set_title("Seconds a step")
        _line(axes[1], thinned(curve(record.training, "lr"), RAW_POINTS), "Learning rate")
        _line(axes[2], curve(record.validation, "seconds"), "Seconds a validation", marker="o")
        for axis in axes:
            axis.set_xlim(0, record.config.train.steps)

    return panels(1, 3, draw, height=2.7, across="optimizer step")


def _line(axis: Axes, points: Curve, title: str, marker: str = "") -> None:
    axis.plot(*points, color=INK, linewidth=1.5, marker=marker, markersize=3)
    axis.set_ylim(bottom=0)
    axis.set_title(title)
