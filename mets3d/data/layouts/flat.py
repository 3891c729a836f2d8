"""Knows images named CASE_SEQUENCE, beside each other or in folders of any name, and CASE/SEQUENCE.nii.gz.

Every word of `words.FILE_WORDS` is understood, after a hyphen, an underscore, a blank or a dot.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from mets3d.data.layouts import brats_2018
from mets3d.data.layouts.layout import Files, Found, Layout, Placed
from mets3d.data.layouts.words import cut
from mets3d.data.tree import Folder, Tree, folded, names_of, stem_of

NAME = "files named CASE_SEQUENCE"

_LABELS = "labels 1 NETC, 2 SNFH, 3 ET, 4 RC"
_OLD_BRATS = re.compile(r"brats(1[5-9]|20|2021)[-_]", re.IGNORECASE)  # the edition is in the name; label 4 is ET there


@dataclass
class _Group:
    """Files of one folder whose names begin alike; the name is empty where they are sequences alone."""

    folder: Folder
    name: str
    files: Files
    images: list[str]


def _find(tree: Tree, found: Found) -> None:
    groups = [group for folder in tree.folders for group in _groups(folder)]
    if found.cases:  # beside another layout a single image is a stray file, such as an atlas
        taken = {folded(placed.case.name) for placed in found.cases}
        groups = [group for group in groups if len(group.images) > 1 and folded(_name(group)) not in taken]
    folders = Counter(_name(group) for group in groups if not group.name)
    for group in groups:
        place = group.folder.place
        name = _name(group)
        if not group.name and folders[name] > 1:  # P1/2020/t1.nii.gz and P2/2020/t1.nii.gz
            name = "_".join(place.relative_to(tree.root).parts)
        old = bool(_OLD_BRATS.match(name))
        case = group.files.case(name, place, dict(brats_2018.LABEL_MAP) if old else {}, found)
        said = f"{NAME} ({brats_2018.LABELS if old else _LABELS})"
        found.cases.append(Placed(case, said, place if group.name else place.parent))
        group.folder.take(group.images)


def _groups(folder: Folder) -> list[_Group]:
    """Returns the groups of a folder's images that hold a sequence."""
    groups: dict[str, _Group] = {}
    for image in folder.images:
        parts = cut(stem_of(image) or "")
        if parts is not None:
            group = groups.setdefault(folded(parts.case), _Group(folder, parts.case, Files(), []))
            group.files.add(parts.kind, folder.place / image)
            group.images.append(image)
    return [group for group in groups.values() if group.files.sequences]


def _name(group: _Group) -> str:
    return group.name or next(iter(names_of(group.folder.place)), "case")


LAYOUT = Layout(NAME, _find)
