"""Writes the section on time points: how many a patient has, and how tumours change; only where there are several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.axes import Axes

from mets3d.data.describe import DataSet
from mets3d.data.describe_case import MM3_IN_ML, CaseNumbers
from mets3d.data.describe_summary import spread
from mets3d.regions import RC, Region
from mets3d.reporting.charts.style import INK, SOFT
from mets3d.reporting.explore.chart import chart, charts, plain_numbers
from mets3d.reporting.explore.regions_shown import regions_of
from mets3d.reporting.explore.tables import plain_table
from mets3d.reporting.explore.words import share_text, short, spread_text
from mets3d.reporting.html_page import Section
from mets3d.reporting.html_table import Table, flow
from mets3d.wording import agreed, counted

MOST_LINES = 60  # patients; more lines hide each other, and the boxes say it all
SMALLEST_ML = 1e-3  # an empty reference stands here, below any lesion


def time_points_section(data: DataSet) -> Section | None:
    """Writes time points a patient and volumes by time point; None where every patient has one."""
    several = {patient: cases for patient, cases in data.patients.items() if len(cases) > 1}
    if not several:
        return None
    lengths = Counter(len(cases) for cases in data.patients.values())
    kinds = ", ".join(f"{counted(amount, 'patient')} with {length}" for length, amount in sorted(lengths.items()))
    lead = (
        f"{counted(len(several), 'patient')} of {len(data.patients):,} "
        f"({share_text(len(several), len(data.patients))}) {agreed(len(several), 'has', 'have')} more than "
        f"one time point: {kinds}. Splits go by patient. "
        "Time points are numbered in the order of their names."
    )
    regions = [region for region in regions_of(data.labelled) if region != RC]
    drawn = charts(*(_volume_chart(data, region) for region in regions))
    return Section("times", "Time points", flow(lead, drawn, _table(data, regions)))


def _by_time(data: DataSet) -> dict[int, list[CaseNumbers]]:
    found: dict[int, list[CaseNumbers]] = {}
    for case in data.labelled:
        found.setdefault(data.time_points[case.name], []).append(case)
    return dict(sorted(found.items()))


def _ml(case: CaseNumbers, region: Region) -> float:
    return case.volume_mm3(region.labels) / MM3_IN_ML


def _volume_chart(data: DataSet, region: Region) -> Markup:
    times = _by_time(data)
    lines = [[case for case in cases if case.label_mm3 is not None] for cases in data.patients.values()]
    lines = [cases for cases in lines if len(cases) > 1]
    medians = {at: spread(_ml(case, region) for case in cases) for at, cases in times.items()}

    def draw(axis: Axes) -> None:
        if len(lines) <= MOST_LINES:
            for cases in lines:
                steps = [data.time_points[case.name] for case in cases]
                axis.plot(
                    steps, [max(_ml(case, region), SMALLEST_ML) for case in cases], color=SOFT, linewidth=0.7, alpha=0.6
                )
        for at, found in medians.items():
            if found is not None:
                low, middle, high = (max(value, SMALLEST_ML) for value in (found.q1, found.median, found.q3))
                axis.plot([at, at], [low, high], color=region.colour, linewidth=10, solid_capstyle="butt", zorder=3)
                axis.plot([at], [middle], "o", color=INK, markersize=5, zorder=4)
        axis.set_yscale("log")
        plain_numbers(axis.yaxis)
        axis.set_xlim(0.5, max(times) + 0.5)
        axis.set_xticks(list(times), [f"{at}\nn = {len(cases):,}" for at, cases in times.items()])
        axis.set_xlabel("time point of a patient")
        axis.set_ylabel(f"{region.name} [ml]")

    first, *_, last = medians.values() if len(medians) > 1 else [None, None]
    change = f" {short(first.median)} to {short(last.median)} ml" if first and last else ""
    title = f"{region.name}: median volume{change} from first to last time point"
    alt = f"{region.name} volume by time point: " + "; ".join(
        f"{at}: {spread_text(found)} ml, n = {found.amount if found else 0}" for at, found in medians.items()
    )
    drawn = "Lines: patients. " if len(lines) <= MOST_LINES else ""
    note = f"{drawn}Dot: median; bar: quartiles. Empty references stand at {SMALLEST_ML:g} ml."
    return chart(f"times-{region.name}", draw, title=title, alt=f"{alt}.", note=note)


def _table(data: DataSet, regions: Sequence[Region]) -> Table | None:
    rows = [
        [
            str(at),
            f"{len(cases):,}",
            *(spread_text(spread(_ml(case, region) for case in cases)) for region in regions),
            f"{sum(not case.labels for case in cases):,}",
            f"{sum(bool(case.volume_mm3(RC.labels)) for case in cases):,}",
        ]
        for at, cases in _by_time(data).items()
    ]
    headings = ["Time point", "n", *(f"{region.name} [ml]" for region in regions), "Empty", "With cavity"]
    return plain_table("Volumes by time point", headings, rows, how="median [quartiles]") if rows else None
