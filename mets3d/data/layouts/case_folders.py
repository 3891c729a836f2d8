"""Finds cases that are a folder each, with files of fixed names."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mets3d.data.case import SEQUENCES
from mets3d.data.layouts.layout import Files, Found, Layout, Placed
from mets3d.data.layouts.words import REFERENCE, cut
from mets3d.data.tree import Folder, Tree, folded, names_of, stem_of


@dataclass(frozen=True)
class CaseFolders:
    """A layout of CASE/CASE{separator}{word}.nii.gz, or CASE/{word}.nii.gz where the separator is None.

    words: the sequence, or `seg`, by the lower-case word; None for a file that is not read. sure: a folder is of this
    layout only if one of these words is there or its name matches `named` (regular expression, whole name).
    labels: what the integers in its references are, in words. other_reference: the stem of a reference that is not
    named after the case.
    """

    name: str
    labels: str
    separator: str | None
    words: Mapping[str, str | None]
    label_map: Mapping[int, int] = field(default_factory=dict)
    sure: frozenset[str] = frozenset()
    named: str | None = None
    other_reference: str | None = None

    def layout(self) -> Layout:
        """Returns it as an entry of the table of layouts."""
        return Layout(self.name, self._find)

    def _find(self, tree: Tree, found: Found) -> None:
        for folder in tree.folders:
            placed = self._case_in(folder, found)
            if placed is not None:
                found.cases.append(placed)
                folder.take(folder.images)

    def _case_in(self, folder: Folder, found: Found) -> Placed | None:
        """Returns the case whose files are named after the folder: by the name it is reached by, else its real one."""
        for way in folder.ways if folder.images else ():
            for name in names_of(way):
                files = self._files(name, way, folder)
                if files is not None:
                    case = files.case(name, way, dict(self.label_map), found)
                    return Placed(case, f"{self.name} ({self.labels})", way.parent)
        return None

    def _files(self, name: str, way: Path, folder: Folder) -> Files | None:
        """Returns the files that are named after the folder, None if they make no case of this layout."""
        words = self._words(name, folder)
        files = Files()
        for image, word in words.items():
            kind = self.words[word]
            if kind is not None:
                files.add(kind, way / image)
        if not files.sequences or not self._is_sure(name, words.values()) or _has_others(name, folder, files):
            return None
        if self.other_reference and REFERENCE not in files.by_kind:
            for image in folder.images:
                if re.fullmatch(self.other_reference, stem_of(image) or "", re.IGNORECASE):
                    files.add(REFERENCE, way / image)
        return files

    def _words(self, name: str, folder: Folder) -> dict[str, str]:
        """Returns the known word in each file's name, by the name."""
        start = "" if self.separator is None else folded(name + self.separator)
        words = {}
        for image in folder.images:
            stem = folded(stem_of(image) or "")
            word = stem.removeprefix(start)
            if stem.startswith(start) and word in self.words:
                words[image] = word
        return words

    def _is_sure(self, name: str, words: Collection[str]) -> bool:
        """Returns whether name and words are those of this layout and not only possible in it."""
        if not self.sure and self.named is None:
            return True
        return not self.sure.isdisjoint(words) or bool(self.named and re.fullmatch(self.named, name, re.IGNORECASE))


def _has_others(name: str, folder: Folder, files: Files) -> bool:
    """Returns whether the case has a sequence under a word that the layout does not know: then it is not of it."""
    parts = [cut(stem_of(image) or "") for image in folder.images]
    own = [part.kind for part in parts if part and folded(part.case) in ("", folded(name))]
    return any(kind not in files.by_kind for kind in own if kind in SEQUENCES)
