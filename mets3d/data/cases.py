"""Finds the cases of a folder and the patient of each.

Layouts that are found by themselves are in `mets3d.data.layouts`; a `dataset.yaml` in the folder describes any other.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from mets3d.data import DataError
from mets3d.data.case import LABELS, SEQUENCES, Case, CaseList, Finding, Scan, Severity
from mets3d.data.exclusions import read_exclusions, read_overlay
from mets3d.data.layouts import KNOWN, Found, Placed, own_layout, propose
from mets3d.data.layouts.words import REFERENCE, cut
from mets3d.data.masks import brain_masks, take_masks
from mets3d.data.patients import patient_of, patients_of
from mets3d.data.tree import SUFFIXES, Tree, folded, read_tree, stem_of, visible_files
from mets3d.data.wording import WHOLE_SET
from mets3d.files import is_plain_name
from mets3d.settings import Data
from mets3d.wording import counted

__all__ = [
    "EXCLUDED", "LABELS", "SEQUENCES", "SUFFIXES", "Case", "CaseList", "Finding", "Scan", "Severity", "excluded_cases",
    "find_cases", "visible_files",
]  # fmt: skip

EXCLUDED = "excluded"  # what the finding about a case says that the settings leave out


def find_cases(folder: Path, data: Data | None = None) -> CaseList:
    """Finds every case at any depth below `folder` (or `folder` itself, if it is one). `data` None: the defaults.

    Files that start with a dot, such as macOS's `._*`, do not exist. A case's label map is that of its layout, with
    the integers that `data.labels` names as it says. `findings` names a case that is there twice (error; the first one
    is taken), a scan that is there twice, folders with images that are no case, references apart from their case and
    several layouts in one folder (warnings), replaced references and excluded cases (notes).

    Raises FileNotFoundError if there is no such folder, overlay or list of exclusions, and DataError, saying what was
    found, if the folder holds no case, and for faults in dataset.yaml, dataset.json, overlay, exclusions or patients.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected a data set DATA/CASE/CASE-t1n.nii.gz ...")
    own = own_layout(folder)
    data = own.under(data or Data()) if own else data or Data()
    overlay = None if data.overlay is None else Path(data.overlay)
    tree = read_tree(folder, without=overlay)
    everything = tree.copy()
    found = Found(data.labels or {})
    if own:
        own.find(tree, found)
    else:
        for layout in KNOWN:
            layout.find(tree, found)
    if not found.cases:
        raise DataError(_no_case(tree))
    _expect_plain_names(found)
    placed, findings = _each_once(found)
    masks = brain_masks(everything, {name: each.case for name, each in placed.items()})
    take_masks(tree, masks)
    findings += _left_files(tree, placed)
    cases = {name: _with_settings(each.case, data, masks.get(name)) for name, each in placed.items()}
    if overlay is not None:
        findings += _lay_over(cases, read_overlay(overlay, cases))
    if data.exclude is not None:
        excluded = read_exclusions(Path(data.exclude), cases)
        findings = _leave_out(cases, excluded, findings)
        if not cases:
            raise DataError(f"{data.exclude}: every case of {folder} is left out; expected at least one that is not")
    kept = [placed[name] for name in cases]
    said, mixed = _said_aloud(kept, tree.root)
    return CaseList(
        _with_patients(cases, data, placed), dict(Counter(each.counted_in for each in kept)), findings + mixed, said
    )


def _expect_plain_names(found: Found) -> None:
    """Raises DataError for names of cases that would lead to another folder than the one they are joined to."""
    wrong = sorted({each.case.name for each in found.cases if not is_plain_name(each.case.name)})
    if wrong:
        raise DataError(
            f"expected names of cases without / and \\, found {wrong[0]!r}"
            + (f" and {len(wrong) - 1} more" if wrong[1:] else "")
            + "; correct `case` in dataset.yaml, or rename the case"
        )


def excluded_cases(cases: CaseList) -> set[str]:
    """Returns the names of the cases that `data.exclude`, or dataset.yaml, leaves out."""
    return {finding.case for finding in cases.findings if finding.what == EXCLUDED}


# ---------------------------------------------------------------- finding


def _each_once(found: Found) -> tuple[dict[str, Placed], list[Finding]]:
    """Returns the cases by name, sorted, and all findings; of two cases of one name the first is taken."""
    placed: dict[str, Placed] = {}
    findings = [*found.findings]
    for each in found.cases:
        if each.case.name in placed:
            findings.append(_named_twice(each.case, placed[each.case.name].case))
        else:
            placed[each.case.name] = each
    return dict(sorted(placed.items())), findings


def _with_settings(case: Case, data: Data, mask: Path | None) -> Case:
    """Returns the case with the label map that holds and its brain mask."""
    return dataclasses.replace(case, label_map={**case.label_map, **(data.labels or {})}, mask=mask)


def _with_patients(cases: dict[str, Case], data: Data, everyone: Collection[str]) -> list[Case]:
    """Returns the cases with their patients: by the settings, else by the layout, else by the name."""
    if data.patients is None:
        patients = {name: case.patient or patient_of(name) for name, case in cases.items()}
    else:
        patients = patients_of([*cases], data.patients, also_known=everyone)
    return [dataclasses.replace(case, patient=patients[name]) for name, case in cases.items()]


def _lay_over(cases: dict[str, Case], references: dict[str, Path]) -> list[Finding]:
    """Replaces references by those of the overlay, and notes each."""
    findings = []
    for name, path in references.items():
        before = cases[name].labels
        cases[name] = dataclasses.replace(cases[name], labels=path)
        detail = f"{path} is read" + (f" in place of {before}" if before else "; the case has none of its own")
        findings.append(Finding(name, "note", "reference of the overlay", detail))
    return findings


def _leave_out(cases: dict[str, Case], excluded: dict[str, str], findings: list[Finding]) -> list[Finding]:
    """Removes excluded cases and the findings about them, and notes each."""
    for name in excluded:
        del cases[name]
    notes = [
        Finding(name, "note", EXCLUDED, reason or "no reason is given in data.exclude")
        for name, reason in excluded.items()
    ]
    return [finding for finding in findings if finding.case not in excluded] + notes


def _said_aloud(placed: Sequence[Placed], root: Path) -> tuple[str, list[Finding]]:
    """Returns the layout in words, and a finding if there is more than one."""
    counts = Counter(each.layout for each in placed)
    if len(counts) == 1:
        return next(iter(counts)), []
    said = ", ".join(f"{count} of {layout}" for layout, count in sorted(counts.items(), key=lambda item: -item[1]))
    detail = f"{root} holds cases of several layouts: {said}; each is read by its own"
    advice = "keep them apart if this was not meant"
    return f"mixed: {said}", [Finding(WHOLE_SET, "warning", "several layouts", detail, advice)]


def _left_files(tree: Tree, placed: dict[str, Placed]) -> list[Finding]:
    """Returns a finding for each folder whose images no layout has taken."""
    known = {folded(name) for name in placed}
    findings = []
    for folder in tree.folders:
        parts = {image: cut(stem_of(image) or "") for image in folder.images}
        apart = [
            image for image, part in parts.items() if part and part.kind == REFERENCE and folded(part.case) in known
        ]
        if apart:
            findings.append(_apart(folder.place, apart))
        elif folder.images:
            findings.append(_not_a_case(folder.place, len(folder.images)))
    return findings


def _named_twice(case: Case, first: Case) -> Finding:
    detail = f"the same name in {first.folder} and {case.folder}"
    return Finding(case.name, "error", "case named twice", detail, "remove or rename one of the two folders")


def _apart(place: Path, images: Sequence[str]) -> Finding:
    detail = f"{place} holds {images[0]}, whose case is elsewhere; it is not read"
    advice = "if it corrects the case's own reference, name the folder in data.overlay"
    return Finding(place.name, "warning", "reference apart from its case", detail, advice)


def _not_a_case(place: Path, count: int) -> Finding:
    expected = f"{place.name}-{{{','.join(SEQUENCES)}}}.nii.gz"
    detail = f"{place} holds {counted(count, 'NIfTI file')}, none named {expected} or by another known layout"
    return Finding(place.name, "warning", "folder is not a case", detail, "rename the files if it should be one")


def _no_case(tree: Tree) -> str:
    images = [folder.place / image for folder in tree.folders for image in folder.images]
    expected = (
        f"{tree.root}: expected at least one case CASE/CASE-{{{','.join(SEQUENCES)}}}.nii.gz or of another layout"
    )
    if not images:
        return f"{expected}, found no NIfTI file at any depth; name the folder that holds the cases"
    return (
        f"{expected}, found {len(images)} NIfTI files such as {images[0]}; name the folder that holds the cases, "
        f"rename the files, or describe them in {tree.root / 'dataset.yaml'}, for example:\n\n{propose(tree)}"
    )
