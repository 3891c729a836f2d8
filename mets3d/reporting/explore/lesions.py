"""Writes the section on lesions: how many a case, how large, and the cases without any."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from mets3d.data.describe import DataSet
from mets3d.data.describe_case import MM3_IN_ML, CaseNumbers
from mets3d.data.describe_summary import spread
from mets3d.evaluation.lesions import SIZE_EDGES_MM3
from mets3d.evaluation.region_scores import size_class, size_classes
from mets3d.regions import RC, Region
from mets3d.reporting.charts.style import INK, SOFT
from mets3d.reporting.explore.chart import chart, charts, plain_numbers, whole_numbers
from mets3d.reporting.explore.regions_shown import regions_of
from mets3d.reporting.explore.words import names_text, share_text, short, spread_text
from mets3d.reporting.html_page import Section
from mets3d.reporting.html_table import Cell, Table, flow, region_head
from mets3d.reporting.sentences import size_class_name
from mets3d.wording import counted

COUNT_EDGES = (0, 1, 2, 3, 5, 9, 17, 33, 65)  # lesions a case: each class begins here; the last has no end
SMALL_MM3 = SIZE_EDGES_MM3[1]
BINS_PER_DECADE = 5
HOW = (
    "A lesion is a connected component of a region in the reference, over corners too, with the volume of its voxels "
    "by the reference's own header. Dotted lines stand at 2, 27, 100 and 275 mm³: the rules of 2023 leave out lesions "
    "up to 2 mm³, those of 2026 call a lesion large from 27 mm³ on."
)


def lesions_section(data: DataSet) -> Section | None:
    """Writes lesions a case and their volumes by region; None without a reference."""
    cases = data.labelled
    if not cases:
        return None
    regions = regions_of(cases)
    said = [_empty(cases), _cavities(data)]
    if not regions:
        return Section("lesions", "Lesions", flow(*said))
    counts = charts(*(_count_chart(region, cases) for region in regions))
    volumes = charts(*(_volume_chart(region, volumes_of(region, cases)) for region in regions))
    html = flow(HOW, *said, counts, volumes, _by_region(regions, cases), _by_size(regions, cases))
    return Section("lesions", "Lesions", html)


def volumes_of(region: Region, cases: Sequence[CaseNumbers]) -> list[float]:
    """Returns the volume in mm3 of every lesion of a region."""
    return [lesion.volume_mm3 for case in cases for lesion in case.lesions.get(region.name, ())]


def counts_of(region: Region, cases: Sequence[CaseNumbers]) -> list[int]:
    """Returns the number of lesions of a region in each case."""
    return [len(case.lesions.get(region.name, ())) for case in cases]


def _empty(cases: Sequence[CaseNumbers]) -> str:
    names = [case.name for case in cases if not case.labels]
    if not names:
        return f"No empty reference among {len(cases):,}."
    return f"{counted(len(names), 'empty reference')} (no visible disease): {names_text(names, 12)}."


def _cavities(data: DataSet) -> str:
    """Says how many cases have a resection cavity, and at which of a patient's time points; empty without any."""
    found = [case for case in data.labelled if case.volume_mm3(RC.labels)]
    if not found:
        return ""
    volumes = spread(case.volume_mm3(RC.labels) / MM3_IN_ML for case in found)
    text = (
        f"{counted(len(found), 'case')} ({share_text(len(found), len(data.labelled))}) with a resection cavity (RC), "
        f"{spread_text(volumes)} ml"
    )
    if len(data.patients) < len(data.cases):
        later = sum(data.time_points[case.name] > 1 for case in found)
        text += f"; {later:,} of them at a patient's second time point or later"
    return f"{text}. RC belongs to no other region."


# ---------------------------------------------------------------- charts


def _count_chart(region: Region, cases: Sequence[CaseNumbers]) -> Markup:
    amounts = counts_of(region, cases)
    held = np.bincount(np.searchsorted(COUNT_EDGES, amounts, side="right") - 1, minlength=len(COUNT_EDGES)).tolist()
    last = max(at for at, amount in enumerate(held) if amount) + 1
    names = [_count_name(at) for at in range(last)]

    def draw(axis: Axes) -> None:
        axis.bar(range(last), held[:last], width=0.86, color=region.colour, edgecolor=SOFT)
        for at, amount in enumerate(held[:last]):
            if amount:
                axis.text(at, amount, f"{amount:,}", ha="center", va="bottom", fontsize=9)
        axis.set_xticks(range(last), names)
        axis.grid(visible=False, axis="x")
        axis.margins(y=0.12)
        whole_numbers(axis.yaxis)
        axis.set_xlabel(f"{region.name} lesions a case")
        axis.set_ylabel("cases")

    most = max(cases, key=lambda case: len(case.lesions.get(region.name, ())))
    title = f"{region.name}: {spread_text(spread(amounts))} lesions a case"
    by_class = ", ".join(f"{name} in {counted(amount, 'case')}" for name, amount in zip(names, held, strict=False))
    alt = f"{region.name} lesions a case: {by_class}."
    note = f"n = {counted(len(cases), 'reference')}; median [quartiles]. Most: {max(amounts):,} in {most.name}."
    return chart(f"count-{region.name}", draw, title=title, alt=alt, note=note)


def _count_name(at: int) -> str:
    low = COUNT_EDGES[at]
    if at + 1 == len(COUNT_EDGES):
        return f"{low}+"
    high = COUNT_EDGES[at + 1] - 1
    return str(low) if high == low else f"{low}–{high}"


def _volume_chart(region: Region, volumes: Sequence[float]) -> Markup | None:
    if not volumes:
        return None
    smallest, largest = min(volumes), max(volumes)
    low, high = int(np.floor(np.log10(smallest))), int(np.floor(np.log10(largest))) + 1
    edges = np.logspace(low, high, (high - low) * BINS_PER_DECADE + 1)
    heights, _ = np.histogram(volumes, edges)

    def draw(axis: Axes) -> None:
        top = 1.08 * heights.max()
        axis.stairs(heights, edges, fill=True, facecolor=region.colour, edgecolor=SOFT, linewidth=0.8)
        for edge in SIZE_EDGES_MM3:
            axis.axvline(edge, color=INK, linewidth=0.9, linestyle=":")
            axis.text(edge, 1.01 * top, f"{edge:g}", ha="center", va="bottom", fontsize=8.5, color=SOFT)
        axis.set_xscale("log")
        axis.set_xlim(min(edges[0], 1.0), max(edges[-1], 1000.0))
        plain_numbers(axis.xaxis)
        axis.set_ylim(0, top)
        whole_numbers(axis.yaxis)
        axis.set_xlabel(f"volume of a {region.name} lesion [mm³]")
        axis.set_ylabel("lesions")

    small = share_text(sum(volume < SMALL_MM3 for volume in volumes), len(volumes))
    found = spread_text(spread(volumes))
    title = f"{region.name}: {small} of the lesions are below 27 mm³"
    alt = (
        f"Histogram of the volume of {counted(len(volumes), f'{region.name} lesion')} on a logarithmic "
        f"axis, {short(smallest)} to "
        f"{short(largest)} mm³; {small} below 27 mm³."
    )
    note = f"n = {counted(len(volumes), 'lesion')}; {found} mm³, largest {short(largest)} mm³."
    return chart(f"volume-{region.name}", draw, title=title, alt=alt, note=note)


# ---------------------------------------------------------------- tables


def _by_region(regions: Sequence[Region], cases: Sequence[CaseNumbers]) -> Table:
    rows = []
    for region in regions:
        amounts = counts_of(region, cases)
        burden = spread(case.volume_mm3(region.labels) / MM3_IN_ML for case in cases if case.volume_mm3(region.labels))
        texts = (
            f"{sum(map(bool, amounts)):,}",
            f"{sum(amounts):,}",
            spread_text(spread(amounts)),
            f"{max(amounts):,}",
            spread_text(spread(volumes_of(region, cases))),
            spread_text(burden),
        )
        rows.append([region_head(region), *map(Cell, texts)])
    headings = ["Region", "Cases with", "Lesions", "A case", "Most", "A lesion [mm³]", "A case with any [ml]"]
    return Table("Lesions by region", headings, rows, "median [quartiles]")


def _by_size(regions: Sequence[Region], cases: Sequence[CaseNumbers]) -> Table:
    classes = size_classes(SIZE_EDGES_MM3)
    rows = []
    for region in regions:
        own = [size_class(volume, SIZE_EDGES_MM3) for volume in volumes_of(region, cases)]
        cells = (f"{own.count(name):,} ({share_text(own.count(name), len(own))})" for name in classes)
        rows.append([region_head(region), *map(Cell, cells)])
    headings = ["Region", *(f"{size_class_name(name)} mm³" for name in classes)]
    return Table("Lesions by size", headings, rows, "number (share)")
