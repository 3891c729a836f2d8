"""Draws every case in every run by matplotlib without a display, as SVG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from mets3d.evaluation.scores import Score
from mets3d.regions import Region
from mets3d.reporting.charts.style import FAINT, dots, millimetres, panels, run_colours
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import shortened
from mets3d.statistics.cohort import summarise

MOST_BESIDE = 4  # names of runs that stand beside each other; those of more stand upright


def dots_figure(records: Sequence[RunRecord], cases: Sequence[str], scores: Sequence[Score]) -> bytes:
    """Draws every case as a dot in each run, joined by a line, the mean as a bar: a panel per score and region."""
    regions = records[0].regions

    def draw(axes: Sequence[Axes]) -> None:
        panels = iter(axes)
        for score in scores:
            for region in regions:
                _dots(next(panels), records, cases, score, region)

    return panels(len(scores), len(regions), draw, height=2.7 * len(scores), across="")


def _dots(axis: Axes, records: Sequence[RunRecord], cases: Sequence[str], score: Score, region: Region) -> None:
    columns = [record.values(region.name, score.column, cases) for record in records]
    colours = run_colours(len(records))
    # One line with gaps: a line for each of sixty cases costs a second.
    places = [*range(len(columns)), np.nan] * len(cases)
    values = [value for case in cases for value in (*(column.get(case, np.nan) for column in columns), np.nan)]
    axis.plot(places, values, color=FAINT, linewidth=0.8, zorder=1)
    for place, (column, colour) in enumerate(zip(columns, colours, strict=True)):
        dots(axis, [place] * len(column), list(column.values()), colour)
        summary = summarise(column)
        if summary:
            axis.hlines(summary.mean, place - 0.22, place + 0.22, color=colour, linewidth=2.4, zorder=4)
    if len(records) <= MOST_BESIDE:
        names = [shortened(record.label, 45 // len(records)) for record in records]
        axis.set_xticks(range(len(records)), names)
    else:
        names = [shortened(record.label, 24) for record in records]
        axis.set_xticks(range(len(records)), names, rotation=90, fontsize=6)
    axis.set_xlim(-0.5, len(records) - 0.5)
    axis.grid(visible=False, axis="x")
    unit = f" [{score.unit}]" if score.unit else ""
    axis.set_title(f"{region.name}: {score.name}{unit}")
    largest = max([1.0, *(value for column in columns for value in column.values())])
    if score.unit or largest > 1:
        millimetres(axis, largest)
    else:
        axis.set_ylim(-0.03, 1.03)
