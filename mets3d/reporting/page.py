"""Writes one HTML page of a run, or of runs compared, that opens offline: its figures lie in the page and beside it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape
from pathlib import Path

from mets3d import __version__
from mets3d.data import Progress, quiet
from mets3d.files import replacing
from mets3d.reporting.compare import cases_in_all, comparison_notes, differences_of, reference_first
from mets3d.reporting.figures import Figures
from mets3d.reporting.html_page import PageKind, page_html
from mets3d.reporting.page_folder import refuse_strangers
from mets3d.reporting.read_run import read_runs
from mets3d.reporting.run_record import Note, RunRecord
from mets3d.reporting.sections.case_dots import case_dots
from mets3d.reporting.sections.case_list import case_list
from mets3d.reporting.sections.case_pictures import case_pictures
from mets3d.reporting.sections.cohort_figures import cohort_figures
from mets3d.reporting.sections.configuration import all_settings, differences_section, facts_section
from mets3d.reporting.sections.notes import notes_section
from mets3d.reporting.sections.pairs import pair_sections
from mets3d.reporting.sections.ranks import ranks_section
from mets3d.reporting.sections.scores import scores_section
from mets3d.reporting.sections.threshold import threshold_section
from mets3d.reporting.sections.tiles import tiles
from mets3d.reporting.sections.training import overlaid_curves, training_curves
from mets3d.reporting.training_facts import lede
from mets3d.rundir import ReportDir

REPORT = PageKind("mets3d report")


def report(runs: Sequence[Path], out: Path, *, progress: Progress | None = None) -> Path:
    """Writes OUT/index.html and OUT/figures/*.svg for one run, or for several compared; returns the path of the page.

    A piece that a run lacks (scores, curves, predictions ...) is named on the page. Several runs are compared on the
    cases that all held out; the first without a boundary term, else the first, is what the others are compared with.
    OUT appears whole or not at all; a former report there is replaced. `progress` is called with each case drawn.

    Raises FileNotFoundError if one of `runs` is not a run directory, ValueError for no runs or the same run twice, and
    FileExistsError if OUT exists and is anything but a report.
    """
    if not runs:
        raise ValueError("report: expected at least one run directory, found none")
    if len({run.resolve() for run in runs}) < len(runs):
        raise ValueError(f"report: the same run directory is named twice: {', '.join(map(str, runs))}")
    records = reference_first(read_runs(runs))
    folder = ReportDir(out)
    refuse_strangers(out, REPORT, "report", folder.page.name, {folder.figures.name})
    others = ", ".join(record.label for record in records[1:])
    title = f"{others} against {records[0].label}" if others else records[0].label
    with replacing(out) as temporary:
        figures = Figures(ReportDir(temporary).figures)
        pictures = case_pictures(records, figures, progress or quiet)  # first, for what it cannot draw becomes a note
        body = _one_run(records[0], figures, pictures) if len(records) == 1 else _compared(records, figures, pictures)
        html = page_html(REPORT, escape(title), f"{_header(title, records)}{body}{_footer()}")
        ReportDir(temporary).page.write_text(html, encoding="utf-8")
    return ReportDir(out).page


def _one_run(record: RunRecord, figures: Figures, pictures: str) -> str:
    """Returns the sections on one run, in their order on the page."""
    sections = (
        notes_section(record.notes),
        tiles(record),
        scores_section(record),
        threshold_section([record]),
        cohort_figures([record], record.held_out, figures),
        pictures,
        facts_section([record]),
        training_curves(record, figures),
        case_list(record),
        all_settings(record),
    )
    return "".join(sections)


def _compared(records: Sequence[RunRecord], figures: Figures, pictures: str) -> str:
    """Returns the sections on several runs, in their order on the page; the first run is the reference."""
    cases = cases_in_all(records)
    own = [Note(f"{record.label}: {note.text}", note.command) for record in records for note in record.notes]
    sections = (
        notes_section(comparison_notes(records) + own),
        pair_sections(records, cases, differences_of(records, cases)),
        ranks_section(records, cases),
        case_dots(records, cases, figures),
        threshold_section(records),
        cohort_figures(records, cases, figures),
        pictures,
        overlaid_curves(records, figures),
        differences_section(records),
        facts_section(records),
        *(case_list(record, record.label) + all_settings(record, record.label) for record in records),
    )
    return "".join(sections)


def _header(title: str, records: Sequence[RunRecord]) -> str:
    lines = [lede(records[0])] if len(records) == 1 else [f"{record.label}: {lede(record)}" for record in records]
    return f"<header><h1>{escape(title)}</h1>{''.join(f'<p>{escape(line)}</p>' for line in lines)}</header>"


def _footer() -> str:
    figures = ReportDir(Path()).figures
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return (
        f"<footer>Made by mets3d {__version__} on {made}. Figures are in the folder {figures} beside this page. "
        "Not for clinical use.</footer>"
    )
