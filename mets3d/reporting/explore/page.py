"""Writes the page about a data set, which opens offline: one HTML file, and two tables with the numbers behind it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from mets3d import __version__
from mets3d.data import Progress, quiet
from mets3d.data.describe import DataSet, describe
from mets3d.evaluation.tables import csv_text
from mets3d.files import machine_mark, recover, replacing
from mets3d.reporting.explore.case_list import case_list_section, case_rows, lesion_rows
from mets3d.reporting.explore.findings import findings_section
from mets3d.reporting.explore.grids import grids_section
from mets3d.reporting.explore.intensities import intensities_section
from mets3d.reporting.explore.lesions import lesions_section
from mets3d.reporting.explore.nesting import nesting_section
from mets3d.reporting.explore.overview import lead, overview, title_of
from mets3d.reporting.explore.pictures import pictures_section
from mets3d.reporting.explore.places import places_section
from mets3d.reporting.explore.time_points import time_points_section
from mets3d.reporting.html_page import PageKind, page_html
from mets3d.reporting.page_folder import refuse_strangers
from mets3d.rundir import ExploreDir
from mets3d.settings import Data

EXPLORE = PageKind("mets3d explore")


def explore(folder: Path, out: Path, *, data: Data | None = None, jobs: int = 1, progress: Progress = quiet) -> DataSet:
    """Writes OUT/index.html, OUT/cases.csv and OUT/lesions.csv about the data set in `folder`; returns its numbers.

    `data` says how the files are read; None is the defaults. A case that cannot be read is a finding on the page. OUT
    appears whole or not at all; a former page about a data set there is replaced. Raises FileExistsError, before any
    case is read, if OUT is anything else, and as `find_cases`.
    """
    names = ExploreDir(out)
    recover(out)
    refuse_strangers(out, EXPLORE, "page about a data set", names.page.name, {names.cases.name, names.lesions.name})
    found = describe(folder, data, jobs=jobs, progress=progress)
    with replacing(out, mark=machine_mark()) as temporary:
        temporary.mkdir()
        files = ExploreDir(temporary)
        for file, (columns, rows) in ((files.cases, case_rows(found)), (files.lesions, lesion_rows(found))):
            file.write_text(csv_text(columns, rows), encoding="utf-8")
        files.page.write_text(explore_html(found), encoding="utf-8")
    return found


def explore_html(data: DataSet) -> str:
    """Returns the page about a data set; the cases that it pictures are read once more."""
    sections = (
        overview(data),
        grids_section(data),
        intensities_section(data),
        lesions_section(data),
        nesting_section(data),
        time_points_section(data),
        places_section(data),
        pictures_section(data),
        findings_section(data),
        case_list_section(data),
    )
    return page_html(EXPLORE, title_of(data), sections, lines=[lead(data)], footer=_footer(data))


def _footer(data: DataSet) -> str:
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return f"Made by mets3d {__version__} on {made} from {data.folder}. Not for clinical use."
