"""Makes tables of one run's cohort: detection, recall by lesion size, agreement of volumes."""

from __future__ import annotations

from mets3d.evaluation.tables import Row
from mets3d.regions import Region
from mets3d.reporting.html_table import Cell, Table, region_head, spanned
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import amount, number, size_class_name
from mets3d.statistics.cohort import NUMBERS, cohort_table
from mets3d.statistics.size_recall import SizeRecall, recall_by_size
from mets3d.wording import counted

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


def cohort_tables(record: RunRecord) -> list[Table]:
    """Returns the numbers of the held-out cases together; none without scores of a single rule set."""
    found: Cohort = {}
    sizes: dict[Region, list[SizeRecall]] = {}
    for region in record.regions:
        rows, lesions = record.score_rows(region.name), record.lesion_rows(region.name)
        if len({row["rules"] for row in rows}) == 1:  # scores of several rule sets have no cohort in common
            found[region] = {row["score"]: row for row in cohort_table(rows, lesions)}
            sizes[region] = recall_by_size(rows, lesions)
    tables = (_detection(found), _sizes(sizes), _volumes(found))
    return [table for table in tables if table.rows]


def _detection(found: Cohort) -> Table:
    """Returns detection in all cases together, and the share of cases whose lesion-wise Dice is 0 or has no value."""
    absent: Row = {"mean": 0.0, "ci_low": None, "ci_high": None}
    rows = []
    for region, numbers in found.items():
        own = [(name, numbers.get(name, absent if name.endswith("_without_value") else None)) for name in DETECTION]
        rows.append([region_head(region), *(_with_interval(row, name) for name, row in own)])
    how = "all lesions together; Dice: share of cases, lesion-wise"
    return Table("Detection", ["Region", *DETECTION.values()], rows, how)


def _sizes(sizes: dict[Region, list[SizeRecall]]) -> Table:
    """Returns recall by region and size class; classes without a lesion in any region are left out."""
    classes = list(dict.fromkeys(size.size_class for own in sizes.values() for size in own))
    rows = []
    for region, own in sizes.items():
        by_class = {size.size_class: size for size in own}
        rows.append([region_head(region), *(_recall(by_class.get(name)) for name in classes)])
    headings = ["Region", *(f"{size_class_name(name)} mm³" for name in classes)]
    how = "share of the reference's lesions found, with interval and numbers"
    return Table("Recall by lesion size", headings, rows if classes else [], how)


def _recall(size: SizeRecall | None) -> Cell:
    if size is None:
        return Cell("–")
    interval = f"({spanned(size.interval, RECALL_DIGITS)}) " if size.interval else ""
    numbers = f"{amount(size.found)} of {amount(size.lesions)} in {counted(size.cases, 'case')}"
    return Cell(number(size.recall, RECALL_DIGITS), after=f"{interval}{numbers}")


def _volumes(found: Cohort) -> Table:
    rows = [
        [
            region_head(region),
            Cell(str(numbers["volume_bias_mm3"]["cases"])),
            *(_with_interval(numbers[name], name, sign=name.endswith("_mm3")) for name in VOLUMES),
        ]
        for region, numbers in found.items()
        if "volume_bias_mm3" in numbers
    ]
    how = "prediction − reference in mm³, limits bias ± 1.96 SD, cases with either"
    return Table("Agreement of volumes", ["Region", "n", *VOLUMES.values()], rows, how)


def _with_interval(row: Row | None, name: str, *, sign: bool = False) -> Cell:
    """Writes a number of the cohort's table and its interval, as in `0.61 (0.51 to 0.72)`."""
    if row is None or row["mean"] is None:
        return Cell("–")
    digits = DIGITS.get(name, SHARE_DIGITS)
    bounds = row["ci_low"], row["ci_high"]
    interval = "" if None in bounds else f"({spanned(bounds, digits, sign=sign)})"
    return Cell(number(row["mean"], digits, sign=sign), after=interval)
