"""Writes one HTML page of a run, or of runs compared, that opens offline, with its figures and a page per case."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from mets3d import __version__
from mets3d.data import Progress, quiet
from mets3d.files import machine_mark, recover, replacing
from mets3d.reporting.arms import as_arms, pictured_run
from mets3d.reporting.case_pages import write_case_pages
from mets3d.reporting.compare import cases_in_all, compared, without_absent
from mets3d.reporting.copied_tables import copy_tables
from mets3d.reporting.fair import comparison_notes, study_differences
from mets3d.reporting.figures import Figures
from mets3d.reporting.head_lines import MOST_NAMED, head_lines
from mets3d.reporting.html_page import PageKind, Section, page_html
from mets3d.reporting.ledger import ledger_remarks
from mets3d.reporting.page_folder import refuse_strangers
from mets3d.reporting.read_run import read_runs
from mets3d.reporting.run_record import Note, RunRecord
from mets3d.reporting.sections.answer import answer_of_comparison, answer_of_run
from mets3d.reporting.sections.arms import arms_section
from mets3d.reporting.sections.case_dots import case_dots
from mets3d.reporting.sections.case_list import cases_section, lesions_section
from mets3d.reporting.sections.case_pictures import case_pictures
from mets3d.reporting.sections.cohort_figures import cohort_figures
from mets3d.reporting.sections.configuration import differences_section, facts_section, settings_section
from mets3d.reporting.sections.found_by_one import found_by_one_section
from mets3d.reporting.sections.glossary import glossary_section
from mets3d.reporting.sections.methods import methods_section
from mets3d.reporting.sections.notes import own_notes, placed_notes, weighed
from mets3d.reporting.sections.pairs import pair_sections
from mets3d.reporting.sections.ranks import ranks_section
from mets3d.reporting.sections.scores import scores_section
from mets3d.reporting.sections.threshold import threshold_section
from mets3d.reporting.sections.training import overlaid_curves, training_curves
from mets3d.reporting.sections.under_way import under_way
from mets3d.rundir import ReportDir
from mets3d.wording import counted

REPORT = PageKind("mets3d report")


def report(
    runs: Sequence[Path], out: Path, *, remarks: Sequence[str] = (), progress: Progress | None = None, jobs: int = 1
) -> Path:
    """Writes OUT/index.html, its figures and a page per case, of one run or of several compared; returns the page.

    A piece that a run lacks (scores, curves, predictions ...) is named on the page. Runs that differ in seed and fold
    alone are one arm, of which a case's score is its mean over the runs (`arms.as_arms`). Arms are compared on the
    cases that all held out; the first without a boundary term, else the first, is what the others are compared with.
    OUT appears whole or not at all; a former report there is replaced. remarks: sentences for the head of the page,
    beside those of the ledger of the study that the runs lie in. `progress` is called with each case drawn.
    jobs: the processes that draw cases.

    Raises FileNotFoundError if one of `runs` is not a run directory, ValueError for no runs or the same run twice, and
    FileExistsError if OUT exists and is anything but a report.
    """
    return write_page(read_arms(runs), out, remarks=remarks, progress=progress, jobs=jobs)


def read_arms(runs: Sequence[Path]) -> list[RunRecord]:
    """Reads run directories and groups them into arms, the reference first; raises as `report`."""
    if not runs:
        raise ValueError("report: expected at least one run directory, found none")
    if len({run.resolve() for run in runs}) < len(runs):
        raise ValueError(f"report: the same run directory is named twice: {', '.join(map(str, runs))}")
    return as_arms(read_runs(runs))


def write_page(
    records: Sequence[RunRecord],
    out: Path,
    *,
    remarks: Sequence[str] = (),
    progress: Progress | None = None,
    jobs: int = 1,
) -> Path:
    """Writes the page of runs that are read, as `report` does; raises FileExistsError as that."""
    folder, records = ReportDir(out), without_absent(records)
    recover(out)
    refuse_strangers(out, REPORT, "report", folder.page.name, ReportDir.entries())
    title = _title(records)
    with replacing(out, mark=machine_mark()) as temporary:
        made = ReportDir(temporary)
        figures = Figures(made.figures)
        # First, for what they cannot draw becomes a note.
        pictures = case_pictures([pictured_run(record) for record in records], figures, quiet)
        pages, viewed = write_case_pages(records, made, folder, jobs=jobs, progress=progress or quiet)
        found = found_by_one_section(records, cases_in_all(records), figures, pages)
        cases = [
            cases_section(records, pages, copy_tables(records, made), viewed=viewed),
            lesions_section(records, pages, viewed=viewed),
        ]
        every = [run.run.path for record in records for run in record.members.values()]
        said = [Note(remark, weighty=True) for remark in dict.fromkeys([*remarks, *ledger_remarks(every)])]
        sections = (_one if len(records) == 1 else _compared)(records, said, figures, [pictures, found, *cases])
        html = page_html(REPORT, title, sections, lines=head_lines(records), footer=_footer())
        made.page.write_text(html, encoding="utf-8")
    return folder.page


def _one(
    records: Sequence[RunRecord], remarks: Sequence[Note], figures: Figures, drawn: Sequence[Section | None]
) -> list[Section | None]:
    """Returns the sections on one run, or on one arm of several, in their order on the page."""
    (record,) = records
    pictures, _, *lists = drawn
    notes = [*remarks, *own_notes(records)]
    first, later = placed_notes(notes, answered=bool(record.scores))
    return [
        answer_of_run(record, notes),
        first,
        under_way(record, figures),
        scores_section(record),
        later,
        pictures,
        arms_section(records, compared(records, record.held_out), fair=True),
        cohort_figures([record], record.held_out, figures),
        overlaid_curves([record], figures) if record.runs else training_curves(record, figures),
        facts_section([record]),
        *lists,
        settings_section([record]),
        glossary_section(records),
        methods_section(records, None),
    ]


def _compared(
    records: Sequence[RunRecord], remarks: Sequence[Note], figures: Figures, drawn: Sequence[Section | None]
) -> list[Section | None]:
    """Returns the sections on several runs or arms, in their order on the page; the first is the reference."""
    pictures, found, *lists = drawn
    cases = cases_in_all(records)
    table = compared(records, cases)
    notes = [*remarks, *weighed(comparison_notes(records)), *own_notes(records)]
    first, later = placed_notes(notes, answered=bool(cases))
    return [
        answer_of_comparison(records, cases, table, figures, notes),
        first,
        found,
        later,
        pictures,
        arms_section(records, table, fair=not study_differences(records)),
        differences_section(records),
        *pair_sections(records, cases, table.differences if table else []),
        ranks_section(records, cases),
        case_dots(records, cases, figures),
        threshold_section(records),
        cohort_figures(records, cases, figures),
        overlaid_curves(records, figures),
        facts_section(records),
        *lists,
        settings_section(records),
        glossary_section(records),
        methods_section(records, table),
    ]


def _title(records: Sequence[RunRecord]) -> str:
    first, *others = (record.label for record in records)
    if len(others) > MOST_NAMED:
        return f"{counted(len(others), 'arm')} against {first}"
    return f"{', '.join(others)} against {first}" if others else first


def _footer() -> str:
    figures = ReportDir(Path()).figures
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return (
        f"Made by mets3d {__version__} on {made}. Figures are in the folder {figures} beside this page. "
        "Not for clinical use."
    )
