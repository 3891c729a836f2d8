"""Preprocesses raw cases into a store.

Each case is read once: checked, prepared and saved by one process. A case that cannot be used stops no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from mets3d.config import Data, Preprocess
from mets3d.data import DataError, Progress, quiet
from mets3d.data.case_record import Record, record_of
from mets3d.data.cases import Case, CaseList, Finding, find_cases
from mets3d.data.check import Examined, check_headers, each_case, examine
from mets3d.data.findings_table import findings_table
from mets3d.data.label_probe import misread_labels
from mets3d.data.landmarks import normalisation_of
from mets3d.data.native import reference_of
from mets3d.data.not_usable import MANY_CASES, OnError, reason_of, stops, write_not_usable
from mets3d.data.reading import read_scan_header
from mets3d.data.set_findings import set_findings
from mets3d.data.shards import Shard
from mets3d.data.spacing import Wanted
from mets3d.data.store import FINGERPRINT, INDEX, expect_own_files
from mets3d.data.store_index import finish
from mets3d.data.storing import Making, store_cases, writing
from mets3d.data.survival import remarks as survival_remarks
from mets3d.data.unfinished import Begun, begin, begun, discard, excluded
from mets3d.data.wording import WHOLE_SET
from mets3d.files import read_json
from mets3d.regions import RC_LABEL
from mets3d.rundir import NOT_USABLE
from mets3d.wording import agreed, counted

LISTED = 5  # findings of one kind that are told one by one


class Preprocessed(list[str]):
    """Remarks for the user, one text each; and which cases are in the store, and which are not.

    not_usable: the reason by case. waiting: cases for other shards, or for a later call, so that there is no store yet.
    """

    def __init__(self, cases: list[str], not_usable: dict[str, str], waiting: list[str]):
        super().__init__()
        self.cases, self.not_usable, self.waiting = cases, not_usable, waiting


class NotUsableError(DataError):
    """Cases that turned out to be unusable while they were prepared."""

    exit_code = 1


def preprocess(
    folder: Path,
    store: Path,
    settings: Preprocess,
    *,
    data: Data,
    jobs: int = 1,
    on_error: OnError | None = None,
    shard: Shard | None = None,
    progress: Progress = quiet,
) -> Preprocessed:
    """Makes the store of all cases with a reference below `folder`, or goes on with it; redoes no finished case.

    A case is made anew where its files have changed and taken out where it is excluded now; new ones are added. Cases
    without reference are left out: they can only be predicted. With `shard` only its share is made, and the call that
    finds all cases done finishes the store.

    on_error: with `skip` cases that cannot be used are left out and listed; with `stop` there is no store before all
    can be used, and nothing is written where headers show that one cannot. None: `skip` from 20 cases on.

    Raises DataError for a store with other settings, a folder of something else, cases that are gone from the source,
    and with `stop` as said; NotUsableError where cases turn out to be unusable later, or no case can be used;
    CannotWriteError for a full disk; and as `find_cases`. What is finished is kept.
    """
    cases = find_cases(folder, data)
    labelled = _labelled(folder, cases, data)
    stop = stops(on_error, len(labelled))
    expect_own_files(store)
    began_with = begun(store, settings, data)
    dropped = excluded(store, folder, data, [case.name for case in labelled])
    records = {case.name: record_of(store, case, folder) for case in labelled}
    to_do = [case for case in labelled if not _is_stored(records[case.name])]
    if stop:
        look = partial(examine, data=data, brain=settings.brain)
        _refuse_faults(folder, to_do, cases.findings, data, look, jobs=jobs, progress=progress)
    if began_with is None and len(labelled) >= MANY_CASES:
        _refuse_labels(folder, misread_labels(labelled, data, jobs, progress))
    if began_with is None:
        spacing_mm = _target_spacing(folder, settings, data, labelled)
        began_with = Begun(spacing_mm, normalisation_of(settings, data, labelled, jobs=jobs, progress=progress))
    making = Making(folder, store, settings, data, began_with.spacing_mm, began_with.intensities)
    if to_do or dropped:
        with writing(store, "building.json"):
            begin(making, dropped, to_do)
        mine = [case for case in (shard or Shard()).of(labelled) if not _is_stored(records[case.name])]
        doubtful = {finding.case: finding for finding in _errors(cases.findings)}
        store_cases(mine, making, doubtful, jobs=jobs, progress=progress)
    result, findings = _concluded(making, labelled, stop=stop)
    result[:0] = [*_remarks_on_references(cases), *_remarks_on_spacing(making, labelled)]
    result += _remarks_on_findings([*cases.findings, *findings])
    if not result.waiting:
        rows = read_json(store / FINGERPRINT)["cases"]
        result += survival_remarks({name: row["survival"] for name, row in rows.items()})
    return result


# ---------------------------------------------------------------- before any long work


def _labelled(folder: Path, cases: CaseList, data: Data) -> list[Case]:
    """Returns the cases with a reference. Raises DataError, with what is wrong with the others, if there is none."""
    labelled = [case for case in cases if case.labels is not None]
    if not labelled:
        faults = _errors([*cases.findings, *(finding for case in cases for finding in check_headers(case, data))])
        if faults:
            raise DataError(_refusal(folder, faults, "nothing was written"))
        raise DataError(
            f"{folder}: expected references CASE-seg.nii.gz to learn from, found none in {counted(len(cases), 'case')}"
        )
    return labelled


def _refuse_faults(
    folder: Path,
    cases: Sequence[Case],
    layout: Sequence[Finding],
    data: Data,
    look: Callable[[Case], Examined],
    *,
    jobs: int,
    progress: Progress,
) -> None:
    """Raises DataError where layout or headers show that cases cannot be used; of few cases with all other findings."""
    names = {case.name for case in cases}
    findings = [finding for finding in layout if finding.case in names]
    findings += [finding for case in cases for finding in check_headers(case, data)]
    if _errors(findings):
        if len(cases) < MANY_CASES:
            examined = list(each_case(look, cases, jobs, progress))
            findings += set_findings([summary for _, summary in examined], data)
            findings += [finding for found, _ in examined for finding in found]
        raise DataError(_refusal(folder, list(dict.fromkeys(findings)), "nothing was written"))


def _refuse_labels(folder: Path, errors: Sequence[Finding]) -> None:
    if errors:
        raise DataError(_refusal(folder, errors, "nothing was written"))


def _target_spacing(folder: Path, settings: Preprocess, data: Data, cases: Sequence[Case]) -> Wanted:
    """Returns the spacing of the store: what is set, or the median over the cases whose headers can be read."""
    if settings.spacing_mm != "median":
        return settings.spacing_mm
    sizes_mm = []
    for case in cases:
        with suppress(DataError, OSError):
            sizes_mm.append(read_scan_header(case, reference_of(case.sequences)).spacing_mm)
    if not sizes_mm:
        faults = [finding for case in cases for finding in check_headers(case, data)]
        raise NotUsableError(_refusal(folder, faults, "nothing was written"))
    x, y, z = np.median(sizes_mm, axis=0)
    return float(x), float(y), float(z)


# ---------------------------------------------------------------- after all cases


def _concluded(making: Making, labelled: Sequence[Case], *, stop: bool) -> tuple[Preprocessed, list[Finding]]:
    """Finishes the store if all cases are done, and those that cannot be used may be left out; returns the findings.

    Raises NotUsableError if that may not be, or no case can be used.
    """
    store = making.store
    found = {case.name: record_of(store, case, making.folder) for case in labelled}
    records = {name: record for name, record in found.items() if record is not None}
    of_set = [] if None in found.values() else _judge_together(labelled, records, making.data)
    findings = [*of_set, *(finding for record in records.values() for finding in record.findings)]
    result = Preprocessed(
        cases=[name for name, record in records.items() if record.stored],
        not_usable={name: reason_of(record.findings) for name, record in records.items() if not record.stored},
        waiting=[name for name, record in found.items() if record is None],
    )
    if not result.cases and not result.waiting:
        discard(store)
        raise NotUsableError(_refusal(making.folder, findings, "nothing was kept"))
    with writing(store, "the store's index"):
        write_not_usable(store / NOT_USABLE, result.not_usable)
        if any(finding.case == WHOLE_SET for finding in _errors(of_set)):
            if not (store / INDEX).is_file():
                discard(store)  # which other settings can be tried in
            raise NotUsableError(_refusal(making.folder, findings, "and nothing new was kept"))
        if stop and result.not_usable:
            kept = f"{len(result.cases)} are finished and kept in {store}; correct or exclude (data.exclude) the others"
            raise NotUsableError(
                _refusal(making.folder, findings, f"{kept}, or leave them out with --on-error skip, and go on")
            )
        if not result.waiting and not finish(making, labelled, records):
            result.append(f"{store}: already complete, made with these settings from these files")
    return result, findings


def _judge_together(cases: Sequence[Case], records: dict[str, Record], data: Data) -> list[Finding]:
    """Returns the findings about the whole set, and those about one case also in its record, which they may refuse."""
    found = set_findings([replace(records[case.name].summary, patient=case.patient) for case in cases], data)
    for finding in found:
        record = records.get(finding.case)
        if record is not None:
            stored = record.stored and finding.severity != "error"
            records[finding.case] = replace(record, stored=stored, findings=[*record.findings, finding])
    return [finding for finding in found if finding.case not in records]


def _is_stored(record: Record | None) -> bool:
    return record is not None and record.stored


def _errors(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity == "error"]


def _refusal(folder: Path, findings: Sequence[Finding], what_now: str) -> str:
    errors = _errors(findings)
    cases = {finding.case for finding in errors}
    rows = "\n".join(findings_table(errors))
    which = "no case" if WHOLE_SET in cases else counted(len(cases), "case")
    return f"{folder}: {which} {'can' if WHOLE_SET in cases else 'cannot'} be used, {what_now}\n{rows}"


# ---------------------------------------------------------------- remarks


def _remarks_on_references(cases: CaseList) -> list[str]:
    """Names cases that are left out for they have no reference."""
    without = [case.name for case in cases if case.labels is None]
    if not without:
        return []
    shown = ", ".join(without[:3]) + (" ..." if len(without) > 3 else "")
    have, are = agreed(len(without), "has", "have"), agreed(len(without), "is", "are")
    some = f"{len(without)} of {counted(len(cases), 'case')}"
    return [f"{some} {have} no reference and {are} left out of the store: {shown}"]


def _remarks_on_spacing(making: Making, cases: Sequence[Case]) -> list[str]:
    """Says that a store that has grown keeps the median with which it began."""
    if making.settings.spacing_mm != "median":
        return []
    now_mm = _target_spacing(making.folder, making.settings, making.data, cases)
    if now_mm == making.spacing_mm:
        return []
    kept, median = (" x ".join(f"{side:.4g}" for side in sides_mm) for sides_mm in (making.spacing_mm, now_mm))
    return [f"{making.store}: keeps the voxels of {kept} mm with which it was begun; the median is {median} mm now"]


def _remarks_on_findings(findings: Sequence[Finding]) -> list[str]:
    """Returns the warnings, of many of a kind one, and the number of cases whose cavity became background."""
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.severity == "warning":
            kinds.setdefault(finding.what, []).append(finding)
    remarks = []
    for what, alike in kinds.items():
        few = len(alike) <= LISTED
        remarks += [str(one) for one in alike] if few else [f"{what} in {len(alike)} cases, such as {alike[0]}"]
    cavities = [finding.case for finding in findings if finding.what == "cavity present"]
    if cavities:
        remarks.append(
            f"label {RC_LABEL}, the resection cavity, is in {counted(len(cavities), 'case')} and became "
            "background; set data.cavity to learn it"
        )
    return remarks
