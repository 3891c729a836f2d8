"""Draws figures of lesions by region, for one run or several: recall by size, and Dice against volume.

One run is drawn in the colours of its regions; several have a colour each. A figure without anything to draw is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from mets3d.evaluation.tables import Row
from mets3d.regions import Region
from mets3d.reporting.charts.style import (
    FAINT,
    INK,
    Cases,
    Records,
    by_region,
    colours_of,
    crosses,
    dots,
    from_to,
    logarithmic,
    offset,
    unit_interval,
)
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import size_class_name
from mets3d.statistics.size_recall import SizeRecall, recall_by_size, size_classes_of, size_edges_mm3
from mets3d.wording import counted

FEWEST_WITH_INTERVAL = 2  # patients; a picture may show an interval where the cohort's table says nothing yet
KINDS_THAT_COUNT = ("found", "missed")


def recall_figure(records: Records, cases: Cases) -> bytes | None:
    """Draws the share of reference lesions found by class of volume, with 95 % intervals: a panel per region."""
    classes = _size_classes(records, cases)

    def draw(axis: Axes, region: Region) -> None:
        recalls = [_recalls(record, region, cases) for record in records]
        for place, (own, colour) in enumerate(zip(recalls, colours_of(records, region), strict=True)):
            aside = offset(place, len(records), min(0.2, 0.8 / len(records)))
            _recall(axis, {at + aside: own[name] for at, name in enumerate(classes) if name in own}, colour)
        axis.set_xticks(range(len(classes)), [_class_label(name, recalls) for name in classes], fontsize=7)
        axis.set_xlim(-0.6, len(classes) - 0.4)
        axis.grid(visible=False, axis="x")
        total = max(len(_reference_lesions(record, region, cases)) for record in records)
        axis.set_title(f"{region.name}: recall, {counted(total, 'lesion')}")
        unit_interval(axis)

    return by_region(records, lambda region: _any_lesions(records, region, cases), draw, "volume of the lesion [mm³]")


def dice_figure(records: Records, cases: Cases) -> bytes | None:
    """Draws the Dice of every reference lesion against its volume: found ones dots, missed ones crosses."""
    edges = size_edges_mm3(_size_classes(records, cases))

    def draw(axis: Axes, region: Region) -> None:
        for edge in edges:
            axis.axvline(edge, color=FAINT, linewidth=0.8, linestyle=":", zorder=1)
        for place, (record, colour) in enumerate(zip(records, colours_of(records, region), strict=True)):
            lesions = _counted_lesions(record.members[record.key], region, cases)  # of an arm those of one run
            found = [row for row in lesions if row["kind"] == "found" and "dice" in row]
            lost = [row for row in lesions if row["kind"] == "missed"]
            dots(axis, _volumes(found), [row["dice"] for row in found], colour)
            heights = [-0.04 - 0.045 * place] * len(lost)
            ink = colour if len(records) > 1 else INK
            crosses(axis, _volumes(lost), heights, ink)
        logarithmic(axis)
        axis.set_title(f"{region.name}: Dice of each lesion")
        axis.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1.0])
        axis.set_ylim(-0.08 - 0.045 * len(records), 1.04)

    def there(region: Region) -> bool:
        return _any_lesions(records, region, cases)

    return by_region(records, there, draw, "volume of the reference lesion [mm³]", _legend_of_kinds)


# ---------------------------------------------------------------- parts


def _recall(axis: Axes, sizes: Mapping[float, SizeRecall], colour: str) -> None:
    """Draws the recall of each size class at its place, with its interval."""
    bars = {x: size.interval for x, size in sizes.items() if size.interval}
    low, high = ([interval[end] for interval in bars.values()] for end in (0, 1))
    axis.vlines([*bars], low, high, color=colour, linewidth=1.6)
    dots(axis, [*sizes], [size.recall for size in sizes.values()], colour, diameter=6, alpha=1)


def _class_label(name: str, recalls: Sequence[dict[str, SizeRecall]]) -> str:
    """Names a size class and its number of lesions, of each run where they differ."""
    return f"{size_class_name(name, '–')}\nn = {from_to(own[name].lesions if name in own else 0 for own in recalls)}"


def _legend_of_kinds(axes: Sequence[Axes]) -> None:
    grey = "#6b7280"
    dot = Line2D([], [], marker="o", color="none", markerfacecolor=grey, markeredgecolor="none", label="found")
    cross = Line2D([], [], marker="x", color="none", markeredgecolor=INK, label="missed")
    axes[0].add_artist(axes[0].legend(handles=[dot, cross], fontsize=7.5, loc="upper left"))


# ---------------------------------------------------------------- rows


def _recalls(record: RunRecord, region: Region, cases: Cases) -> dict[str, SizeRecall]:
    rows = record.score_rows(region.name, cases), record.lesion_rows(region.name, cases)
    return {size.size_class: size for size in recall_by_size(*rows, fewest=FEWEST_WITH_INTERVAL)}


def _size_classes(records: Records, cases: Cases) -> list[str]:
    scores = [row for record in records for row in record.score_rows(cases=cases)]
    return size_classes_of(scores, [row for record in records for row in record.lesion_rows(cases=cases)])


def _any_lesions(records: Records, region: Region, cases: Cases) -> bool:
    return any(_counted_lesions(record, region, cases) for record in records)


def _counted_lesions(record: RunRecord, region: Region, cases: Cases) -> list[Row]:
    """Returns the reference lesions of a region that count: found and missed ones with a volume."""
    rows = record.lesion_rows(region.name, cases)
    return [row for row in rows if row["kind"] in KINDS_THAT_COUNT and "reference_volume_mm3" in row]


def _reference_lesions(record: RunRecord, region: Region, cases: Cases) -> set[tuple[str, str]]:
    """Returns the lesions that count, each once also where several runs found or missed it."""
    return {(row["case"], row["lesion"]) for row in _counted_lesions(record, region, cases)}


def _volumes(rows: Sequence[Row]) -> list[float]:
    return [row["reference_volume_mm3"] for row in rows]
