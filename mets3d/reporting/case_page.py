"""Writes the page of one case: its viewer, its lesions, to which the viewer jumps, and its scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from mets3d.data.case import Case
from mets3d.evaluation.tables import Row
from mets3d.regions import Region
from mets3d.reporting.lesion_lines import LesionLine, lesion_lines
from mets3d.reporting.rendering import render
from mets3d.reporting.sentences import number
from mets3d.reporting.viewer.assets import NOT_BESIDE, NOT_BUILT_IN, viewer_script
from mets3d.reporting.viewer.case_layers import PredictedFiles, read_layers
from mets3d.reporting.viewer.contents import ViewerContents, viewer_contents
from mets3d.reporting.viewer.embedded import viewer_html
from mets3d.statistics.lesion_counts import COUNTS, means_shown_in


@dataclass(frozen=True)
class Neighbour:
    """Another case and the file of its page."""

    name: str
    href: str


@dataclass(frozen=True)
class ArmOfCase:
    """What one arm made of a case: the run that is shown, its rows of the tables and its files."""

    label: str
    run: str  # which of the arm's runs, in words; empty where it has one
    files: PredictedFiles
    scores: tuple[Row, ...]
    lesions: tuple[Row, ...]


@dataclass(frozen=True)
class CasePage:
    """All that the page of a case is made from, so that a process can make it alone."""

    name: str
    file: Path
    case: Case | None
    missing: str  # why there are no scans; empty where there are
    arms: tuple[ArmOfCase, ...]
    regions: tuple[Region, ...]
    rank: str  # such as: Case 3 of 60, worst first
    previous: Neighbour | None
    following: Neighbour | None
    niivue: bool  # whether viewer/niivue.js is written
    digest: str = ""  # of what it is drawn from


def write_case_page(page: CasePage) -> None:
    """Writes a case's page; what cannot be read is a sentence on it."""
    page.file.write_text(case_html(page), encoding="utf-8")


def case_html(page: CasePage) -> Markup:
    """Returns the page of a case as HTML."""
    lesions = case_lesions(page)
    contents, problems = _contents(page, lesions)
    return render(
        "case.html",
        page=page,
        lesions=lesions,
        several=len(page.arms) > 1,
        placed=any(line.mm for line in lesions),
        scores=_scores(page),
        score_headings=_headings(),
        problems=problems,
        viewer=viewer_html(contents) if contents else Markup(),
        script=viewer_script() if contents else Markup(),
    )


def case_lesions(page: CasePage) -> list[LesionLine]:
    """Returns the lines of the case's lesions, arm by arm."""
    return [
        line
        for place, arm in enumerate(page.arms)
        for line in lesion_lines(arm.lesions, page.regions, arm=arm.label, place=place)
    ]


def _contents(page: CasePage, lesions: Sequence[LesionLine]) -> tuple[ViewerContents | None, list[str]]:
    """Reads and packs what the viewer shows; without scans there are sentences alone."""
    if page.case is None:
        return None, [page.missing]
    start = next((line.mm for line in lesions if line.mm), None)
    try:
        contents = viewer_contents(read_layers(page.case, [arm.files for arm in page.arms]), start)
    except (OSError, ValueError) as error:
        return None, [f"No scans: {error}"]
    contents.data["without_niivue"] = NOT_BESIDE if page.niivue else NOT_BUILT_IN
    return contents, contents.problems


# ---------------------------------------------------------------- scores


def _headings() -> list[tuple[str, str]]:
    """Returns name and unit of the columns of the table of scores."""
    means = [(score.name, score.unit or "") for score in means_shown_in("page")]
    return [*means, *((score.name, "") for score in COUNTS)]


def _scores(page: CasePage) -> list[tuple[str, Region, list[str]]]:
    """Returns arm, region and values of each row of the table of scores."""
    lines = []
    for region in page.regions:
        for arm in page.arms:
            row = next((row for row in arm.scores if row["region"] == region.name), None)
            if row is None:
                continue
            values = [number(row.get(score.column), score.digits) for score in means_shown_in("page")]
            values += [number(row.get(score.column), 0) for score in COUNTS]
            lines.append((arm.label, region, values))
    return lines
