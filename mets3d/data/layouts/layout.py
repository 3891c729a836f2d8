"""Defines what a layout is: a name, what its labels mean, and how it finds its cases in a tree of files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mets3d.data.case import SEQUENCES, Case, Finding, Scan
from mets3d.data.layouts.words import REFERENCE
from mets3d.data.tree import Tree, by_suffix


@dataclass(frozen=True)
class Placed:
    """A case, the layout that found it, in words, and the folder under which it is counted."""

    case: Case
    layout: str
    counted_in: Path


@dataclass
class Found:
    """What layouts have found: cases and findings about their files. `labels` is the user's own map, `data.labels`."""

    labels: Mapping[int, int] = field(default_factory=dict)
    cases: list[Placed] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True)
class Layout:
    """A known layout. `find` takes the files of its cases out of the tree and adds the cases to what was found."""

    name: str
    find: Callable[[Tree, Found], None]


@dataclass
class Files:
    """The files of one case while they are gathered, by sequence or `seg`; several where a scan is there twice."""

    by_kind: dict[str, list[Path]] = field(default_factory=dict)

    def add(self, kind: str, path: Path) -> None:
        """Adds a file."""
        self.by_kind.setdefault(kind, []).append(path)

    @property
    def sequences(self) -> int:
        """The number of sequences that have a file."""
        return len(self.by_kind.keys() - {REFERENCE})

    def case(self, name: str, folder: Path, label_map: dict[int, int], found: Found, *, patient: str = "") -> Case:
        """Makes the case; a scan that is there twice is a finding, and the first file by `by_suffix` is read."""
        chosen = {}
        for kind in (*SEQUENCES, REFERENCE):
            if kind not in self.by_kind:
                continue
            first, *others = sorted(self.by_kind[kind], key=lambda path: by_suffix(path.name))
            chosen[kind] = first
            if others:
                found.findings.append(twice(name, first, others))
        labels = chosen.pop(REFERENCE, None)
        return Case(name, folder, {kind: Scan(path) for kind, path in chosen.items()}, labels, patient, label_map)


def twice(case: str, first: Path, others: list[Path]) -> Finding:
    """Returns the finding about a scan that is there more than once."""
    names = " and ".join(path.name for path in (first, *others))
    detail = f"{first.parent} holds {'both ' if len(others) == 1 else ''}{names}; {first.name} is read"
    return Finding(case, "warning", "scan there twice", detail, "keep one of them")
