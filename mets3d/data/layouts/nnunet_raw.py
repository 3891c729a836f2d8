"""Gathers the cases of nnU-Net's raw folders: imagesTr/CASE_0000.nii.gz ..., labelsTr/CASE.nii.gz, imagesTs.

Both versions name files alike; they differ in their dataset.json.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from mets3d.data import DataError
from mets3d.data.case import Finding
from mets3d.data.layouts.dataset_json import DatasetJson
from mets3d.data.layouts.layout import Files, Found, Placed
from mets3d.data.layouts.words import REFERENCE
from mets3d.data.tree import Tree
from mets3d.data.wording import WHOLE_SET
from mets3d.wording import counted

FOLDERS = {"imagesTr": "labelsTr", "imagesTs": None}  # the references of imagesTs, if any, are for testing alone

CHANNEL = re.compile(r"(?P<case>.+)_(?P<number>\d{4})")


def add_cases(dataset: DatasetJson, name: str, ending: str, tree: Tree, found: Found) -> None:
    """Takes the images and references of a raw folder out of the tree and adds their cases."""
    for images, labels in FOLDERS.items():
        cases = _channels(dataset, dataset.folder / images, ending, found)
        for case, files in sorted(cases.items()):
            reference = None if labels is None else dataset.folder / labels / f"{case}{ending}"
            if reference is not None and os.path.lexists(reference):  # a broken link is there
                files.add(REFERENCE, reference)
            if files.sequences:
                add_case(dataset, name, files, case, found)
    leave_nothing(dataset.folder, tree)


def ending_of(dataset: DatasetJson) -> str:
    """Returns the ending of the files; version 1 knows no other than .nii.gz. Raises DataError if it is none."""
    ending = dataset.content.get("file_ending", ".nii.gz")
    if not isinstance(ending, str) or not ending.startswith("."):
        raise DataError(f"{dataset.path}: file_ending: expected an ending such as .nii.gz, found {ending!r}")
    return ending


def add_case(dataset: DatasetJson, name: str, files: Files, case: str, found: Found) -> None:
    """Adds one case of a dataset.json."""
    folder = next(iter(files.by_kind.values()))[0].parent
    made = files.case(case, folder, dict(dataset.label_map), found)
    found.cases.append(Placed(made, f"{name} ({dataset.labels})", dataset.folder))


def leave_nothing(folder: Path, tree: Tree) -> None:
    """Takes everything in the folders of a raw data set out of the tree: what is no case there is not read."""
    for name in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
        inner = tree.at(folder / name)
        if inner is not None:
            inner.take(inner.images)


def _channels(dataset: DatasetJson, folder: Path, ending: str, found: Found) -> dict[str, Files]:
    """Returns the files in a folder of images by case."""
    cases: dict[str, Files] = {}
    odd = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(".") or not path.name.endswith(ending):
            continue
        parts = CHANNEL.fullmatch(path.name.removesuffix(ending))
        if parts is None or int(parts["number"]) >= len(dataset.channels):
            odd.append(path.name)
            continue
        sequence = dataset.channels[int(parts["number"])]
        files = cases.setdefault(parts["case"], Files())
        if sequence is not None:
            files.add(sequence, path)
    if odd:
        names = f"CASE_0000{ending} to CASE_{len(dataset.channels) - 1:04d}"
        detail = f"{folder} holds {counted(len(odd), 'file')} not named {names}"
        advice = f"for example {odd[0]}; rename them, or correct dataset.json"
        found.findings.append(Finding(WHOLE_SET, "warning", "file of no channel", detail, advice))
    return cases
