"""Draws a forest plot: differences from the reference with their 95 % intervals, right of the zero line always better.

Scores have units of their own, so each has a panel with its own axis; of one of which less is better the axis runs
backwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from mets3d.evaluation.scores import Score
from mets3d.regions import Region
from mets3d.reporting.charts.style import INK, SOFT, offset, panels
from mets3d.reporting.sentences import number, shortened
from mets3d.reporting.verdict import digits_of_difference
from mets3d.statistics.answer import LEVEL, quoted_region
from mets3d.statistics.family import Difference

MOST_SCORES = 6  # of one arm: two rows of panels
MOST_BY_REGION = 6  # arms of which every region is drawn; of more the one that is quoted
MOST_ARMS = 40
COLUMNS = 3
BETTER = "#eaf4ee"  # behind the better side, which stands in words too
LONGEST = 34  # characters of an arm's name


@dataclass(frozen=True)
class _Row:
    """A line of a panel: its name and what is drawn on it, each with a colour."""

    name: str
    marks: tuple[tuple[Difference, str], ...]


def forest_figure(differences: Sequence[Difference], regions: Sequence[Region]) -> bytes | None:
    """Draws the differences of one arm, a row a region, or of several, a row an arm; None without any.

    Of one arm the scores of the declared family come first, then others, `MOST_SCORES` in all; of several arms the
    declared ones alone, and of more than `MOST_BY_REGION` one region.
    """
    methods = list(dict.fromkeys(own.method for own in differences))[:MOST_ARMS]
    several = len(methods) > 1
    scores = drawn_scores(differences)
    shown = drawn_regions(differences, regions)
    if not scores or not shown:
        return None
    by_key = {(own.method, own.score, own.region): own for own in differences}

    def draw(axes: Sequence[Axes]) -> None:
        for place, (axis, score) in enumerate(zip(axes, scores, strict=False)):
            own = {key: found for key, found in by_key.items() if key[1] == score}
            rows = _of_arms(own, methods, shown) if several else _of_regions(own, shown)
            _panel(axis, score, rows, named=place % COLUMNS == 0, numbered=not several)
        for axis in axes[len(scores) :]:
            axis.set_axis_off()
        if several and len(shown) > 1:
            _legend(axes[0], shown)

    lines = len(methods) if several else len(shown)
    height = 1.15 + lines * (max(0.25, 0.2 * len(shown)) if several else 0.42)
    rows = -(-len(scores) // COLUMNS)
    return panels(rows, min(COLUMNS, len(scores)), draw, height=rows * height, across="")


def drawn_scores(differences: Sequence[Difference]) -> list[Score]:
    """Returns the scores that have a panel: those of the declared family, and of one arm others after them."""
    declared = dict.fromkeys(own.score for own in differences if own.family != "exploratory")
    if len({own.method for own in differences}) > 1 and declared:
        return list(declared)[:COLUMNS]
    every = dict.fromkeys([*declared, *(own.score for own in differences)])
    return list(every)[:MOST_SCORES]


def drawn_regions(differences: Sequence[Difference], regions: Sequence[Region]) -> list[Region]:
    """Returns the regions that are drawn: all that have a difference, of many arms the one that is quoted."""
    there = {own.region for own in differences}
    shown = [region for region in regions if region.name in there]
    if len({own.method for own in differences}) <= MOST_BY_REGION or not shown:
        return shown
    quoted = quoted_region([region.name for region in shown])
    return [region for region in shown if region.name == quoted]


# ---------------------------------------------------------------- rows

_Found = dict[tuple[str, Score, str], Difference]


def _of_regions(found: _Found, regions: Sequence[Region]) -> list[_Row]:
    by_region = {region: own for (_, _, region), own in found.items()}
    return [
        _Row(region.name, ((by_region[region.name], INK),) if region.name in by_region else ()) for region in regions
    ]


def _of_arms(found: _Found, methods: Sequence[str], regions: Sequence[Region]) -> list[_Row]:
    by_arm = {(method, region): own for (method, _, region), own in found.items()}
    one = len(regions) == 1
    return [
        _Row(
            shortened(method, LONGEST),
            tuple(
                (by_arm[method, region.name], INK if one else region.colour)
                for region in regions
                if (method, region.name) in by_arm
            ),
        )
        for method in methods
    ]


# ---------------------------------------------------------------- one panel


def _panel(axis: Axes, score: Score, rows: Sequence[_Row], *, named: bool, numbered: bool) -> None:
    for height, row in enumerate(rows):
        for place, (own, colour) in enumerate(row.marks):
            _mark(axis, height + offset(place, len(row.marks), 0.22), own, colour, numbered=numbered)
    axis.axvline(0, color=SOFT, linewidth=1.1, zorder=1)
    _limits(axis, score)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_yticks(range(len(rows)), [row.name for row in rows] if named else [""] * len(rows), fontsize=9, color=INK)
    axis.grid(visible=False, axis="y")
    axis.tick_params(axis="y", length=0)
    unit = f" [{score.unit}]" if score.unit else ""
    axis.set_title(f"{score.name}{unit}", pad=17)
    for at, side, words in ((0, "left", "← worse"), (1, "right", "better →")):
        axis.annotate(
            words,
            (at, 1),
            (0, 4),
            xycoords="axes fraction",
            textcoords="offset points",
            ha=side,
            fontsize=8.5,
            color=SOFT,
        )


def _mark(axis: Axes, y: float, own: Difference, colour: str, *, numbered: bool) -> None:
    """Draws an interval with the difference on it, full where the test says that there is one."""
    found = own.found
    if found.interval:
        axis.plot(found.interval, [y, y], color=colour, linewidth=1.8, solid_capstyle="butt", zorder=3)
    sure = own.p_holm is not None and own.p_holm < LEVEL
    face = colour if sure else "#fff"
    axis.plot([found.difference], [y], "o", markersize=6, color=colour, markerfacecolor=face, mew=1.5, zorder=4)
    if numbered:
        digits = digits_of_difference(own.score)
        axis.annotate(
            number(found.difference, digits, sign=True),
            (found.difference, y),
            (0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=INK,
        )


def _limits(axis: Axes, score: Score) -> None:
    """Shows zero and what is drawn, the better side on the right and shaded."""
    low, high = axis.dataLim.intervalx
    low, high = min(low, 0.0), max(high, 0.0)
    room = 0.12 * (high - low or 1.0)
    low, high = low - room, high + room
    if score.better == "lower":
        axis.set_xlim(high, low)
        axis.axvspan(low, 0, color=BETTER, zorder=0, linewidth=0)
    else:
        axis.set_xlim(low, high)
        axis.axvspan(0, high, color=BETTER, zorder=0, linewidth=0)
    axis.locator_params(axis="x", nbins=5)


def _legend(axis: Axes, regions: Sequence[Region]) -> None:
    for region in regions:
        axis.plot([], [], "o", color=region.colour, label=region.name)
    axis.figure.legend(*axis.get_legend_handles_labels(), loc="outside upper right", ncols=len(regions), fontsize=8.5)
