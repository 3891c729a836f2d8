"""Writes the section on lesions: how many a case, how large, and the cases without any."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from matplotlib.axes import Axes

from mets3d.data.describe import DataSet
from mets3d.data.describe_case import CaseNumbers
from mets3d.data.describe_summary import spread
from mets3d.evaluation.lesions import SIZE_EDGES_MM3
from mets3d.evaluation.region_scores import size_class, size_classes
from mets3d.regions import RC, Region
from mets3d.reporting.charts.style import INK, SOFT, logarithmic
from mets3d.reporting.explore.chart import chart, charts
from mets3d.reporting.explore.regions_shown import regions_of
from mets3d.reporting.explore.tables import scrolled
from mets3d.reporting.explore.words import names_text, share_text, short, spread_text
from mets3d.reporting.html_table import number_cell, region_cell, table, table_row
from mets3d.reporting.sentences import count, size_class_name

COUNT_EDGES = (0, 1, 2, 3, 5, 9, 17, 33, 65)  # lesions a case: each class begins here; the last has no end
SMALL_MM3 = SIZE_EDGES_MM3[1]
BINS_PER_DECADE = 5
HOW = (
    "A lesion is a connected component, over corners too, of a region in the reference, with the volume of its voxels "
    "by the reference's own header. Dotted lines stand at 2, 27, 100 and 275 mm³: the rules of 2023 leave out lesions up "
    "to 2 mm³, those of 2026 call a lesion large from 27 mm³ on."
)


def lesions_section(data: DataSet) -> str:
    """Writes lesions a case and their volumes by region; empty without any labelled voxel."""
    cases = data.labelled
    regions = regions_of(cases)
    if not regions:
        return ""
    counts = charts(*(_count_chart(region, cases) for region in regions))
    volumes = charts(*(_volume_chart(region, cases) for region in regions))
    parts = f"<p>{escape(HOW)}</p>{_empty(cases)}{_cavities(data)}{counts}{volumes}{_tables(regions, cases)}"
    return f'<section><h2 id="lesions">Lesions</h2>{parts}</section>'


def volumes_of(region: Region, cases: Sequence[CaseNumbers]) -> list[float]:
    """Returns the volume in mm3 of every lesion of a region."""
    return [lesion.volume_mm3 for case in cases for lesion in case.lesions.get(region.name, ())]


def counts_of(region: Region, cases: Sequence[CaseNumbers]) -> list[int]:
    """Returns the number of lesions of a region in each case."""
    return [len(case.lesions.get(region.name, ())) for case in cases]


def _empty(cases: Sequence[CaseNumbers]) -> str:
    names = [case.name for case in cases if not case.labels]
    if not names:
        return f"<p>None of {count(len(cases), 'reference')} is empty.</p>"
    return f"<p>{count(len(names), 'empty reference')} (no visible disease): {escape(names_text(names, 12))}.</p>"


def _cavities(data: DataSet) -> str:
    """Says how many cases have a resection cavity, and at which of a patient's time points; empty without any."""
    found = [case for case in data.labelled if RC.labels[0] in case.labels]
    if not found:
        return ""
    volumes = spread(case.volume_mm3(RC.labels) / 1000 for case in found)
    text = (
        f"{count(len(found), 'case')} ({share_text(len(found), len(data.labelled))}) "
        f"{'has' if len(found) == 1 else 'have'} a resection cavity (RC) of {spread_text(volumes)} ml"
    )
    if len(data.patients) < len(data.cases):
        later = sum(data.time_points[case.name] > 1 for case in found)
        text += f"; {later:,} of them at a patient's second time point or later"
    return f"<p>{escape(text)}. {escape(RC.name)} belongs to no other region.</p>"


# ---------------------------------------------------------------- charts


def _count_chart(region: Region, cases: Sequence[CaseNumbers]) -> str:
    amounts = counts_of(region, cases)
    classes = np.searchsorted(COUNT_EDGES, amounts, side="right") - 1
    held = np.bincount(classes, minlength=len(COUNT_EDGES))
    last = int(held.nonzero()[0].max()) + 1
    found = spread(amounts)

    def draw(axis: Axes) -> None:
        axis.bar(range(last), held[:last], width=0.86, color=region.colour, edgecolor=SOFT)
        for at, amount in enumerate(held[:last]):
            if amount:
                axis.annotate(
                    f"{amount:,}", (at, amount), xytext=(0, 2), textcoords="offset points", ha="center", fontsize=9
                )
        axis.set_xticks(range(last), [_count_name(at) for at in range(last)])
        axis.grid(visible=False, axis="x")
        axis.margins(y=0.12)
        axis.yaxis.get_major_locator().set_params(integer=True)
        axis.set_xlabel(f"{region.name} lesions a case")
        axis.set_ylabel("cases")

    most = max(cases, key=lambda case: len(case.lesions.get(region.name, ())))
    title = f"{region.name}: {spread_text(found)} lesions a case"
    alt = f"Cases by their number of {region.name} lesions: " + ", ".join(
        f"{_count_name(at)}: {amount}" for at, amount in enumerate(held[:last].tolist())
    )
    note = f"n = {count(len(cases), 'reference')}. Most: {max(amounts):,} in {most.name}."
    return chart(f"count-{region.name}", draw, title=title, alt=f"{alt}.", note=note)


def _count_name(at: int) -> str:
    low = COUNT_EDGES[at]
    if at + 1 == len(COUNT_EDGES):
        return f"{low}+"
    high = COUNT_EDGES[at + 1] - 1
    return str(low) if high == low else f"{low}–{high}"


def _volume_chart(region: Region, cases: Sequence[CaseNumbers]) -> str:
    volumes = volumes_of(region, cases)
    if not volumes:
        return ""
    low, high = np.floor(np.log10(min(volumes))), np.ceil(np.log10(max(volumes) * 1.0001))
    edges = np.logspace(low, high, round((high - low) * BINS_PER_DECADE) + 1)

    def draw(axis: Axes) -> None:
        heights, _, _ = axis.hist(volumes, edges, color=region.colour, edgecolor=SOFT)
        for edge in SIZE_EDGES_MM3:
            axis.axvline(edge, color=INK, linewidth=0.9, linestyle=":")
            axis.annotate(f"{edge:g}", (edge, 1), xycoords=("data", "axes fraction"), xytext=(0, 1), textcoords="offset points", ha="center", fontsize=8.5, color=SOFT)  # fmt: skip
        axis.set_xlim(min(edges[0], 1.0), max(edges[-1], 1000.0))
        logarithmic(axis)
        axis.set_ylim(0, heights.max() * 1.08)
        axis.yaxis.get_major_locator().set_params(integer=True)
        axis.set_xlabel(f"volume of a {region.name} lesion [mm³]")
        axis.set_ylabel("lesions")

    small = sum(volume < SMALL_MM3 for volume in volumes)
    found = spread(volumes)
    title = f"{region.name}: {share_text(small, len(volumes))} of the lesions are below 27 mm³"
    alt = (
        f"Histogram of the volume of {len(volumes)} {region.name} lesions on a logarithmic axis from {short(min(volumes))} to "
        f"{short(max(volumes))} mm³; median {short(found.median if found else None)} mm³."
    )
    note = f"n = {count(len(volumes), 'lesion')}, {spread_text(found)} mm³, largest {short(max(volumes))} mm³."
    return chart(f"volume-{region.name}", draw, title=title, alt=alt, note=note)


# ---------------------------------------------------------------- tables


def _tables(regions: Sequence[Region], cases: Sequence[CaseNumbers]) -> str:
    classes = size_classes(SIZE_EDGES_MM3)
    rows, sizes = [], []
    for region in regions:
        amounts, volumes = counts_of(region, cases), volumes_of(region, cases)
        burden = spread(case.volume_mm3(region.labels) / 1000 for case in cases if case.volume_mm3(region.labels))
        texts = (f"{sum(map(bool, amounts)):,}", f"{len(volumes):,}", spread_text(spread(amounts)), f"{max(amounts):,}",
                 spread_text(spread(volumes)), spread_text(burden))  # fmt: skip
        rows.append(table_row([region_cell(region), *map(number_cell, texts)]))
        own = [size_class(volume, SIZE_EDGES_MM3) for volume in volumes]
        held = [own.count(name) for name in classes]
        sizes.append(
            table_row(
                [region_cell(region), *(number_cell(f"{amount:,} ({share_text(amount, len(own))})") for amount in held)]
            )
        )
    headings = ["Region", "Cases with", "Lesions", "A case", "Most", "A lesion [mm³]", "Tumour a case [ml]"]
    by_region = table("Lesions by region <span>median [quartiles]; tumour of cases with any</span>", headings, rows)
    size_names = [f"{size_class_name(name)} mm³" for name in classes]
    by_size = table("Lesions by size <span>number and share</span>", ["Region", *size_names], sizes)
    return scrolled(by_region, "Lesions by region") + scrolled(by_size, "Lesions by size")
