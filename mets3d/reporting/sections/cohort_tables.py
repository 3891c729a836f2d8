"""Writes tables of one run's cohort beside those of the scores: detection, recall by lesion size, volumes."""

from __future__ import annotations

from html import escape

from mets3d.evaluation.tables import Row
from mets3d.regions import Region
from mets3d.reporting.html_table import number_cell, region_cell, spanned, table, table_row
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import amount, number, size_class_name
from mets3d.statistics.cohort import NUMBERS, cohort_table
from mets3d.statistics.intervals import FEWEST_PATIENTS
from mets3d.statistics.size_recall import SizeRecall, recall_by_size

HOW = (
    "95 % intervals are over patients, whose time points and lesions are not independent: percentile bootstrap of "
    "means and F1, for shares Wilson's interval with an effective number of lesions (Rao and Scott 1992); none below "
    f"{FEWEST_PATIENTS} patients. Precision, recall and F1 are those of the lesions of all cases together. A case "
    "without a value is left out of a score; n is the number of cases with one."
)
# Name in the cohort's table -> heading of its column.
DETECTION = {
    "pooled_precision": "Precision",
    "pooled_recall": "Recall",
    "pooled_f1": "F1",
    "false_per_patient": "False per patient",
    "lesion_wise_dice_zeros": "Dice 0",
    "lesion_wise_dice_without_value": "No Dice",
}
VOLUMES = {
    "volume_bias_mm3": "Bias",
    "volume_lower_limit_mm3": "Lower limit",
    "volume_upper_limit_mm3": "Upper limit",
    "volume_icc": "ICC(2,1)",
}
DIGITS = {score.column: score.digits for score in NUMBERS}
RECALL_DIGITS = DIGITS["pooled_recall"]
SHARE_DIGITS = 3  # of shares, which are no row of NUMBERS

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
    absent: Row = {"mean": 0.0, "ci_low": None, "ci_high": None}
    rows = []
    for region, numbers in found.items():
        own = [(name, numbers.get(name, absent if name.endswith("_without_value") else None)) for name in DETECTION]
        rows.append(table_row([region_cell(region), *(number_cell(_with_interval(row, name)) for name, row in own)]))
    title = "Detection <span>all lesions together; Dice: share of cases, lesion-wise</span>"
    return table(title, ["Region", *DETECTION.values()], rows)


def _sizes(sizes: dict[Region, list[SizeRecall]]) -> str:
    rows = []
    for region, classes in sizes.items():
        for size in classes:
            interval = f" ({spanned(size.interval, RECALL_DIGITS)})" if size.interval else ""
            share = number(size.recall, RECALL_DIGITS) + interval
            cells = (size_class_name(size.size_class), amount(size.found), amount(size.lesions), share, str(size.cases))
            rows.append(table_row([region_cell(region), *map(number_cell, cells)]))
    headings = ["Region", "Volume in mm3", "Found", "Lesions", "Recall", "Cases"]
    return table("Recall by lesion size", headings, rows) if rows else ""


def _volumes(found: Cohort) -> str:
    rows = []
    for region, numbers in found.items():
        if "volume_bias_mm3" in numbers:
            cells = [str(numbers["volume_bias_mm3"]["cases"])]
            cells += [_with_interval(numbers[name], name, sign=name.endswith("_mm3")) for name in VOLUMES]
            rows.append(table_row([region_cell(region), *map(number_cell, cells)]))
    title = "Agreement of volumes <span>prediction - reference in mm3, limits bias ± 1.96 SD, cases with either</span>"
    return table(title, ["Region", "n", *VOLUMES.values()], rows) if rows else ""


def _with_interval(row: Row | None, name: str, *, sign: bool = False) -> str:
    """Writes a number of the cohort's table and its interval, as in `0.61 (0.51 to 0.72)`."""
    if row is None or row["mean"] is None:
        return "–"
    digits = DIGITS.get(name, SHARE_DIGITS)
    bounds = row["ci_low"], row["ci_high"]
    text = number(row["mean"], digits, sign=sign)
    return text if None in bounds else f"{text} ({spanned(bounds, digits, sign=sign)})"
