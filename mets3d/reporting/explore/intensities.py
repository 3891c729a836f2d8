"""Writes the section on intensities: each sequence inside the brain over all cases, and how lesions stand out from it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from mets3d.data.describe import DataSet
from mets3d.data.describe_case import Intensities
from mets3d.data.describe_summary import at_most_columns, outliers, spread
from mets3d.regions import BACKGROUND, LABEL_NAMES
from mets3d.reporting.charts.style import INK, SOFT
from mets3d.reporting.explore.chart import MOST_COLUMNS, chart, charts
from mets3d.reporting.explore.grids import FILL
from mets3d.reporting.explore.regions_shown import COLOUR_OF_LABEL
from mets3d.reporting.explore.tables import plain_table
from mets3d.reporting.explore.words import names_text, short, spread_text

BANDS = ((1, 99, 0.16), (5, 95, 0.22), (25, 75, 0.38))  # percentiles, opacity
HOW = (
    "Values as they lie in the files, inside the brain. Medians over cases with quartiles. The peak is the highest "
    "value in standard deviations above the mean: real scans reach 3 to 14, and a single voxel far above takes the "
    "whole scale."
)


def intensities_section(data: DataSet) -> str:
    """Writes each sequence's values as chart and table, and the contrast of lesions; empty where none was read."""
    sequences = list(dict.fromkeys(sequence for case in data.cases for sequence in case.intensities))
    found = {
        name: {case.name: case.intensities[name] for case in data.cases if name in case.intensities}
        for name in sequences
    }
    if not found:
        return ""
    drawn = charts(*(_sequence_chart(name, cases) for name, cases in found.items()))
    return (
        f'<section><h2 id="intensities">Intensities</h2><p>{escape(HOW)}</p>{drawn}{_table(found)}{_contrast(data, sequences)}'
        "</section>"
    )


def odd_cases(cases: dict[str, Intensities]) -> list[str]:
    """Returns the names of cases whose median or peak is far from that of the others."""
    medians = outliers({name: values.percentiles[50] for name, values in cases.items()})
    peaks = outliers({name: values.peak for name, values in cases.items()})
    return list(dict.fromkeys([*medians, *peaks]))


def _sequence_chart(sequence: str, cases: dict[str, Intensities]) -> str:
    percentiles = [values.percentiles for values in cases.values()]
    wanted = sorted({bound for low, high, _ in BANDS for bound in (low, high)} | {50})
    rows = sorted(([own[p] for p in wanted] for own in percentiles), key=lambda row: row[wanted.index(50)])
    columns = np.array(at_most_columns(rows, MOST_COLUMNS))
    medians = spread(own[50] for own in percentiles)

    def draw(axis: Axes) -> None:
        across = (np.arange(len(columns)) + 0.5) / len(columns) * len(cases)
        ends = np.concatenate([[0.0], across, [float(len(cases))]])
        held = np.concatenate([columns[:1], columns, columns[-1:]])  # a case is a column, not a point
        for low, high, opacity in BANDS:
            axis.fill_between(
                ends, held[:, wanted.index(low)], held[:, wanted.index(high)], color=FILL, alpha=opacity, linewidth=0
            )
        axis.plot(ends, held[:, wanted.index(50)], color=INK, linewidth=1.6)
        if columns.min() > 0 and columns.max() / columns.min() > 30:
            axis.set_yscale("log")
            axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_xlim(0, len(cases))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_xlabel("cases, ordered by median")
        axis.set_ylabel("value in the brain")

    far = odd_cases(cases)
    odd = f" Far from the others: {names_text(far)}." if far else ""
    lowest, highest = (medians.lowest, medians.highest) if medians else (0.0, 0.0)
    title = f"{sequence}: medians from {short(lowest)} to {short(highest)}"
    alt = (
        f"Values of {sequence} inside the brain of {len(cases)} cases ordered by median, with bands of 50, 90 and 98 % of the "
        f"voxels; the medians go from {short(lowest)} to {short(highest)}."
    )
    return chart(
        f"values-{sequence}",
        draw,
        title=title,
        alt=alt,
        note=f"Line: median; bands: 50, 90 and 98 % of the voxels.{odd}",
    )


def _table(found: dict[str, dict[str, Intensities]]) -> str:
    rows = []
    for sequence, cases in found.items():
        values = list(cases.values())
        columns = (
            [own.percentiles[1] for own in values],
            [own.percentiles[50] for own in values],
            [own.percentiles[99] for own in values],
            [own.highest for own in values],
            [own.peak for own in values],
        )
        far = odd_cases(cases)
        rows.append(
            [sequence, f"{len(values):,}", *(spread_text(spread(own)) for own in columns), names_text(far, 3) or "–"]
        )
    headings = ["Sequence", "n", "1 %", "Median", "99 %", "Highest", "Peak [SD]", "Far from the others"]
    return plain_table("Values inside the brain, median [quartiles] over cases", headings, rows)


def _contrast(data: DataSet, sequences: Sequence[str]) -> str:
    """Draws how far each label stands out on each sequence; empty without a label."""
    labels = [
        (label, name)
        for label, name in LABEL_NAMES.items()
        if label != BACKGROUND and any(name in own.contrast for case in data.cases for own in case.intensities.values())
    ]
    if not labels:
        return ""
    found = {
        (name, sequence): spread(
            case.intensities[sequence].contrast[name]
            for case in data.cases
            if sequence in case.intensities and name in case.intensities[sequence].contrast
        )
        for _, name in labels
        for sequence in sequences
    }
    figures = []
    for label, name in labels:
        own = {sequence: found[name, sequence] for sequence in sequences}
        best = max(sequences, key=lambda sequence: abs(own[sequence].median) if own[sequence] else 0.0)

        def draw(axis: Axes, own=own, label=label) -> None:
            for at, value in enumerate(own.values()):
                if value is not None:
                    axis.plot(
                        [value.q1, value.q3], [at, at], color=COLOUR_OF_LABEL[label], linewidth=7, solid_capstyle="butt"
                    )
                    axis.plot([value.lowest, value.highest], [at, at], color=SOFT, linewidth=0.9)
                    axis.plot([value.median], [at], "o", color=INK, markersize=5)
            axis.axvline(0, color=SOFT, linewidth=0.9)
            axis.set_yticks(range(len(own)), list(own))
            axis.set_ylim(len(own) - 0.5, -0.5)
            axis.set_xlabel("above the brain's mean [SD]")

        value = own[best]
        title = f"{name} is {short(abs(value.median))} SD {'above' if value.median > 0 else 'below'} the brain's mean on {best}"
        alt = f"{name}: " + "; ".join(f"{sequence} {spread_text(value)} SD" for sequence, value in own.items()) + "."
        amount = max(value.amount for value in own.values() if value)
        note = f"n = {amount:,} cases with {name}. Dot: median over cases of each case's median; bar: quartiles; line: all."
        figures.append(chart(f"contrast-{name}", draw, title=title, alt=alt, note=note, height=2.1))
    return f"<h3>How lesions stand out</h3>{charts(*figures)}"
