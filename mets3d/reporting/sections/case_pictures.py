"""Writes the page's section of pictures: slices and lesions of each chosen case, with its scores beneath."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from mets3d.data import Progress
from mets3d.data.cases import Case
from mets3d.evaluation.region_scores import KINDS
from mets3d.reporting.case_order import ranked_cases
from mets3d.reporting.figures import Figures
from mets3d.reporting.html_page import Section
from mets3d.reporting.pictures.case_volumes import CaseVolumes, read_volumes
from mets3d.reporting.pictures.lesion_picture import LesionPicture, lesion_picture
from mets3d.reporting.pictures.lesion_svg import lesions_svg
from mets3d.reporting.pictures.slice_svg import case_svg
from mets3d.reporting.pictures.slices import views
from mets3d.reporting.rendering import render
from mets3d.reporting.run_record import Note, RunRecord
from mets3d.reporting.sections.chosen_cases import chosen_cases, predicted_cases
from mets3d.reporting.sentences import number, score_number
from mets3d.statistics.lesion_counts import COUNTS
from mets3d.wording import counted

MOST_CASES = 6
MOST_PREDICTIONS = 18  # of all arms together: more arms are pictured by fewer cases
MOST_TILES, MOST_TILES_COMPARED = 18, 12  # of lesions in one figure: three rows, two where each run has a figure


def case_pictures(records: Sequence[RunRecord], figures: Figures, progress: Progress) -> Section | None:
    """Draws slices and lesions of each chosen case; what cannot be drawn becomes a note of the first run."""
    first = records[0]
    available = predicted_cases(records)
    ranked = ranked_cases(records)
    chosen = chosen_cases(ranked, sorted(available), most=max(1, min(MOST_CASES, MOST_PREDICTIONS // len(records))))
    drawn = []
    for done, (name, standing) in enumerate(chosen, 1):
        try:
            head = name + (f" ({standing})" if standing else "")
            drawn.append((head, _case_figures(available[name], records, figures, head)))
        except (OSError, ValueError) as error:
            first.notes.append(Note(f"No slices of {name}: {error}"))
        progress(done, len(chosen), name)
    if not drawn:
        return None
    amount = f"{len(drawn)} of " * (len(drawn) < len(available)) + counted(len(available), "case")
    # Of several arms each has a table, in an order of its own.
    order = ", in the order of the table of all cases" * (len(records) == 1)
    shown = f"{amount}{f', the worst first{order}' if ranked else ''}."
    html = render("case_pictures.html", shown=shown, numbers=first.run.lesions.name, drawn=drawn)
    return Section("pictures", "Slices and lesions", html)


def _case_figures(case: Case, records: Sequence[RunRecord], figures: Figures, head: str) -> Markup:
    """Draws the slices of a case, and the lesions of each run's prediction."""
    regions, several = records[0].regions, len(records) > 1
    files = {record.label: record.predictions[case.name] for record in records}
    volumes = read_volumes(case, files, list(dict.fromkeys(region.background(case.sequences) for region in regions)))
    svg = case_svg(case.name, views(volumes, regions), regions, [record.label for record in records])
    scores = [_case_scores(record, case.name, named=several) for record in records]
    caption = ". ".join(filter(None, [head, *scores])) + "."
    alt = f"Slices of {case.name} with the outlines of reference and prediction"
    slices = figures.add(f"slices_{case.name}", svg, caption, alt=alt)
    lesions = (_lesion_figure(volumes, record, figures, several=several) for record in records)
    return slices + Markup("").join(lesions)


def _lesion_figure(volumes: CaseVolumes, record: RunRecord, figures: Figures, *, several: bool) -> Markup:
    """Draws the lesions of one run's prediction; nothing without a reference or without any tumour."""
    rules = record.rules or record.config.validate_.rules
    try:
        picture = lesion_picture(
            volumes, record.label, rules=rules, most=MOST_TILES_COMPARED if several else MOST_TILES
        )
    except ValueError as error:
        record.notes.append(Note(f"No lesions of {volumes.name} are pictured: {error}"))
        return Markup("")
    if picture is None:
        return Markup("")
    run = record.label if several else ""
    name = f"lesions_{volumes.name}" + (f"_{record.label}" if several else "")
    caption, alt = _lesion_caption(record, volumes.name, picture, run), f"Lesions of {volumes.name}, a tile each"
    return figures.add(name, lesions_svg(volumes.name, picture, run), caption, alt=alt)


def _lesion_caption(record: RunRecord, case: str, picture: LesionPicture, run: str) -> str:
    """Counts the lesions that are pictured, which are of one region, and those of the other regions by the scores."""
    kinds = [lesion.kind for lesion in picture.lesions]
    amounts = [f"{kinds.count(kind)} {kind}" for kind in KINDS]
    amounts += [f"{kinds.count('ignored')} too small to count"] if "ignored" in kinds else []
    of = f" of {run}" if run else ""
    others = []
    for region in record.regions:
        counts = [record.values(region.name, score.column, [case]).get(case) for score in COUNTS]
        if region != picture.region and None not in counts:
            words = (f"{number(amount, 0)} {kind}" for amount, kind in zip(counts, KINDS, strict=True))
            others.append(f"{region.name} {', '.join(words)}")
    also = f" Not pictured: {'; '.join(others)}." if others else ""
    return f"{case}, lesions{of} by {picture.region.name}: {', '.join(amounts)}.{also}"


def _case_scores(record: RunRecord, case: str, *, named: bool) -> str:
    parts = []
    for region in record.regions:
        columns = ("dice", "lesion_wise_dice")
        values = [record.values(region.name, column, [case]).get(case) for column in columns]
        if None not in values:
            parts.append(f"{region.name} {' / '.join(map(score_number, columns, values))}")
    head = f"{record.label}: " if named else ""
    return f"{head}Dice / lesion-wise Dice {', '.join(parts)}" if parts else ""
