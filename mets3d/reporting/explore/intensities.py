"""Writes the section on intensities: each sequence inside the brain over all cases, and how lesions stand out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from mets3d.data.describe import DataSet
from mets3d.data.describe_case import Intensities
from mets3d.data.describe_summary import Spread, at_most_columns, outliers, spread
from mets3d.regions import BACKGROUND, LABEL_NAMES
from mets3d.reporting.charts.style import INK, SOFT
from mets3d.reporting.explore.chart import FILL, MOST_COLUMNS, chart, charts, plain_numbers, whole_numbers
from mets3d.reporting.explore.regions_shown import COLOUR_OF_LABEL
from mets3d.reporting.explore.tables import plain_table
from mets3d.reporting.explore.words import names_text, short, spread_text
from mets3d.reporting.html_page import Section
from mets3d.reporting.html_table import Table, flow
from mets3d.wording import counted

BANDS = ((1, 99, 0.16), (5, 95, 0.22), (25, 75, 0.38))  # percentiles, opacity
SHOWN = sorted({bound for low, high, _ in BANDS for bound in (low, high)} | {50})
MEDIAN = SHOWN.index(50)
NOBODY = "–"
HOW = (
    "Values as they lie in the files, inside the brain. The peak is the highest value in standard deviations above the "
    "mean: real scans reach 3 to 14, and a single voxel far above takes the whole scale."
)


def intensities_section(data: DataSet) -> Section | None:
    """Writes each sequence's values as chart and table, and the contrast of lesions; None where none was read."""
    sequences = list(dict.fromkeys(sequence for case in data.cases for sequence in case.intensities))
    if not sequences:
        return None
    found = {
        name: {case.name: case.intensities[name] for case in data.cases if name in case.intensities}
        for name in sequences
    }
    drawn = charts(*(_sequence_chart(name, cases) for name, cases in found.items()))
    html = flow(HOW, drawn, _table(found), _contrast(data, sequences))
    return Section("intensities", "Intensities", html)


def odd_cases(cases: Mapping[str, Intensities]) -> list[str]:
    """Returns the names of cases whose median or peak is far from that of the others."""
    medians = outliers({name: values.percentiles[50] for name, values in cases.items()})
    peaks = outliers({name: values.peak for name, values in cases.items()})
    return list(dict.fromkeys([*peaks, *medians]))


def _sequence_chart(sequence: str, cases: Mapping[str, Intensities]) -> Markup:
    rows = [[own.percentiles[p] for p in SHOWN] for own in cases.values()]
    columns = np.array(at_most_columns(sorted(rows, key=lambda row: row[MEDIAN]), MOST_COLUMNS))

    def draw(axis: Axes) -> None:
        across = (np.arange(len(columns)) + 0.5) / len(columns) * len(cases)
        ends = np.concatenate([[0.0], across, [float(len(cases))]])
        held = np.concatenate([columns[:1], columns, columns[-1:]])  # a case is a column, not a point
        for low, high, opacity in BANDS:
            below, above = held[:, SHOWN.index(low)], held[:, SHOWN.index(high)]
            axis.fill_between(ends, below, above, color=FILL, alpha=opacity, linewidth=0)
        axis.plot(ends, held[:, MEDIAN], color=INK, linewidth=1.6)
        if columns.min() > 0 and columns.max() / columns.min() > 30:
            axis.set_yscale("log")
            plain_numbers(axis.yaxis)
        axis.set_xlim(0, len(cases))
        whole_numbers(axis.xaxis)
        axis.set_xlabel("cases, ordered by median")
        axis.set_ylabel("value in the brain")

    far = odd_cases(cases)
    odd = f" Far from the others: {names_text(far)}." if far else ""
    lowest, highest = short(min(row[MEDIAN] for row in rows)), short(max(row[MEDIAN] for row in rows))
    title = f"{sequence}: medians from {lowest} to {highest}" if lowest != highest else f"{sequence}: median {lowest}"
    alt = (
        f"Values of {sequence} inside the brain of {counted(len(cases), 'case')} ordered by median, with "
        "bands of 50, 90 and 98 % "
        f"of the voxels; the medians go from {lowest} to {highest}."
    )
    note = f"n = {len(cases):,}. Line: median; bands: 50, 90 and 98 % of the voxels.{odd}"
    return chart(f"values-{sequence}", draw, title=title, alt=alt, note=note)


def _table(found: Mapping[str, Mapping[str, Intensities]]) -> Table:
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
        spreads = (spread_text(spread(own)) for own in columns)
        rows.append([sequence, f"{len(values):,}", *spreads, names_text(odd_cases(cases), 3) or NOBODY])
    headings = ["Sequence", "n", "1 %", "Median", "99 %", "Highest", "Peak [SD]", "Far from the others"]
    if all(row[-1] == NOBODY for row in rows):
        headings, rows = headings[:-1], [row[:-1] for row in rows]
    return plain_table("Values inside the brain", headings, rows, how="median [quartiles] over cases")


# ---------------------------------------------------------------- contrast of lesions


def _contrast(data: DataSet, sequences: Sequence[str]) -> Markup | None:
    """Draws how far each label stands out on each sequence; None without a label."""
    drawn = []
    for label, name in LABEL_NAMES.items():
        spreads = {sequence: _contrasts(data, name, sequence) for sequence in sequences}
        found = {sequence: own for sequence, own in spreads.items() if own is not None}
        if label != BACKGROUND and found:
            drawn.append(_contrast_chart(label, found))
    return charts(*drawn)


def _contrasts(data: DataSet, name: str, sequence: str) -> Spread | None:
    """Returns the spread over cases of a label's median, in standard deviations above the brain's mean."""
    own = (case.intensities[sequence].contrast for case in data.cases if sequence in case.intensities)
    return spread(contrast[name] for contrast in own if name in contrast)


def _contrast_chart(label: int, found: Mapping[str, Spread]) -> Markup:
    name, colour = LABEL_NAMES[label], COLOUR_OF_LABEL[label]

    def draw(axis: Axes) -> None:
        for at, own in enumerate(found.values()):
            axis.plot([own.lowest, own.highest], [at, at], color=SOFT, linewidth=0.9)
            axis.plot([own.q1, own.q3], [at, at], color=colour, linewidth=7, solid_capstyle="butt")
            axis.plot([own.median], [at], "o", color=INK, markersize=5)
        axis.axvline(0, color=SOFT, linewidth=0.9)
        axis.set_yticks(range(len(found)), list(found))
        axis.set_ylim(len(found) - 0.5, -0.5)
        axis.set_xlabel("above the brain's mean [SD]")

    best, most = max(found.items(), key=lambda item: abs(item[1].median))
    side = "above" if most.median > 0 else "below"
    title = f"{name} is {short(abs(most.median))} SD {side} the brain's mean on {best}"
    alt = f"{name}: " + "; ".join(f"{sequence} {spread_text(own)} SD" for sequence, own in found.items()) + "."
    amount = max(own.amount for own in found.values())
    note = f"n = {amount:,} with {name}. Dot: median over cases of each case's median; bar: quartiles; line: all."
    return chart(f"contrast-{name}", draw, title=title, alt=alt, note=note, height=2.1)
