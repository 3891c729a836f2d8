"""Writes a page for every held-out case of a report, in several processes; one that nothing has changed for is kept."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from mets3d import __version__
from mets3d.data import Progress
from mets3d.data.cases import Case
from mets3d.processes import worker_processes
from mets3d.reporting.arms import pictured_run
from mets3d.reporting.case_order import rank_in_words, ranked_cases, shown_run, trained_on, worst_by, worst_first
from mets3d.reporting.case_page import ArmOfCase, CasePage, Neighbour, write_case_page
from mets3d.reporting.rendering import TEMPLATES
from mets3d.reporting.run_record import RunRecord
from mets3d.reporting.sections.chosen_cases import scanned_cases
from mets3d.reporting.viewer.assets import write_niivue
from mets3d.reporting.viewer.case_layers import PredictedFiles
from mets3d.rundir import PredictionsDir, ReportDir

HEAD_CHARACTERS = 1000  # of a page, in which its digest stands


def write_case_pages(
    records: Sequence[RunRecord], folder: ReportDir, former: ReportDir, *, jobs: int, progress: Progress
) -> tuple[dict[str, str], bool]:
    """Writes the page of each case that some record held out and scored; without any scores, of each that it predicted.

    Returns the address of each case's page from the index, the worst case first, and whether any has scans. former: an
    earlier report, whose pages are taken where nothing has changed that they are drawn from.
    """
    pages = _pages(records, folder)
    if not pages:
        return {}, False
    folder.cases.mkdir()
    drawn = [page for page in pages if not _kept(page, former)]
    with worker_processes(min(jobs, len(drawn))) as run_all:
        for done, (page, _) in enumerate(zip(drawn, run_all(write_case_page, drawn), strict=True), 1):
            progress(done, len(drawn), page.name)
    addresses = {page.name: f"{folder.cases.name}/{page.file.name}" for page in pages}
    return addresses, any(page.case is not None for page in pages)


# ---------------------------------------------------------------- what each page is made from


def _pages(records: Sequence[RunRecord], folder: ReportDir) -> list[CasePage]:
    names = worst_first(records) or _predicted(records)
    if not names:
        return []
    scans, why = scanned_cases([pictured_run(record) for record in records])
    niivue = bool(scans) and write_niivue(folder.viewer)
    files = dict(zip(names, file_names(names), strict=True))
    ranked = ranked_cases(records)
    pages = []
    for place, name in enumerate(names):
        before, after = names[max(0, place - 1) : place], names[place + 1 : place + 2]
        page = CasePage(
            name=name,
            file=folder.cases / files[name],
            case=scans.get(name),
            missing="" if name in scans else _why_no_scans(records, scans, why),
            arms=tuple(_arm(record, name) for record in records),
            regions=records[0].regions,
            rank=_rank(name, names, ranked),
            previous=next((Neighbour(other, files[other]) for other in before), None),
            following=next((Neighbour(other, files[other]) for other in after), None),
            niivue=niivue,
        )
        pages.append(replace(page, digest=_digest(page)))
    return pages


def _rank(name: str, names: Sequence[str], ranked: Sequence[str]) -> str:
    """Returns the place of a case: among those with a score its rank, as where it is pictured."""
    if name in ranked:
        return f"{rank_in_words(name, ranked).capitalize()}, worst first"
    if ranked:
        return f"Without a rank: {worst_by()} has no value here"
    return f"Case {names.index(name) + 1} of {len(names)}"


def _predicted(records: Sequence[RunRecord]) -> list[str]:
    """Returns the cases that runs without scores predicted, but for those that they were trained on."""
    return sorted({case for record in records for case in record.predictions if not trained_on(record, case)})


def _why_no_scans(records: Sequence[RunRecord], scans: Mapping[str, Case], why: str) -> str:
    if scans:
        return "No scans: this case is not in the folder that was predicted."
    if why:
        return f"No scans: {why}"
    if any(run.predictions for record in records for run in record.members.values()):
        return "No scans: the folder that was predicted is not there any more."
    several = len(records) > 1 or any(record.runs for record in records)
    return f"No scans: {'these runs have' if several else 'this run has'} no saved predictions."


def _arm(record: RunRecord, case: str) -> ArmOfCase:
    """Returns what the run that is shown of an arm made of a case."""
    run = shown_run(record, case)
    maps = PredictionsDir(run.run.predictions)
    several = f"seed {run.key[0]}, fold {run.key[1]}" if record.runs else ""
    rows = tuple(run.score_rows(cases=[case])), tuple(run.lesion_rows(cases=[case]))
    if trained_on(run, case):
        told = f"{record.label} was trained on this case: its prediction is not shown."
        return ArmOfCase(record.label, several, PredictedFiles(record.label, None, absent=told), (), ())
    uncertainty, probabilities = _if_there(maps.uncertainty_map(case)), _if_there(maps.probability_map(case))
    files = PredictedFiles(record.label, run.predictions.get(case), probabilities, uncertainty)
    return ArmOfCase(record.label, several, files, *rows)


def _if_there(file: Path) -> Path | None:
    return file if file.is_file() else None


def file_names(cases: Iterable[str]) -> list[str]:
    """Returns a file name for each case: its own name, with odd characters replaced and no two alike."""
    names: list[str] = []
    taken: set[str] = set()
    for case in cases:
        plain = re.sub(r"[^A-Za-z0-9._-]", "_", case).lstrip(".") or "_"
        name, number = plain, 2
        while name.lower() in taken:
            name, number = f"{plain}_{number}", number + 1
        taken.add(name.lower())
        names.append(f"{name}.html")
    return names


# ---------------------------------------------------------------- pages that are as before


def _kept(page: CasePage, former: ReportDir) -> bool:
    """Takes the page of an earlier report if it is drawn from the same."""
    earlier = former.cases / page.file.name
    try:
        with earlier.open(encoding="utf-8") as stream:
            same = page.digest in stream.read(HEAD_CHARACTERS)
        if same:
            shutil.copyfile(earlier, page.file)
    except (OSError, UnicodeDecodeError):
        return False
    return same


def _digest(page: CasePage) -> str:
    """Returns a digest of what a page is drawn from: files by size and time of change, rows, neighbours, program."""
    files = [] if page.case is None else list(page.case.files)
    for arm in page.arms:
        files += [file for file in (arm.files.labels, arm.files.probabilities, arm.files.uncertainty) if file]
    stated = [_stamp(file) for file in files]
    told = repr((replace(page, file=Path(page.file.name), digest=""), stated, _program()))
    return hashlib.sha256(told.encode()).hexdigest()


@cache
def _program() -> str:
    """Returns a stamp of the program that draws."""
    here = Path(__file__).parent
    files = sorted([*TEMPLATES.iterdir(), *here.glob("*.py"), *(here / "viewer").glob("*.*")])
    return repr((__version__, [_stamp(file) for file in files]))


def _stamp(file: Path) -> tuple[str, int, int]:
    try:
        found = file.stat()
    except OSError:
        return str(file), -1, -1
    return str(file), found.st_size, found.st_mtime_ns
