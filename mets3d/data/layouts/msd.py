"""Knows the Medical Segmentation Decathlon: all channels in one 4-D file, Task01_BrainTumour/imagesTr/BRATS_001.nii.gz.

dataset.json names the channels in the file's order and the labels; in Task01 the order is FLAIR, T1w, T1gd, T2w, and
the labels are 1 oedema, 2 non-enhancing and 3 enhancing tumour.
"""

from __future__ import annotations

import os
from pathlib import Path

from mets3d.data.case import SEQUENCES, Case, Scan
from mets3d.data.layouts.dataset_json import DatasetJson, each_dataset
from mets3d.data.layouts.layout import Found, Layout, Placed
from mets3d.data.layouts.nnunet_raw import CHANNEL, FOLDERS, leave_nothing
from mets3d.data.tree import Tree, stem_of

NAME = "MSD"
_BRAIN_TUMOUR = "MSD Task01"


def holds_whole_images(dataset: DatasetJson) -> bool:
    """Returns whether the images that a dataset.json lists are there as they are listed, with all channels in one file.

    nnU-Net's version 1 has the same dataset.json, but its files are CASE_0000.nii.gz where CASE.nii.gz is listed.
    """
    listed = dataset.content.get("training") or dataset.content.get("test") or []
    entries = [entry.get("image") if isinstance(entry, dict) else entry for entry in listed]
    if entries:
        return any((dataset.folder / str(entry)).exists() for entry in entries)
    return not any(CHANNEL.fullmatch(stem_of(path.name) or "") for path in _images(dataset))


def _find(tree: Tree, found: Found) -> None:
    for dataset in each_dataset(tree, found, "modality"):
        if holds_whole_images(dataset):
            for path, labels in _images(dataset).items():
                _add_case(dataset, path, labels, found)
            leave_nothing(dataset.folder, tree)


def _images(dataset: DatasetJson) -> dict[Path, Path | None]:
    """Returns the images in imagesTr and imagesTs and the folder of their references."""
    images: dict[Path, Path | None] = {}
    for name, labels in FOLDERS.items():
        folder = dataset.folder / name
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if stem_of(path.name) and not path.name.startswith("."):
                images[path] = None if labels is None else dataset.folder / labels
    return images


def _add_case(dataset: DatasetJson, path: Path, labels: Path | None, found: Found) -> None:
    """Adds the case of one image; its channels are the image's volumes."""
    several = len(dataset.channels) > 1
    scans = {
        sequence: Scan(path, number if several else None)
        for number, sequence in enumerate(dataset.channels)
        if sequence is not None
    }
    ordered = {sequence: scans[sequence] for sequence in SEQUENCES if sequence in scans}
    reference = None if labels is None else labels / path.name
    if reference is not None and not os.path.lexists(reference):  # a broken link is there, and `check` says so
        reference = None
    case = Case(stem_of(path.name) or path.name, path.parent, ordered, reference, "", dict(dataset.label_map))
    name = _BRAIN_TUMOUR if several else NAME
    found.cases.append(Placed(case, f"{name} ({'4-D, ' * several}{dataset.labels})", dataset.folder))


LAYOUT = Layout(NAME, _find)
