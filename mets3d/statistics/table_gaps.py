"""Says what a table of scores lacks or has too much, so that no mean over other cases than one thinks goes unsaid."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

from mets3d.evaluation.tables import Row
from mets3d.regions import RC, scored_regions
from mets3d.statistics.absent_regions import COUNTED
from mets3d.wording import agreed, counted, for_example, joined

RELIED_ON = ("lesion_wise_dice", "lesion_wise_hd95", "dice", "hd95", *COUNTED)  # what readers of scores.csv rely on
KNOWN = tuple(region.name for region in scored_regions(cavity=True))

Cells = TypeVar("Cells", bound=Mapping[str, Any])


def of_known_regions(rows: Sequence[Cells]) -> tuple[list[Cells], str]:
    """Returns the rows of a table of the regions that are scored, and a sentence without its end on what is left out.

    The names are read as they are written, for nothing says that `et` of another program is what is ET here.
    """
    known = [row for row in rows if row["region"] in KNOWN]
    unknown = sorted({row["region"] for row in rows} - set(KNOWN))
    if not unknown:
        return known, ""
    found = f"it has rows of {joined(unknown)}, expected {joined(KNOWN)} as regions"
    return known, f"{found}: {'they are left out' if known else 'there is no row of these'}"


def table_gaps(
    rows: Sequence[Row], columns: Collection[str], expected: Collection[str] = (), *, named: bool = True
) -> list[str]:
    """Says, a sentence each without its end, which columns and which rows of a case and region are not there.

    expected: cases that belong into the table where it has any of them. A region without a row in any case is missing,
    but for the resection cavity, which not all rule sets score. named: whether some of the cases are named.
    """
    lacking = [column for column in RELIED_ON if column not in columns]
    said = [f"it has no column {', '.join(lacking)}, so what that would show is left out"] if rows and lacking else []
    there = {(row["case"], row["region"]) for row in rows}
    cases = {case for case, _ in there}
    cases |= set(expected) if cases & set(expected) else set()
    wanted = [name for name in KNOWN if name != RC.name or any(region == name for _, region in there)]
    missing = [(case, region) for case in sorted(cases) for region in wanted if (case, region) not in there]
    if missing:
        some = f" ({for_example([f'{case} {region}' for case, region in missing])})" if named else ""
        rows_in_all = counted(len(cases) * len(wanted), "row")
        said.append(
            f"{len(missing):,} of {rows_in_all} of a case and region {agreed(len(missing), 'is', 'are')} not in it"
            f"{some}, so means and tests are over the others"
        )
    return said
