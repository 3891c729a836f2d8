"""Finds the brain mask of each case, which `preprocess.brain: file` reads: CASE-mask, CASE_brainmask and the like."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from mets3d.data.case import Case
from mets3d.data.tree import Folder, Tree, folded, stem_of

# What stands behind the case's name; alone, it is the mask of the only case in its folder.
ENDINGS = ("mask", "brainmask", "brain_mask", "brain-mask", "bet_mask", "brain_bet_mask", "desc-brain_mask")
_MASK = re.compile(rf"(?:(?P<case>.+?)[-_. ])?(?P<ending>{'|'.join(ENDINGS)})", re.IGNORECASE)
_SPACE = re.compile(r"(?:[-_](?:space|res)-[A-Za-z0-9]+)+\Z")  # words of BIDS between them


def brain_masks(tree: Tree, cases: Mapping[str, Case]) -> dict[str, Path]:
    """Returns the mask of each case that has one; of several, one that names the brain before one that does not.

    A file that is a case's reference is no mask: in layouts whose references are called mask, brain masks must name the
    brain. `tree` lists the files that there are.
    """
    by_name = {folded(name): name for name in cases}
    references = {case.labels for case in cases.values()}
    found: dict[str, tuple[bool, str, Path]] = {}
    for folder in tree.folders:
        own = [case.name for case in cases.values() if case.folder in folder.ways]
        for image in folder.images:
            name, ending = _owner(image, own, by_name)
            if name is None or folder.place / image in references:
                continue
            rank = "brain" not in ending and "bet" not in ending, image, folder.place / image
            found[name] = min(found.get(name, rank), rank)
    return {name: path for name, (_, _, path) in sorted(found.items())}


def take_masks(tree: Tree, masks: Mapping[str, Path]) -> None:
    """Removes masks from the files that no layout has taken."""
    for path in masks.values():
        folder: Folder | None = tree.at(path.parent)
        if folder is not None:
            folder.take([path.name])


def _owner(image: str, own: list[str], by_name: Mapping[str, str]) -> tuple[str | None, str]:
    """Returns the case whose mask an image is, by its name, and the name's ending; None if it is none."""
    match = _MASK.fullmatch(stem_of(image) or "")
    if match is None:
        return None, ""
    ending = match["ending"].lower()
    if match["case"] is None:
        return (own[0] if len(own) == 1 else None), ending
    return by_name.get(folded(_SPACE.sub("", match["case"]))), ending
