"""Writes the page's section of lesions that the reference found and an arm missed, or the other way round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from markupsafe import Markup

from mets3d.data.cases import Case
from mets3d.reporting.arms import pictured_run
from mets3d.reporting.figures import Figures
from mets3d.reporting.html_page import Section
from mets3d.reporting.html_table import Cell, Heading, Table
from mets3d.reporting.lesion_lines import lesion_anchor
from mets3d.reporting.pictures.case_volumes import CaseVolumes, read_volumes
from mets3d.reporting.pictures.lesion_pair_svg import LesionPair, lesion_pairs_svg
from mets3d.reporting.pictures.lesion_picture import lesion_tile
from mets3d.reporting.rendering import render
from mets3d.reporting.run_record import Note, RunRecord
from mets3d.reporting.sections.chosen_cases import predicted_cases
from mets3d.reporting.sentences import number, shortened
from mets3d.statistics.answer import quoted_region
from mets3d.statistics.found_by_one import FoundByOne, RunsFound, found_by_one
from mets3d.wording import counted

MOST_PICTURED = 3  # lesions, each in both arms: one row of tiles
MOST_READ = 6  # cases whose volumes are read to picture them
MOST_LISTED, FEWEST_LISTED = 300, 10  # lesions of all arms together, and of one; others are in the tables of lesions
MOST_OPEN = 1  # arms whose list is open
PICTURED = (
    "The largest, each in both. Solid: the reference; dashed: the prediction. A lesion of the reference that was found "
    "is green, a missed one red."
)


def found_by_one_section(
    records: Sequence[RunRecord], cases: Sequence[str], figures: Figures, pages: Mapping[str, str] | None = None
) -> Section | None:
    """Lists the lesions that one found and the other missed, the largest first, and pictures some of the first arm.

    pages: case -> address of its page. None where no two runs have rows of lesions.csv.
    """
    reference, *others = records
    rows = reference.lesion_rows(cases=cases)
    shown = {region.name for region in reference.regions}
    told = [
        (run, [one for one in found_by_one(rows, own) if one.region in shown])
        for run in others
        if rows and (own := run.lesion_rows(cases=cases))
    ]
    if not told:
        return None
    most = max(FEWEST_LISTED, MOST_LISTED // len(told))
    parts = [
        (_head(reference, run, found, most), _table(reference, run, found[:most], pages or {})) for run, found in told
    ]
    html = render(
        "found_by_one.html",
        parts=parts,
        several=len(told) > MOST_OPEN,
        pictures=_pictures(reference, *told[0], figures),
    )
    title = "Lesions that one arm found and the other missed"
    return Section("found-by-one", title, html, "Found by one arm alone")


def _head(reference: RunRecord, run: RunRecord, found: Sequence[FoundByOne], most: int) -> str:
    """Counts the lesions by region and by who found them."""
    sides = (
        (run.label, [own for own in found if own.by_method]),
        (reference.label, [own for own in found if not own.by_method]),
    )
    said = []
    for label, own in sides:
        regions = [f"{sum(one.region == region.name for one in own)} in {region.name}" for region in reference.regions]
        said.append(f"Found by {label} alone: {', '.join(regions)}")
    more = f" The {most} largest are listed." if len(found) > most else ""
    return f"{'. '.join(said)}.{more}"


def _table(reference: RunRecord, run: RunRecord, found: Sequence[FoundByOne], pages: Mapping[str, str]) -> Table | None:
    """Returns a row per lesion; None without any."""
    several = bool(reference.runs or run.runs)
    rows = []
    for own in found:
        found_in, missed_in = (own.method, own.reference) if own.by_method else (own.reference, own.method)
        labels = (run.label, reference.label) if own.by_method else (reference.label, run.label)
        address = f"{quote(pages[own.case])}#{lesion_anchor(own.region, int(own.lesion))}" if own.case in pages else ""
        sides = [
            Cell(shortened(label, 40) + _runs(side, shown=several), words=True)
            for label, side in zip(labels, (found_in, missed_in), strict=True)
        ]
        name = Cell(f"{own.region} {own.lesion}", heads=True, href=address)
        rows.append([name, Cell(own.case, words=True), Cell(number(own.volume_mm3, 1)), *sides])
    if not rows:
        return None
    headings = [
        *(Heading(text, words=True) for text in ("Lesion", "Case")),
        Heading("Volume, mm³", sorted="descending"),
        *(Heading(text, words=True) for text in ("Found by", "Missed by")),
    ]
    label = f"Lesions that {run.label} or {reference.label} found alone"
    return Table("", headings, rows, label=label, rows_are="lesions", tall=len(rows) > 12)


def _runs(side: RunsFound, *, shown: bool) -> str:
    return f" ({side.found} of {counted(side.runs, 'run')})" if shown else ""


# ---------------------------------------------------------------- pictures


def _pictures(reference: RunRecord, run: RunRecord, found: Sequence[FoundByOne], figures: Figures) -> Markup:
    """Draws the largest of them whose scans are at hand, in the pictured run of each arm; nothing without any."""
    shown = [pictured_run(record) for record in (reference, run)]
    scans = predicted_cases(shown) if all(record.predictions for record in shown) else {}
    quoted = quoted_region([region.name for region in reference.regions])
    at_hand = [own for own in found if own.case in scans]
    wanted = sorted(at_hand, key=lambda own: own.region != quoted)  # stable: the largest of each first
    pairs: list[LesionPair] = []
    volumes: dict[str, CaseVolumes | None] = {}
    for own in wanted:
        if len(pairs) == MOST_PICTURED:
            break
        if own.case not in volumes:
            if len(volumes) == MOST_READ:
                continue
            volumes[own.case] = _read(own.case, shown, scans)
        read = volumes[own.case]
        if read is not None and (pair := _pair(read, shown, own)):
            pairs.append(pair)
    if not pairs:
        return Markup("")
    alt = "; ".join(
        f"{pair.title}: {', '.join(f'{tile.run} {tile.lesion.kind}' for tile in pair.tiles)}" for pair in pairs
    )
    return figures.add("found_by_one", lesion_pairs_svg(pairs), PICTURED, alt=f"Lesions that one arm missed: {alt}.")


def _read(case: str, shown: Sequence[RunRecord], scans: Mapping[str, Case]) -> CaseVolumes | None:
    """Reads a case with the predictions of both; a note and None where that cannot be."""
    regions = shown[0].regions
    files = {record.label: record.predictions[case] for record in shown}
    sequences = list(dict.fromkeys(region.background(scans[case].sequences) for region in regions))
    try:
        return read_volumes(scans[case], files, sequences)
    except (OSError, ValueError) as error:
        shown[0].notes.append(Note(f"No pictures of lesions of {case}: {error}"))
        return None


def _pair(volumes: CaseVolumes, shown: Sequence[RunRecord], own: FoundByOne) -> LesionPair | None:
    """Cuts the tiles of a lesion; None where the pictured runs of arms do not differ in it as most of their runs do."""
    region = next(region for region in shown[0].regions if region.name == own.region)
    rules = shown[0].rules
    tiles = [lesion_tile(volumes, record.label, region, int(own.lesion), rules=rules) for record in shown]
    first, second = tiles
    if first is None or second is None or {tile.lesion.kind for tile in (first, second)} != {"found", "missed"}:
        return None
    return LesionPair(f"{own.case}, {own.region} {own.lesion}", (first, second))
