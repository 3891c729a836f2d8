"""Reads a data set's own description, the file `dataset.yaml` in its folder, and finds the cases that it describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mets3d.data import DataError
from mets3d.data.case import Case, Finding, Scan, in_order
from mets3d.data.layouts.layout import Found, Placed, twice
from mets3d.data.layouts.own_file import read_own_file
from mets3d.data.layouts.patterns import PathPattern, fill_in
from mets3d.data.layouts.words import REFERENCE
from mets3d.data.tree import Tree, by_suffix
from mets3d.data.wording import WHOLE_SET
from mets3d.settings import Data

NAME = "dataset.yaml"


@dataclass(frozen=True)
class Place:
    """Where the files of a sequence, or the references, are: a pattern, and the volume of a 4-D file."""

    pattern: PathPattern
    volume: int | None = None


@dataclass(frozen=True)
class OwnLayout:
    """A layout that a dataset.yaml describes. `places` has one entry a sequence, and `seg` where there are references.

    case: how the name of a case is made of the names in the patterns. settings: what it says on `data.*`.
    """

    path: Path
    name: str
    case: str
    places: Mapping[str, Place]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def under(self, data: Data) -> Data:
        """Returns the settings with those of dataset.yaml where they are not set."""
        unset = {key: value for key, value in self.settings.items() if getattr(data, key) in (None, {})}
        return data.model_copy(update=unset)

    def find(self, tree: Tree, found: Found) -> None:
        """Adds the cases to what was found. Raises DataError, naming a file, if no pattern of a sequence matches."""
        cases: dict[str, _Gathered] = {}
        matched = set()
        for kind, path, names in self._matches(tree):
            matched.add(kind)
            gathered = cases.setdefault(fill_in(self.case, names), _Gathered(names.get("patient", "")))
            gathered.files.setdefault(kind, []).append(path)
        for kind in self.places.keys() - matched:
            detail = f"{self.path}: the pattern {self.places[kind].pattern.text} of {kind} matches no file"
            found.findings.append(Finding(WHOLE_SET, "warning", "pattern without files", detail))
        for name, gathered in sorted(cases.items()):
            if gathered.files.keys() - {REFERENCE}:
                found.cases.append(self._placed(name, gathered, tree, found))
        if not found.cases:
            raise DataError(self._nothing_found(tree))

    def _matches(self, tree: Tree) -> Iterator[tuple[str, Path, dict[str, str]]]:
        """Yields the kind, path and names of every image that a pattern matches, and takes it out of the tree."""
        for folder in tree.folders:
            taken = []
            for image in folder.images:
                path = folder.place / image
                for kind, place in self.places.items():
                    names = place.pattern.match(path.relative_to(tree.root).as_posix())
                    if names is not None:
                        taken.append(image)
                        yield kind, path, names
            folder.take(taken)

    def _placed(self, name: str, gathered: _Gathered, tree: Tree, found: Found) -> Placed:
        chosen: dict[str, Path] = {}
        for kind, paths in gathered.files.items():
            chosen[kind], *others = sorted(paths, key=lambda path: by_suffix(path.name))
            if others:
                found.findings.append(twice(name, chosen[kind], others))
        scans = {kind: Scan(chosen[kind], self.places[kind].volume) for kind in in_order(chosen) if kind != REFERENCE}
        folder = next(iter(scans.values())).path.parent
        case = Case(name, folder, scans, chosen.get(REFERENCE), gathered.patient, {})
        return Placed(case, self.name, tree.root)

    def _nothing_found(self, tree: Tree) -> str:
        patterns = ", ".join(place.pattern.text for kind, place in self.places.items() if kind != REFERENCE)
        left = [folder.place / image for folder in tree.folders for image in folder.images]
        example = f"images such as {left[0].relative_to(tree.root).as_posix()}" if left else "no image at any depth"
        return f"{self.path}: sequences: expected files that match {patterns}, found {example}; correct the patterns"


@dataclass
class _Gathered:
    """The files of one case while they are gathered."""

    patient: str
    files: dict[str, list[Path]] = field(default_factory=dict)


def own_layout(root: Path) -> OwnLayout | None:
    """Reads the dataset.yaml of a folder, None where there is none. Raises DataError with every fault and its line."""
    path = root / NAME
    if not path.is_file():
        return None
    return layout_of(path, read_own_file(path))


def layout_of(path: Path, content: Mapping[str, Any]) -> OwnLayout:
    """Makes the layout of the content of a dataset.yaml that has been checked."""
    places = {}
    entries = {**content["sequences"], **({REFERENCE: content["reference"]} if "reference" in content else {})}
    for kind, entry in entries.items():
        text, volume = (entry["file"], entry["volume"]) if isinstance(entry, dict) else (entry, None)
        places[kind] = Place(PathPattern(text), volume)
    settings = {key: content[key] for key in ("labels", "patients", "exclude", "overlay") if key in content}
    for key in ("patients", "exclude", "overlay"):
        if key in settings and (key != "patients" or _is_table(path.parent / settings[key])):
            settings[key] = str(path.parent / settings[key])
    said = f"{NAME}: {content['name']}" if "name" in content else NAME
    return OwnLayout(path, said, content.get("case", "{case}"), places, settings)


def _is_table(path: Path) -> bool:
    """Returns whether `patients` is a file and no pattern, also one that is not there."""
    return path.is_file() or path.suffix.lower() in (".csv", ".tsv", ".txt")
