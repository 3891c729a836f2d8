"""Draws figures of cases by region, for one run or several: lesion-wise scores, and agreement of volumes.

One run is drawn in the colours of its regions; several have a colour each. A figure without anything to draw is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from mets3d.evaluation.scores import Score, shown_in
from mets3d.regions import Region
from mets3d.reporting.charts.style import (
    INK,
    SOFT,
    Cases,
    Records,
    by_region,
    coloured,
    colours_of,
    dots,
    from_to,
    legend_of_runs,
    logarithmic,
    millimetres,
    offset,
    panels,
    unit_interval,
)
from mets3d.reporting.run_record import RunRecord
from mets3d.statistics.agreement import VolumeAgreement, VolumePairs, volume_agreement, volume_pairs
from mets3d.statistics.box import box, share_of
from mets3d.statistics.lesion_counts import share_with_penalty

FEWEST_FOR_BOX = 5  # below it the points are all there is, and quartiles are made up between them
MM3_IN_CM3 = 1000.0
MOST_SHARES = 4  # of runs side by side beneath a box
MOST_WIDE = 3  # regions whose labels have room for a share behind its name


def scores_figure(records: Records, cases: Cases) -> bytes | None:
    """Draws the lesion-wise scores of every case by region: points, box, and the share of cases at their worst."""
    scores = [score for score in shown_in("figure") if any(_has_values(record, score, cases) for record in records)]
    if not scores:
        return None

    def draw(axes: Sequence[Axes]) -> None:
        for axis, score in zip(axes, scores, strict=True):
            _score_panel(axis, records, cases, score)
        if len(records) > 1:
            legend_of_runs(axes[0], coloured(records))

    return panels(1, len(scores), draw, height=3.5, across="")


def volumes_figure(records: Records, cases: Cases) -> bytes | None:
    """Draws Bland and Altman's plot of each case's volumes, a panel per region, with bias and limits of agreement."""

    def pairs_of(region: Region) -> list[VolumePairs]:
        return [volume_pairs(record.score_rows(region.name, cases)) for record in records]

    def draw(axis: Axes, region: Region) -> None:
        found = list(zip(pairs_of(region), colours_of(records, region), strict=True))
        for pairs, colour in found:
            dots(axis, pairs.mean_mm3 / MM3_IN_CM3, pairs.difference_mm3 / MM3_IN_CM3, colour)
            agreement = volume_agreement(pairs.prediction_mm3, pairs.reference_mm3, pairs.cases, pairs.patients)
            if agreement is not None:
                _levels(axis, agreement, colour, alone=len(records) == 1)
        means = [float(mean) / MM3_IN_CM3 for pairs, _ in found for mean in pairs.mean_mm3]
        axis.axhline(0, color="#8a919c", linewidth=0.8, zorder=1)
        axis.set_xlim(min(means) / 1.6, max(means) * 1.6)
        logarithmic(axis)
        axis.margins(y=0.12)
        axis.set_title(f"{region.name}: difference [cm³]")

    def there(region: Region) -> bool:
        return any(pairs.cases for pairs in pairs_of(region))

    return by_region(records, there, draw, "mean of the two volumes [cm³]; upwards: prediction − reference")


# ---------------------------------------------------------------- panels


@dataclass(frozen=True)
class _Group:
    """The values of a run in a region, at a place of the x axis."""

    x: float
    values: list[float]
    colour: str


def _score_panel(axis: Axes, records: Records, cases: Cases, score: Score) -> None:
    """Draws one score: a group per region, in it a box per run."""
    names, largest, groups = [], 1.0, []
    for at, region in enumerate(records[0].regions):
        amounts, worst = set(), []
        for place, (record, colour) in enumerate(zip(records, colours_of(records, region), strict=True)):
            values = list(record.values(region.name, score.column, cases).values())
            largest = max([largest, *values])
            groups.append(_Group(at + offset(place, len(records), 0.8 / len(records)), values, colour))
            worst.append(round(100 * _share_at_worst(record, region, score, cases)))
            amounts.add(len(values))
        what = "penalty" if score.worst == "penalty" else f"at {score.worst:g}:"
        gap = "\n" if len(records) > 1 or len(records[0].regions) > MOST_WIDE else " "
        names.append(f"{region.name}\nn = {from_to(amounts)}\n{what}{gap}{_listed(worst)} %")
    _boxes(axis, [group for group in groups if group.values], 0.55 / len(records))
    axis.set_xticks(range(len(names)), names, fontsize=8)
    axis.set_xlim(-0.6, len(names) - 0.4)
    axis.grid(visible=False, axis="x")
    axis.set_title(score.name + (f" [{score.unit}]" if score.unit else ""))
    if score.unit or largest > 1:
        millimetres(axis, largest)
    else:
        unit_interval(axis)


def _listed(shares: Sequence[int]) -> str:
    """Writes a share of each run, of many the lowest and the highest."""
    if len(shares) <= MOST_SHARES:
        return "/".join(map(str, shares))
    return f"{min(shares)} to {max(shares)}" if min(shares) < max(shares) else str(min(shares))


def _boxes(axis: Axes, groups: Sequence[_Group], width: float) -> None:
    """Draws quartiles and median as a box, whiskers to the last value within 1.5 of its height; every value a dot.

    What has one colour is drawn in one go: a hundred boxes part by part take seconds.
    """
    for colour in dict.fromkeys(group.colour for group in groups):
        own = [group for group in groups if group.colour == colour]
        boxed = [group for group in own if len(group.values) >= FEWEST_FOR_BOX]
        found = [box(group.values) for group in boxed]
        x = np.array([group.x for group in boxed])
        low, q1, q3, high = np.array([[one.low, one.q1, one.q3, one.high] for one in found]).reshape(-1, 4).T
        axis.bar(x, q3 - q1, width, q1, facecolor=f"{colour}2e", edgecolor=colour, linewidth=1.1, zorder=2)
        line: Any = {"color": colour, "linewidth": 1.1}
        axis.vlines(np.tile(x, 2), np.concatenate([low, q3]), np.concatenate([q1, high]), **line)
        axis.hlines(np.concatenate([low, high]), np.tile(x - width / 4, 2), np.tile(x + width / 4, 2), **line)
        # Golden-ratio steps spread any number of dots evenly, the same way every time.
        spread = [
            group.x + width * 0.8 * ((0.5 + 0.618034 * index) % 1 - 0.5)
            for group in own
            for index in range(len(group.values))
        ]
        dots(axis, spread, [value for group in own for value in group.values], colour)
    x = np.array([group.x for group in groups])
    medians = [box(group.values).median for group in groups]
    axis.hlines(medians, x - width / 2, x + width / 2, color=INK, linewidth=1.8, zorder=4)


def _levels(axis: Axes, agreement: VolumeAgreement, colour: str, *, alone: bool) -> None:
    """Draws bias and limits of agreement; of a run that is alone with the value of each line at its right end."""
    levels = (
        ("bias", agreement.bias_mm3, "-"),
        ("limit", agreement.lower_mm3, "--"),
        ("limit", agreement.upper_mm3, "--"),
    )
    for name, level_mm3, style in levels:
        if level_mm3 is None:
            continue
        level = level_mm3 / MM3_IN_CM3
        axis.axhline(level, color=INK if alone else colour, linewidth=1.1, linestyle=style, zorder=2)
        if alone:
            _level_text(axis, f"{name} {level:+.2g}".replace("-", "−"), level)


def _level_text(axis: Axes, text: str, level: float) -> None:
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


# ---------------------------------------------------------------- numbers


def _share_at_worst(record: RunRecord, region: Region, score: Score, cases: Cases) -> float:
    """Returns the share of cases at the score's worst value; of a distance, of cases with a penalty."""
    if score.worst == "penalty":
        return share_with_penalty(record.score_rows(region.name, cases))
    return share_of(list(record.values(region.name, score.column, cases).values()), score.worst)


def _has_values(record: RunRecord, score: Score, cases: Cases) -> bool:
    return any(record.values(region.name, score.column, cases) for region in record.regions)
