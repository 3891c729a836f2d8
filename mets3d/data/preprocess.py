"""Preprocesses raw cases into a store.

Each case is read once: checked, prepared and saved by one process. The store appears only if every case can be used.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mets3d.config import Data, Preprocess
from mets3d.data import DataError, Progress, quiet
from mets3d.data.case_summary import CaseSummary
from mets3d.data.cases import SEQUENCES, Case, CaseList, Finding, find_cases
from mets3d.data.check import Examined, check_headers, each_case, examine, read_case
from mets3d.data.findings_table import findings_table
from mets3d.data.fingerprint import collect, describe_case
from mets3d.data.nifti import read_header
from mets3d.data.plan import Plan
from mets3d.data.prepare import prepare
from mets3d.data.set_findings import set_findings
from mets3d.data.store import FINGERPRINT, INDEX, UNFINISHED
from mets3d.data.store_source import differing_files, differing_settings, recipe, stale
from mets3d.data.stored_case import case_path, read_metadata, write_case
from mets3d.files import read_json, write_json
from mets3d.ops.voxels import Spacing
from mets3d.regions import RC_LABEL


def preprocess(
    folder: Path, store: Path, settings: Preprocess, *, data: Data, jobs: int = 1, progress: Progress = quiet
) -> list[str]:
    """Makes the store of all cases with a reference below `folder`. Returns remarks for the user, one text each.

    Goes on where an interrupted call with the same settings and source stopped; a finished store is left as it is.
    Label 4 becomes background unless `data.cavity`. Cases without reference are left out: they can only be predicted.
    Raises DataError with all findings if a case cannot be used (nothing is left behind), if `store` was made with other
    settings or from other files, or is a folder of something else; and as `find_cases`.
    """
    cases = find_cases(folder, data)
    labelled = [case for case in cases if case.labels is not None]
    if not labelled:
        faults = _errors(_layout_and_headers(cases, cases))
        if faults:
            raise _refusal(folder, faults)
        raise DataError(
            f"{folder}: expected references CASE-seg.nii.gz to learn from, found none in {len(cases)} cases"
        )
    made_from = recipe(settings, data, folder, labelled)
    _fits(store, settings, data, made_from)
    remarks = _remarks_on_references(cases)
    if (store / INDEX).is_file() and all(case_path(store, case.name).is_file() for case in labelled):
        return [*remarks, f"{store}: already complete, made with these settings from these files"]
    findings = _layout_and_headers(cases, labelled)
    if _errors(findings):
        examined = list(each_case(partial(examine, data=data), labelled, jobs, progress))
        voxels = [finding for found, _ in examined for finding in found]
        of_set = set_findings([summary for _, summary in examined], data)
        raise _refusal(folder, list(dict.fromkeys([*findings, *of_set, *voxels])))
    spacing_mm = _target_spacing(settings, labelled)
    (store / INDEX).unlink(missing_ok=True)
    write_json(store / UNFINISHED, made_from)
    work = partial(_store_case, store=store, spacing_mm=spacing_mm, margin=settings.margin_voxels, data=data)
    stored = list(each_case(work, labelled, jobs, progress))
    findings += set_findings([summary for _, summary in stored], data)
    findings += [finding for found, _ in stored for finding in found]
    if _errors(findings):
        _discard(store)
        raise _refusal(folder, findings)
    _finish(store, labelled, made_from, spacing_mm)
    return remarks + _remarks_on_findings(findings)


# ---------------------------------------------------------------- before any long work


def _fits(store: Path, settings: Preprocess, data: Data, made_from: dict[str, Any]) -> None:
    """Raises DataError for a folder that holds another store or something else."""
    for name in (INDEX, UNFINISHED):
        if (store / name).is_file():
            index = read_json(store / name)
            differences = differing_settings(index, settings, data)
            if index.get("format") != made_from["format"]:
                differences.append(f"store format {index.get('format')}, this version writes {made_from['format']}")
            if differences:
                raise DataError(
                    f"{store}: a store with other settings is there: {'; '.join(differences)}. "
                    "Choose another folder, or delete this one"
                )
            changes = differing_files(index["source"]["files"], made_from["source"]["files"])
            if changes:
                raise DataError(stale(store, changes))
            return
    if store.exists() and (not store.is_dir() or any(store.iterdir())):
        raise DataError(f"{store}: expected a new or empty folder, or a store; choose another folder")


def _layout_and_headers(cases: CaseList, labelled: Sequence[Case]) -> list[Finding]:
    """Returns the findings that need no voxel."""
    return [*cases.findings, *(finding for case in labelled for finding in check_headers(case))]


def _errors(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity == "error"]


def _refusal(folder: Path, findings: Sequence[Finding]) -> DataError:
    errors = _errors(findings)
    cases = len({finding.case for finding in errors})
    rows = "\n".join(findings_table(errors))
    return DataError(f"{folder}: {cases} case{'s' * (cases > 1)} cannot be used, nothing was written\n{rows}")


def _target_spacing(settings: Preprocess, cases: Sequence[Case]) -> Spacing:
    """Returns the spacing of the store: the one that is set, or the median over the cases."""
    if settings.spacing_mm == "in_plane":
        raise DataError("preprocess.spacing_mm: in_plane is not there yet")
    if settings.spacing_mm != "median":
        return settings.spacing_mm
    x, y, z = np.median([read_header(case.files[0]).spacing_mm for case in cases], axis=0)
    return float(x), float(y), float(z)


def _remarks_on_references(cases: CaseList) -> list[str]:
    """Names cases that are left out for they have no reference."""
    without = [case.name for case in cases if case.labels is None]
    if not without:
        return []
    shown = ", ".join(without[:3]) + (" ..." if len(without) > 3 else "")
    return [f"{len(without)} of {len(cases)} cases have no reference and are left out of the store: {shown}"]


# ---------------------------------------------------------------- one case


def _store_case(case: Case, *, store: Path, spacing_mm: Spacing, margin: int, data: Data) -> Examined:
    """Reads, checks, prepares and saves one case, or leaves one that is already there. Returns what is found."""
    path = case_path(store, case.name)
    if path.is_file():
        known = read_metadata(path)
        return [Finding(**finding) for finding in known["findings"]], CaseSummary.from_json(known["summary"])
    checked = read_case(case, data)
    if checked.unusable or checked.labels is None:
        return checked.findings, checked.summary
    images = [checked.images[sequence] for sequence in SEQUENCES]
    try:
        prepared = prepare(images, checked.labels, spacing_mm, margin, data.cavity)
    except DataError as error:
        return [*checked.findings, Finding(case.name, "error", "cannot be prepared", str(error))], checked.summary
    assert prepared.labels is not None
    metadata = {
        "entry": prepared.entry.as_json(),
        "fingerprint": describe_case(prepared.image, prepared.labels, prepared.entry, cavity=data.cavity),
        "findings": [vars(finding) for finding in checked.findings],
        "summary": checked.summary.as_json(),
    }
    write_case(path, prepared.image, prepared.labels, cavity=data.cavity, metadata=metadata)
    return checked.findings, checked.summary


# ---------------------------------------------------------------- after all cases


def _finish(store: Path, cases: Sequence[Case], made_from: dict[str, Any], spacing_mm: Spacing) -> None:
    """Writes the fingerprint and, last, the index that makes the folder a store."""
    metadata = {case.name: read_metadata(case_path(store, case.name)) for case in cases}
    rows = {name: entry["fingerprint"] for name, entry in metadata.items()}
    write_json(store / FINGERPRINT, collect(rows))
    plan = Plan(
        SEQUENCES,
        spacing_mm,
        margin_voxels=made_from["settings"]["margin_voxels"],
        cavity=made_from["cavity"],
        settings_hash=made_from["settings_hash"],
        cases=tuple(case.name for case in cases),
    )
    described = {
        case.name: {
            "patient": case.patient,
            "shape": metadata[case.name]["entry"]["stored_shape"],
            "lesions": {region: len(sizes) for region, sizes in rows[case.name]["lesion_volumes_mm3"].items()},
        }
        for case in cases
    }
    write_json(store / INDEX, {**made_from, "plan": plan.as_json(), "cases": described})
    (store / UNFINISHED).unlink()
    for leftover in (store / "cases").glob(".*.tmp.*"):  # of a process that was killed while writing
        leftover.unlink()


def _discard(store: Path) -> None:
    """Removes what an unfinished store consists of, and the folder if nothing else is in it."""
    shutil.rmtree(store / "cases", ignore_errors=True)
    (store / UNFINISHED).unlink(missing_ok=True)
    if not any(store.iterdir()):
        store.rmdir()


def _remarks_on_findings(findings: Sequence[Finding]) -> list[str]:
    """Returns the warnings, and the number of cases whose cavity became background."""
    warnings = [str(finding) for finding in findings if finding.severity == "warning"]
    cavities = [finding.case for finding in findings if finding.what == "cavity present"]
    if cavities:
        warnings.append(
            f"label {RC_LABEL}, the resection cavity, is in {len(cavities)} case{'s' * (len(cavities) > 1)} and became "
            "background; set data.cavity to learn it"
        )
    return warnings
