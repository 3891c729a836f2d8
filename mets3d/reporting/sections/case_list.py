"""Writes the page's tables of all held-out cases and of their lesions, with links to the pages of the cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from mets3d.evaluation.scores import Score
from mets3d.reporting.case_order import shown_run, worst_first
from mets3d.reporting.copied_tables import CopiedFiles
from mets3d.reporting.html_page import Section
from mets3d.reporting.lesion_lines import LesionLine, lesion_lines, most_telling_first
from mets3d.reporting.rendering import render
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sentences import amount, number
from mets3d.statistics.lesion_counts import COUNTS, means_shown_in
from mets3d.statistics.score_table import CaseValues

LONG_LIST = 40  # cases; a longer list is folded away at first
MOST_LESIONS = 2000  # rows of the table of lesions, of which each has some 200 characters
MOST_PRINTED = 60  # of them on paper: two pages
SHOWN_FIRST = "ET"  # by which the treatment is planned


@dataclass(frozen=True)
class CaseTable:
    """The rows of one run or arm: case -> cells."""

    label: str
    record: RunRecord
    rows: list[tuple[str, list[str]]]
    open: bool


def cases_section(
    records: Sequence[RunRecord], pages: Mapping[str, str], files: Sequence[CopiedFiles], *, viewed: bool = False
) -> Section | None:
    """Writes the scores of each case, the worst first, and links to its page; None where no case is known.

    pages: the address of each case's page. files: the tables that were copied beside the page. viewed: whether the
    pages show scans.
    """
    scored = [record for record in records if record.scores]
    if not scored and not pages:
        return None
    scores = means_shown_in("page")
    html = render(
        "case_list.html",
        viewed=viewed,
        tables=[_table(record, scores, several=len(records) > 1) for record in scored],
        pages=_quoted(pages),
        files=files,
        headings=[_short(score) for score in scores],
        units="".join(dict.fromkeys(f"{_kind(score)} in {score.unit}; " for score in scores if score.unit)),
    )
    return Section("cases", "All cases", html)


def lesions_section(records: Sequence[RunRecord], pages: Mapping[str, str], *, viewed: bool = False) -> Section | None:
    """Writes the lesions of all held-out cases, missed and false ones first; None where no lesions are known.

    Of an arm of several runs they are those of the run that the case's page shows.
    """
    lines = [line for place, record in enumerate(records) for line in _lines(record, place)]
    if not lines:
        return None
    regions = list({region.name: region for record in records for region in record.regions}.values())
    shown = _some_of_each_region(most_telling_first(lines, regions))
    there = {line.region for line in shown}
    html = render(
        "lesion_list.html",
        lines=shown,
        regions=sorted((region.name for region in regions if region.name in there), key=SHOWN_FIRST.__ne__),
        left_out=len(lines) - len(shown),
        several=len(records) > 1,
        placed=any(line.mm for line in shown),
        pages=_quoted(pages),
        viewed=viewed,
        printed=MOST_PRINTED,
    )
    return Section("lesions", "All lesions", html)


def _lines(record: RunRecord, place: int) -> list[LesionLine]:
    rows = [row for case in record.held_out for row in shown_run(record, case).lesion_rows(cases=[case])]
    return lesion_lines(rows, record.regions, arm=record.label, place=place)


def _some_of_each_region(ordered: Sequence[LesionLine]) -> list[LesionLine]:
    """Returns the first lines of each region, `MOST_LESIONS` in all: what few regions leave others have."""
    amounts = Counter(line.region for line in ordered)
    most, left = {}, MOST_LESIONS
    for done, (region, lines) in enumerate(reversed(amounts.most_common())):
        most[region] = min(lines, left // (len(amounts) - done))
        left -= most[region]
    shown = []
    for line in ordered:
        if most[line.region]:
            most[line.region] -= 1
            shown.append(line)
    return shown


def _quoted(pages: Mapping[str, str]) -> dict[str, str]:
    return {case: quote(address) for case, address in pages.items()}


def _table(record: RunRecord, scores: Sequence[Score], *, several: bool) -> CaseTable:
    values = {
        (region.name, score.column): record.values(region.name, score.column)
        for region in record.regions
        for score in (*scores, *COUNTS)
    }
    rows = [(case, _cells(case, record, scores, values)) for case in worst_first([record])]
    return CaseTable(
        record.label if several else "", record, rows, open=len(record.held_out) <= LONG_LIST and not several
    )


def _cells(
    case: str, record: RunRecord, scores: Sequence[Score], values: Mapping[tuple[str, str], CaseValues]
) -> list[str]:
    cells = []
    for region in record.regions:
        cells += [number(values[region.name, score.column].get(case), score.digits) for score in scores]
        counts = [_count(values[region.name, score.column].get(case)) for score in COUNTS]
        cells.append("/".join(counts) if set(counts) != {"–"} else "–")
    return cells


def _count(value: float | None) -> str:
    return number(None, 0) if value is None else amount(value)


def _short(score: Score) -> str:
    """Returns a score's name as short as a narrow column needs it, as in LW Dice."""
    return score.name.replace("Lesion-wise ", "LW ").removeprefix("Whole-volume ")


def _kind(score: Score) -> str:
    """Returns a score's name without the part it is measured on, as in HD95."""
    return score.name.removeprefix("Lesion-wise ").removeprefix("Whole-volume ")
