"""Converts a data set of any known layout to nnU-Net's or BraTS's: by links where files can stay as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mets3d.data import DataError, Progress, quiet
from mets3d.data.cases import SEQUENCES, Case, CaseList, Finding, find_cases
from mets3d.data.convert.case_files import ConvertedCase, convert_case, planned_files, remove_files
from mets3d.data.convert.forms import Form, To
from mets3d.data.convert.names import nnunet_names, original_name, write_names
from mets3d.data.convert.record import Record, sources
from mets3d.files import leftovers, remove, write_json
from mets3d.processes import worker_processes
from mets3d.settings import Data

DATASET_JSON = "dataset.json"


@dataclass
class Conversion:
    """What was converted: the cases with and without reference, how many files in which way, and faults by case."""

    learned: list[str] = field(default_factory=list)
    tested: list[str] = field(default_factory=list)
    files: Counter[str] = field(default_factory=Counter)
    faults: dict[str, str] = field(default_factory=dict)
    renamed: int = 0


def convert(
    folder: Path,
    target: Path,
    to: To,
    data: Data | None = None,
    *,
    copy: bool = False,
    jobs: int = 1,
    progress: Progress = quiet,
) -> Conversion:
    """Converts every case below `folder` into `target`. `data` None: the default settings.

    Files are linked, with `copy` copied; what must change is written: label maps, volumes of 4-D files, references
    stored as floats, other formats and, for nnU-Net, files that are not on the grid of the case's first scan. A case
    that cannot be converted is left out and named in `faults`. nnU-Net's dataset.json is written last, so that a folder
    without it is not finished; a later call with the same arguments goes on.

    Raises as `find_cases`, and DataError if `target` holds something else or lies in `folder`.
    """
    data = data or Data()
    _expect_apart(folder, target)
    cases = find_cases(folder, data)
    form = Form(to, () if to == "brats" else _channels(data))
    names = _names(cases, form)
    record = Record(target, {"to": to, "channels": list(form.channels), "copy": copy, **_how(data)})
    faults = {finding.case: _in_words(finding) for finding in cases.findings if finding.severity == "error"}
    work = partial(_work, target=target, form=form, data=data, copy=copy)
    faults |= _convert_all([case for case in cases if case.name not in faults], names, record, work, jobs, progress)
    return _finish(target, form, cases, names, record, faults)


def _expect_apart(folder: Path, target: Path) -> None:
    real, inside = folder.resolve(), target.resolve()
    if inside == real or real in inside.parents:
        raise DataError(f"{target}: lies in {folder}, of which its files would become cases; choose another folder")


def _channels(data: Data) -> tuple[str, ...]:
    """Returns nnU-Net's channels: the sequences of the settings that are files and not derived of others."""
    channels = tuple(name for name in data.sequences if name in SEQUENCES)
    if not channels:
        raise DataError(f"data.sequences is {', '.join(data.sequences)}; expected one of {', '.join(SEQUENCES)}")
    return channels


def _how(data: Data) -> dict[str, Any]:
    """Returns the settings that decide what is in the files."""
    return data.model_dump(mode="json", include={"missing_sequences", "illegal_labels", "grids"})


def _names(cases: CaseList, form: Form) -> dict[str, str]:
    """Returns the name of each case in the target. Raises DataError if two cases get one name."""
    if form.strict:
        return nnunet_names([case.name for case in cases])
    names = {case.name: original_name(case) for case in cases}
    doubled = [name for name, count in Counter(names.values()).items() if count > 1]
    if doubled:
        raise DataError(f"names.csv gives one name to several cases: {', '.join(sorted(doubled))}; correct it")
    return names


# ---------------------------------------------------------------- case by case


def _work(item: tuple[Case, str], *, target: Path, form: Form, data: Data, copy: bool) -> ConvertedCase:
    case, name = item
    return convert_case(case, name, target, form, data, copy=copy)


def _convert_all(
    cases: Sequence[Case],
    names: dict[str, str],
    record: Record,
    work: partial[ConvertedCase],
    jobs: int,
    progress: Progress,
) -> dict[str, str]:
    """Converts what is not finished and returns the faults by case. Removes files of cases that are no longer there."""
    target, form = work.keywords["target"], work.keywords["form"]
    made_from = {case.name: sources(case, names[case.name]) for case in cases}
    kept = {case.name: record.finished[case.name] for case in cases if record.is_finished(case, made_from[case.name])}
    for name in record.finished.keys() - kept.keys():
        remove_files(target, record.finished[name]["files"], form)
    to_do = [(case, names[case.name]) for case in cases if case.name not in kept]
    if to_do or len(kept) < len(record.finished):
        (target / DATASET_JSON).unlink(missing_ok=True)
    for place in (target, *(path for path in target.glob("*") if path.is_dir())):
        for leftover in leftovers(place):
            remove(leftover)
    record.begin(kept, {case.name: planned_files(case, name, form) for case, name in to_do})
    faults = {}
    with worker_processes(min(jobs, len(to_do))) as run_all:
        for done, converted in enumerate(run_all(work, to_do), 1):
            if converted.fault:
                faults[converted.name] = converted.fault
            else:
                record.add(converted, made_from[converted.name])
            progress(done, len(to_do), converted.name)
    return faults


def _in_words(finding: Finding) -> str:
    return f"{finding.what}: {finding.detail}"


# ---------------------------------------------------------------- after all cases


def _finish(
    target: Path, form: Form, cases: Sequence[Case], names: dict[str, str], record: Record, faults: dict[str, str]
) -> Conversion:
    """Writes what describes the data set."""
    done = [case for case in cases if case.name in record.finished]
    learned = sorted(names[case.name] for case in done if case.labels is not None)
    tested = sorted(names[case.name] for case in done if case.labels is None)
    files = Counter(how for line in record.finished.values() for how in line["files"].values())
    labels = {label for line in record.finished.values() for label in line["labels"]}
    kept = {case.name: names[case.name] for case in done}
    if form.strict and done:
        for name in ("imagesTr", "labelsTr"):
            (target / name).mkdir(exist_ok=True)
        write_names(target, kept)
        write_json(target / DATASET_JSON, form.description(target.resolve().name, learned, tested, labels))
    renamed = sum(case != name for case, name in kept.items())
    return Conversion(learned, tested, files, dict(sorted(faults.items())), renamed)
