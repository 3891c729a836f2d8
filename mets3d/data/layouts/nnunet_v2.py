"""Knows nnU-Net's raw data, version 2: dataset.json with `channel_names`, labels as integers or regions.

The files lie in imagesTr, labelsTr and imagesTs, or are listed under the key `dataset`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mets3d.data import DataError
from mets3d.data.layouts.dataset_json import DatasetJson, each_dataset
from mets3d.data.layouts.layout import Files, Found, Layout
from mets3d.data.layouts.nnunet_raw import add_case, add_cases, ending_of, leave_nothing
from mets3d.data.layouts.words import REFERENCE
from mets3d.data.tree import Tree
from mets3d.wording import counted

NAME = "nnU-Net raw v2"


def _find(tree: Tree, found: Found) -> None:
    for dataset in each_dataset(tree, found, "channel_names"):
        listed = dataset.content.get("dataset")
        if listed is None:
            add_cases(dataset, NAME, ending_of(dataset), tree, found)
        else:
            _add_listed(dataset, listed, tree, found)


def _add_listed(dataset: DatasetJson, listed: Any, tree: Tree, found: Found) -> None:
    """Adds the cases of the key `dataset`, {CASE: {"images": [...], "label": ...}}."""
    if not isinstance(listed, dict):
        raise DataError(f"{dataset.path}: dataset: expected an object in braces, found {type(listed).__name__}")
    for case, entry in sorted(listed.items()):
        images = entry.get("images") if isinstance(entry, dict) else None
        if not isinstance(images, list) or len(images) != len(dataset.channels):
            raise DataError(
                f'{dataset.path}: dataset: {case}: expected {{"images": [...], "label": path}} with '
                f"{counted(len(dataset.channels), 'image')}, found {entry!r}"
            )
        files = Files()
        for sequence, image in zip(dataset.channels, images, strict=True):
            if sequence is not None:
                files.add(sequence, _taken(dataset, image, tree))
        if isinstance(entry.get("label"), str):
            files.add(REFERENCE, _taken(dataset, entry["label"], tree))
        add_case(dataset, NAME, files, case, found)
    leave_nothing(dataset.folder, tree)


def _taken(dataset: DatasetJson, text: Any, tree: Tree) -> Path:
    """Returns the path that is meant, as nnU-Net reads it, and takes it out of the tree."""
    path = dataset.folder / os.path.expandvars(str(text))
    folder = tree.at(path.parent)
    if folder is not None:
        folder.take([path.name])
    return path


LAYOUT = Layout(NAME, _find)
