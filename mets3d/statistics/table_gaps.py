"""Says what a table of scores lacks or has too much, so that no mean over other cases than one thinks goes unsaid."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from mets3d.evaluation.tables import Row
from mets3d.regions import RC, scored_regions
from mets3d.statistics.absent_regions import COUNTED
from mets3d.wording import agreed, counted, for_example

RELIED_ON = ("lesion_wise_dice", "lesion_wise_hd95", "dice", "hd95", *COUNTED)  # what readers of scores.csv rely on
KNOWN = tuple(region.name for region in scored_regions(cavity=True))


def unknown_regions(rows: Iterable[Row]) -> list[str]:
    """Returns the regions of a table that are none of ours."""
    return sorted({row["region"] for row in rows} - set(KNOWN))


def table_gaps(rows: Sequence[Row], columns: Collection[str], expected: Collection[str] = ()) -> list[str]:
    """Says, a sentence each without its end, which columns and which rows of a case and region are not there.

    expected: cases that belong into the table where it has any of them. A region without a row in any case is missing,
    but for the resection cavity, which not all rule sets score.
    """
    lacking = [column for column in RELIED_ON if column not in columns]
    said = [f"it has no column {', '.join(lacking)}, so what that would show is left out"] if rows and lacking else []
    there = {(row["case"], row["region"]) for row in rows}
    cases = {case for case, _ in there}
    cases |= set(expected) if cases & set(expected) else set()
    wanted = [name for name in KNOWN if name != RC.name or any(region == name for _, region in there)]
    missing = [(case, region) for case in sorted(cases) for region in wanted if (case, region) not in there]
    if missing:
        some = for_example([f"{case} {region}" for case, region in missing])
        rows_in_all = counted(len(cases) * len(wanted), "row")
        said.append(
            f"{len(missing):,} of {rows_in_all} of a case and region {agreed(len(missing), 'is', 'are')} not in it "
            f"({some}), so means and tests are over the others"
        )
    return said
