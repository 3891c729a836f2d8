"""The cases of a page: slices and lesions of each chosen case, with the scores of that case beneath."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mets3d.data import Progress
from mets3d.data.cases import Case, find_cases
from mets3d.reporting.compare import METRICS
from mets3d.reporting.figures import Figures
from mets3d.reporting.pictures.lesion_picture import LesionPicture, lesion_picture
from mets3d.reporting.pictures.lesion_planes import KINDS
from mets3d.reporting.pictures.lesion_svg import lesions_svg
from mets3d.reporting.pictures.slice_svg import case_svg
from mets3d.reporting.pictures.slices import CaseVolumes, chosen_cases, read_volumes, views
from mets3d.reporting.run_record import Note, RunRecord
from mets3d.reporting.sentences import count, number

MOST_TILES, MOST_TILES_COMPARED = 18, 12  # of lesions in one figure: three rows, two where each run has a figure
RULES = "brats2023"  # of lesions in a run without scores


def gallery(records: Sequence[RunRecord], figures: Figures, progress: Progress) -> str:
    """Slices and lesions of each chosen case; what stands in the way goes to the notes of the first run."""
    first = records[0]
    available = _cases_with_predictions(records)
    if not available:
        return ""
    dice = first.values(first.regions[0].name, "dice", list(available))
    chosen = chosen_cases(dice, sorted(available))
    drawn = []
    for done, (name, standing) in enumerate(chosen, 1):
        try:
            drawn.append(_case_figure(available[name], records, figures, standing))
        except (OSError, ValueError) as error:
            first.notes.append(Note(f"No slices of {name}: {error}"))
        progress(done, len(chosen), name)
    if not drawn:
        return ""
    picked = (
        f"{len(drawn)} of {count(len(available), 'case')}" if len(drawn) < len(available) else count(len(drawn), "case")
    )
    order = (
        f", ordered by {first.regions[0].name} Dice" + (f" of {first.label}" if len(records) > 1 else "")
        if dice
        else ""
    )
    said = (
        f"{picked}{order}. Radiological orientation: the patient's right is on the left. Grey levels from the 0.5 to "
        "the 99.5 percentile inside the brain; outlines follow voxel edges, corners rounded, and where two coincide "
        "the inner region's is on top. Lesions have the numbers of lesions.csv."
    )
    return f'<h2>Slices and lesions</h2><p class="small">{escape(said)}</p>{"".join(drawn)}'


def _cases_with_predictions(records: Sequence[RunRecord]) -> dict[str, Case]:
    """Cases that every run predicted and whose scans are there, by name; those that training has not seen, if any."""
    data = next((record.data for record in records if record.data is not None), None)
    if data is None:
        return {}
    try:
        found = {case.name: case for case in find_cases(data)}
    except (OSError, ValueError) as error:
        records[0].notes.append(Note(f"No slices: {error}"))
        return {}
    everywhere = {name: case for name, case in found.items() if all(name in record.predictions for record in records)}
    if not everywhere:
        records[0].notes.append(Note(f"No slices: {data} holds no case that every run predicted."))
    trained = {name for record in records for name in record.split.get("training", ())}
    return {name: case for name, case in everywhere.items() if name not in trained} or everywhere


def _case_figure(case: Case, records: Sequence[RunRecord], figures: Figures, standing: str) -> str:
    regions = records[0].regions
    volumes = read_volumes(case, records, list(dict.fromkeys(region.shown_on for region in regions)))
    svg = case_svg(case.name, views(volumes, regions), regions, [record.label for record in records])
    head = case.name + (f" ({standing})" if standing else "")
    scores = [_case_scores(record, case.name, named=len(records) > 1) for record in records]
    slices = figures.add(f"slices_{case.name}", svg, ". ".join(filter(None, [head, *scores])) + ".")
    return slices + "".join(_lesion_figure(volumes, record, figures, several=len(records) > 1) for record in records)


def _lesion_figure(volumes: CaseVolumes, record: RunRecord, figures: Figures, *, several: bool) -> str:
    """The lesions of one run's prediction; nothing without a reference or without any tumour."""
    rules, most = record.rules.split(", ")[0] or RULES, MOST_TILES_COMPARED if several else MOST_TILES
    try:
        picture = lesion_picture(volumes, record.label, rules=rules, most=most)
    except ValueError as error:
        record.notes.append(Note(f"No lesions of {volumes.name} are pictured: {error}"))
        return ""
    if picture is None:
        return ""
    run = record.label if several else ""
    name = f"lesions_{volumes.name}" + (f"_{record.label}" if several else "")
    return figures.add(name, lesions_svg(volumes.name, picture, run), _lesion_caption(volumes.name, picture, run))


def _lesion_caption(case: str, picture: LesionPicture, run: str) -> str:
    kinds = [lesion.kind for lesion in picture.lesions]
    amounts = [f"{kinds.count(kind)} {kind}" for kind in KINDS[:3]]
    amounts += [f"{kinds.count('ignored')} too small to count"] if "ignored" in kinds else []
    of = f" of {run}" if run else ""
    tile = "Each lesion at its centroid; volume of the reference, of false ones of the prediction"
    return f"{case}, lesions{of} by {picture.region.name}: {', '.join(amounts)}. {tile}."


def _case_scores(record: RunRecord, case: str, *, named: bool) -> str:
    parts = []
    for region in record.regions:
        dice = record.values(region.name, METRICS[2].column, [case])
        lesions = record.values(region.name, METRICS[0].column, [case])
        if dice and lesions:
            parts.append(f"{region.name} {number(dice[case], 3)} / {number(lesions[case], 3)}")
    head = f"{record.label}: " if named else ""
    return f"{head}Dice / lesion-wise Dice {', '.join(parts)}" if parts else ""
