"""Walks a folder of images: every folder once, by all the paths that lead to it, without hidden files."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SUFFIXES = (".nii.gz", ".nii", ".seg.nrrd", ".nrrd", ".nhdr", ".mgz", ".mgh", ".img")  # the first one found is read

_ENDINGS = "|".join(re.escape(suffix) for suffix in SUFFIXES)
_SUFFIX = re.compile(rf"(?:{_ENDINGS}|\.gz)*(?:{_ENDINGS})(?:\.gz)*\Z", re.IGNORECASE)


@dataclass
class Folder:
    """A folder that holds files: the paths that lead to it and the names of the images that no layout has taken."""

    ways: list[Path]
    images: list[str]

    @property
    def place(self) -> Path:
        """The path by which it was reached first."""
        return self.ways[0]

    def take(self, names: Sequence[str]) -> None:
        """Removes images that belong to a case, or to nothing that is read."""
        self.images = [name for name in self.images if name not in set(names)]


@dataclass
class Tree:
    """All folders below `root`, each once, in alphabetical order of their first path."""

    root: Path
    by_real_path: dict[str, Folder] = field(default_factory=dict)

    @property
    def folders(self) -> list[Folder]:
        """The folders, in order."""
        return list(self.by_real_path.values())

    def at(self, place: Path) -> Folder | None:
        """Returns the folder at a path, by whichever way it was reached."""
        return self.by_real_path.get(os.path.realpath(place))

    def copy(self) -> Tree:
        """Returns a tree from which files can be taken without taking them from this one."""
        folders = {real: Folder([*folder.ways], [*folder.images]) for real, folder in self.by_real_path.items()}
        return Tree(self.root, folders)


def read_tree(root: Path, *, without: Path | None = None) -> Tree:
    """Lists every image below `root` except those below the folder `without`. Links to folders are followed once."""
    left_out = None if without is None else os.path.realpath(without)
    folders: dict[str, Folder] = {}
    for place, names, _ in _walk(root):
        real = os.path.realpath(place)
        if left_out is not None and (real == left_out or real.startswith(left_out + os.sep)):
            continue
        if real in folders:
            folders[real].ways.append(place)
        else:
            folders[real] = Folder([place], [name for name in names if stem_of(name) is not None])
    return Tree(root, folders)


def visible_files(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yields every folder with its visible files, alphabetically, links to folders followed once."""
    for place, names, seen in _walk(root):
        if not seen:
            yield place, names


def stem_of(name: str) -> str | None:
    """Returns an image's name without its suffix, also a doubled or upper-case one; None for other files."""
    stem = _SUFFIX.sub("", name)
    return stem if stem and stem != name else None


def by_suffix(name: str) -> tuple[int, str]:
    """Returns the key by which files of one stem are sorted: the one that is read comes first."""
    lower = name.lower()
    return next((rank for rank, suffix in enumerate(SUFFIXES) if lower.endswith(suffix)), len(SUFFIXES)), name


def folded(name: str) -> str:
    """Returns a name as names are compared: in one case, and with the letters composed that macOS takes apart."""
    return unicodedata.normalize("NFC", name).casefold()


def names_of(place: Path) -> list[str]:
    """Returns the names of a folder, each once: a link has its own and that of the folder it leads to."""
    shell = Path(os.environ.get("PWD", ""))  # knows by which link one came to the folder one is in
    here = [shell.name] if place == Path() and shell.is_dir() and shell.samefile(place) else []
    return [name for name in dict.fromkeys([place.name, *here, place.resolve().name]) if name not in ("", "..")]


def _walk(root: Path) -> Iterator[tuple[Path, list[str], bool]]:
    """Yields folders with their visible files, and whether the folder was seen before, by another path to it."""
    entered: set[str] = set()
    for place, inner, names in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        seen = real in entered
        entered.add(real)
        inner[:] = [] if seen else sorted(name for name in inner if not name.startswith("."))
        yield Path(place), sorted(name for name in names if not name.startswith(".")), seen
