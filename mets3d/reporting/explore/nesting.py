"""Writes the section on nesting: which labels a reference has together, and of which labels the regions are made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from mets3d.data.describe import DataSet
from mets3d.data.describe_case import CaseNumbers
from mets3d.data.describe_summary import amounts, at_most_columns, share, spread
from mets3d.regions import Region
from mets3d.reporting.charts.style import SOFT
from mets3d.reporting.explore.chart import MOST_COLUMNS, chart, charts, whole_numbers
from mets3d.reporting.explore.regions_shown import COLOUR_OF_LABEL, OTHER_COLOUR, label_name, labels_text, regions_of
from mets3d.reporting.explore.tables import kinds_table
from mets3d.reporting.explore.words import share_text, short
from mets3d.reporting.html_page import Section
from mets3d.reporting.html_table import Cell, Table, flow, region_head, row_head
from mets3d.wording import counted

HOW = (
    "Regions are nested: ET lies in TC, and TC in WT. Where a region is nearly always one label, a network learns that "
    "label; where a label is rare, its scores rest on few cases."
)


def nesting_section(data: DataSet) -> Section | None:
    """Writes label sets and the make-up of regions; None without any labelled voxel."""
    cases = data.labelled
    regions = regions_of(cases)
    if not regions:
        return None
    mixed = [region for region in regions if len(region.labels) > 1]
    sets = _lesion_sets(cases, regions[0])
    drawn = charts(*(_make_up_chart(region, cases) for region in mixed), flow(sets) if sets else None)
    html = flow(HOW, _label_sets(cases), _make_up_table(mixed, cases), drawn)
    return Section("labels", "Labels and nesting", html)


def _label_sets(cases: Sequence[CaseNumbers]) -> Table:
    """Returns which labels are in a reference together, a row per set, a dot where the label is in it."""
    labels = sorted({label for case in cases for label in case.labels})
    rows = []
    for held, amount in amounts(case.labels for case in cases):
        shared = [f"{amount:,}", share_text(amount, len(cases))]
        rows.append([row_head(labels_text(held)), *(_dot(label, held) for label in labels), *map(Cell, shared)])
    totals = [f"{sum(label in case.labels for case in cases):,}" for label in labels]
    rows.append([row_head("Cases with it"), *map(Cell, [*totals, f"{len(cases):,}", ""])])
    headings = ["Labels in a reference", *map(label_name, labels), "Cases", "Share"]
    return Table("Label sets seen", headings, rows)


def _dot(label: int, held: Sequence[int]) -> Cell:
    if label not in held:
        return Cell("–")
    return Cell("yes", colour=COLOUR_OF_LABEL.get(label, OTHER_COLOUR))


def _make_up_table(regions: Sequence[Region], cases: Sequence[CaseNumbers]) -> Table:
    rows = []
    for region in regions:
        having = [case for case in cases if case.volume_mm3(region.labels)]
        whole = sum(case.volume_mm3(region.labels) for case in having)
        for label in region.labels:
            shares = spread(100 * share(case.volume_mm3((label,)), case.volume_mm3(region.labels)) for case in having)
            pooled = share_text(sum(case.volume_mm3((label,)) for case in having), whole)
            within = sum(bool(case.volume_mm3((label,))) for case in having)
            quartiles = (
                "–" if shares is None else f"{short(shares.median)} [{short(shares.q1)} to {short(shares.q3)}] %"
            )
            cells = (label_name(label), f"{within:,} of {len(having):,}", quartiles, pooled)
            rows.append([region_head(region), *map(Cell, cells)])
    headings = ["Region", "Label", "In cases", "Share of a case", "Of all volume"]
    how = "median [quartiles] over cases with the region"
    return Table("What regions are made of", headings, rows, how)


def _make_up_chart(region: Region, cases: Sequence[CaseNumbers]) -> Markup | None:
    having = [case for case in cases if case.volume_mm3(region.labels)]
    if not having:
        return None
    inner = list(reversed(region.labels))  # ET below, as its share orders the cases
    shares = [[share(case.volume_mm3((label,)), case.volume_mm3(region.labels)) for label in inner] for case in having]
    columns = np.array(at_most_columns(sorted(shares), MOST_COLUMNS))
    columns = 100 * columns / columns.sum(axis=1, keepdims=True)

    def draw(axis: Axes) -> None:
        edges = np.linspace(0, len(having), len(columns) + 1)
        bottom = np.zeros(len(columns))
        for at, label in enumerate(inner):
            top = bottom + columns[:, at]
            colour = COLOUR_OF_LABEL[label]
            axis.stairs(top, edges, baseline=bottom, fill=True, color=colour, label=label_name(label), linewidth=0)
            axis.stairs(top, edges, baseline=None, color=SOFT, linewidth=0.5)
            bottom = top
        axis.set_xlim(0, len(having))
        axis.set_ylim(0, 100)
        whole_numbers(axis.xaxis)
        axis.set_xlabel("cases, ordered by share of ET")
        axis.set_ylabel(f"share of {region.name} volume [%]")
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(inner), fontsize=9, handlelength=1.2)

    pooled = [sum(case.volume_mm3((label,)) for case in having) for label in inner]
    most = int(np.argmax(pooled))
    title = f"{share_text(pooled[most], sum(pooled))} of all {region.name} volume is {label_name(inner[most])}"
    alt = f"Make-up of {region.name} in {counted(len(having), 'case')}: " + ", ".join(
        f"{label_name(label)} {share_text(amount, sum(pooled))} of all volume"
        for label, amount in zip(inner, pooled, strict=True)
    )
    note = f"n = {counted(len(having), 'case')} with {region.name}. A column is a case; of many, the median of some."
    return chart(f"made-of-{region.name}", draw, title=title, alt=f"{alt}.", note=note)


def _lesion_sets(cases: Sequence[CaseNumbers], outer: Region) -> Table | None:
    """Returns which labels a lesion of the outermost region holds: oedema without a core, a core without oedema ..."""
    held = amounts(lesion.labels for case in cases for lesion in case.lesions.get(outer.name, ()))
    if not held:
        return None
    kinds = [(labels_text(labels), amount) for labels, amount in held]
    return kinds_table(f"Labels in a {outer.name} lesion", "Labels", kinds, "Lesions")
