"""Tables of one run's cohort beside those of the scores: detection, recall by lesion size, volumes."""

from __future__ import annotations

from html import escape

from mets3d.evaluation.tables import Row
from mets3d.regions import Region
from mets3d.reporting.html_table import number_cell, region_cell, spanned, table, table_row
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import number, size_class_name
from mets3d.statistics.cohort import cohort_table
from mets3d.statistics.intervals import FEWEST_PATIENTS
from mets3d.statistics.size_recall import SizeRecall, recall_by_size

HOW = (
    "95 % intervals are over patients, whose time points and lesions are not independent: percentile bootstrap of "
    "means and F1, for shares Wilson's interval with an effective number of lesions (Rao and Scott 1992); none below "
    f"{FEWEST_PATIENTS} patients. Precision, recall and F1 are those of the lesions of all cases together. A case "
    "without a value is left out of a score; n says how many had one."
)
Cohort = dict[Region, dict[str, Row]]  # region -> name of the number -> its row of the cohort's table


def cohort_tables(record: RunRecord) -> str:
    """Writes the numbers of the held-out cases together; empty without scores of a single rule set."""
    found: Cohort = {}
    sizes: dict[Region, list[SizeRecall]] = {}
    for region in record.regions:
        rows, lesions = record.score_rows(region.name), record.lesion_rows(region.name)
        if len({row["rules"] for row in rows}) == 1:  # scores of several rule sets have no cohort in common
            found[region] = {row["score"]: row for row in cohort_table(rows, lesions)}
            sizes[region] = recall_by_size(rows, lesions)
    tables = "".join((_detection(found), _sizes(sizes), _volumes(found)))
    return f'<p class="small">{escape(HOW)}</p><div class="grid one">{tables}</div>' if found else ""


def _detection(found: Cohort) -> str:
    """Writes detection in all cases together, and the share of cases whose lesion-wise Dice is 0 or has no value."""
    shown = [
        *((f"pooled_{name}", 3) for name in ("precision", "recall", "f1")),
        *(("false_per_patient", 2), ("lesion_wise_dice_zeros", 3), ("lesion_wise_dice_without_value", 3)),
    ]
    absent: Row = {"mean": 0.0, "ci_low": None, "ci_high": None}
    rows = []
    for region, numbers in found.items():
        cells = []
        for name, digits in shown:
            row = numbers.get(name, absent if name.endswith("without_value") else None)
            cells.append(_with_interval(row, digits))
        rows.append(table_row([region_cell(region), *map(number_cell, cells)]))
    headings = ["Region", "Precision", "Recall", "F1", "False per patient", "Dice 0", "No Dice"]
    return table("Detection <span>all lesions together; Dice: share of cases, lesion-wise</span>", headings, rows)


def _sizes(sizes: dict[Region, list[SizeRecall]]) -> str:
    rows = []
    for region, classes in sizes.items():
        for size in classes:
            interval = f" ({spanned(size.interval, 3)})" if size.interval else ""
            share = number(size.recall, 3) + interval
            cells = (size_class_name(size.size_class), str(size.found), str(size.lesions), share, str(size.cases))
            rows.append(table_row([region_cell(region), *map(number_cell, cells)]))
    headings = ["Region", "Volume in mm3", "Found", "Lesions", "Recall", "Cases"]
    return table("Recall by lesion size", headings, rows) if rows else ""


def _volumes(found: Cohort) -> str:
    shown = [*((f"volume_{name}_mm3", 0) for name in ("bias", "lower_limit", "upper_limit")), ("volume_icc", 3)]
    rows = []
    for region, numbers in found.items():
        if "volume_bias_mm3" in numbers:
            cells = [str(numbers["volume_bias_mm3"]["cases"])]
            cells += [_with_interval(numbers[name], digits, sign=digits == 0) for name, digits in shown]
            rows.append(table_row([region_cell(region), *map(number_cell, cells)]))
    headings = ["Region", "n", "Bias", "Lower limit", "Upper limit", "ICC(2,1)"]
    title = "Agreement of volumes <span>prediction - reference in mm3, limits bias ± 1.96 SD, cases with either</span>"
    return table(title, headings, rows) if rows else ""


def _with_interval(row: Row | None, digits: int, *, sign: bool = False) -> str:
    """Writes a number of the cohort's table and its interval, as in `0.61 (0.51 to 0.72)`."""
    if row is None or row["mean"] is None:
        return "–"
    text = number(row["mean"], digits, sign=sign)
    bounds = row["ci_low"], row["ci_high"]
    return text if None in bounds else f"{text} ({spanned(bounds, digits, sign=sign)})"
