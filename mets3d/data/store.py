"""The store: preprocessed cases that a loader reads in patches by memory map.

STORE/
    store.json         settings, source files, a hash of each, plan and cases; the last file to appear
    fingerprint.json   statistics of the data set
    cases/CASE.safetensors
        image          float16 [4, X, Y, Z], z-scored inside the brain, 0 outside
        labels         uint8 [X, Y, Z]
        foreground_WT  int16 [n, 3] voxels of the region, lesion after lesion; the same for TC, ET (RC)
        lesions_WT     int64 [L + 1] where each lesion starts in it, and the end
    building.json      instead of store.json while preprocessing is under way
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float16, Int16, Int64, UInt8

from mets3d.config import Preprocess
from mets3d.data import DataError
from mets3d.data.cases import Case, find_cases
from mets3d.data.plan import Plan
from mets3d.files import read_json, write_with
from mets3d.ops.components import components
from mets3d.ops.voxels import Shape3, Spacing
from mets3d.regions import scored_regions

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
INDEX, UNFINISHED, FINGERPRINT = "store.json", "building.json", "fingerprint.json"
METADATA = "mets3d"
Box3 = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Entry:
    """Crop, resampling and z-score of one case, so that a prediction can be put back. RAS order, in voxels or mm."""

    shape: Shape3  # of the case
    spacing_mm: Spacing  # of the case
    box: Box3  # first and one past the last voxel of the crop, per axis
    stored_shape: Shape3
    mean: tuple[float, ...]  # per sequence, inside the brain, before the z-score
    std: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        """Returns the entry as it is stored with the case."""
        return asdict(self)

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Entry:
        """Makes the entry of a stored case; keys that earlier versions wrote too are ignored."""
        return cls(**{name: _tuples(tree[name]) for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class StoredCase:
    """One case of the store, held as a path alone: every read maps the file anew, so it can go to any process."""

    name: str
    path: Path

    @property
    def shape(self) -> Shape3:
        """Voxels along X Y Z, as stored."""
        return self.entry.stored_shape

    @property
    def entry(self) -> Entry:
        """How the case became what is stored."""
        return Entry.from_json(read_metadata(self.path)["entry"])

    def image(self, box: tuple[slice, ...] | None = None) -> Float16[Tensor, "C X Y Z"]:
        """Reads float16 [4, x, y, z] inside `box` (three slices; None: all) and no byte beside it."""
        with _opened(self.path, "pt") as file:
            part: Tensor = file.get_slice("image")[(slice(None), *(box or _EVERYTHING))]
            return part

    def labels(self, box: tuple[slice, ...] | None = None) -> UInt8[Tensor, "X Y Z"]:
        """Reads uint8 [x, y, z] inside `box`."""
        with _opened(self.path, "pt") as file:
            part: Tensor = file.get_slice("labels")[box or _EVERYTHING]
            return part

    def foreground(self, region: str) -> Int16[np.ndarray, "n 3"]:
        """Reads the voxels of a region, lesion after lesion."""
        voxels: Int16[np.ndarray, "n 3"] = self._index(f"foreground_{region}")
        return voxels

    def lesions(self, region: str) -> Int64[np.ndarray, " offsets"]:
        """Reads where each lesion starts: l (26-connected) is `foreground(region)[lesions[l]:lesions[l + 1]]`."""
        offsets: Int64[np.ndarray, " offsets"] = self._index(f"lesions_{region}")
        return offsets

    def _index(self, key: str) -> Any:
        with _opened(self.path, "numpy") as file:
            return file.get_tensor(key)


@dataclass(frozen=True)
class Store:
    """An opened store: the names of its cases and how all of them were prepared."""

    path: Path
    index: dict[str, Any]

    @property
    def cases(self) -> list[str]:
        """Names, sorted."""
        return list(self.index["cases"])

    @property
    def plan(self) -> Plan:
        """How its cases were prepared, and so how a new case must be."""
        return Plan.from_json(self.index["plan"])

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Statistics of the data set, see `mets3d.data.fingerprint`."""
        return dict(read_json(self.path / FINGERPRINT))

    def lesion_counts(self, regions: Sequence[str]) -> dict[str, int]:
        """Counts the lesions of each case: of the first of these regions that it has any of, else 0."""
        counts = {name: row["lesions"] for name, row in self.index["cases"].items()}
        return {name: next((row[region] for region in regions if row[region]), 0) for name, row in counts.items()}

    def read(self, name: str) -> StoredCase:
        """Returns one case. Raises DataError if the store has no such case."""
        if name not in self.index["cases"]:
            raise DataError(f"{self.path}: no case {name} in this store of {len(self.index['cases'])}")
        return StoredCase(name, case_path(self.path, name))


def open_store(path: Path, *, expected: Preprocess | None = None, cavity: bool | None = None) -> Store:
    """Opens the finished store in `path`.

    With `expected` the store must have been made with these settings, and its source, if that folder is still there,
    must hold the same labelled cases with files of the same size and time. With `cavity` it must treat label 4 so.
    Raises FileNotFoundError if there is no store or an unfinished one, DataError if it does not fit, saying why.
    """
    index = _read_index(path)
    if expected is not None:
        differences = differing_settings(index, expected, cavity)
    else:
        differences = [] if cavity in (None, index["cavity"]) else [_difference("data.cavity", index["cavity"], cavity)]
    if differences:
        raise DataError(
            f"{path}: this store was made with other settings: {'; '.join(differences)}. "
            "Preprocess into another folder, or delete this one and preprocess again"
        )
    if expected is not None:
        changes = changed_source(index)
        if changes:
            raise DataError(stale(path, changes))
    missing = [name for name in index["cases"] if not case_path(path, name).is_file()]
    if missing:
        raise DataError(f"{path}: {len(missing)} of its cases are gone, such as {missing[0]}; preprocess again")
    return Store(path, index)


def _read_index(path: Path) -> dict[str, Any]:
    if not (path / INDEX).is_file():
        if (path / UNFINISHED).is_file():
            raise FileNotFoundError(f"{path}: interrupted while it was made; run `mets3d preprocess` again to finish")
        found = "an empty folder" if path.is_dir() and not any(path.iterdir()) else "a folder without store.json"
        raise FileNotFoundError(
            f"{path}: expected a store, found {found if path.is_dir() else 'no such folder'}; "
            "make one with `mets3d preprocess DATA STORE`"
        )
    index: dict[str, Any] = read_json(path / INDEX)
    if index.get("format") != FORMAT:
        raise DataError(f"{path}: store format {index.get('format')}, this version reads {FORMAT}; preprocess again")
    return index


# ---------------------------------------------------------------- settings and source


def recipe(settings: Preprocess, cavity: bool, data: Path, cases: Iterable[Case]) -> dict[str, Any]:
    """Returns what a store is made from: settings, cavity, source files, and a hash of either side."""
    files = source_files(data, cases)
    chosen = settings.model_dump(mode="json")
    return {
        "format": FORMAT,
        "settings": chosen,
        "cavity": cavity,
        "settings_hash": _hash([FORMAT, chosen, cavity]),
        "source": {"folder": str(data.resolve()), "files": files},
        "source_hash": _hash(files),
    }


def source_files(data: Path, cases: Iterable[Case]) -> dict[str, list[int]]:
    """Maps paths below `data` to [bytes, time of last change in ns], for files of cases with a reference."""
    found = {}
    for case in cases:
        for file in case.files if case.labels else ():
            status = file.stat()
            found[file.relative_to(data).as_posix()] = [status.st_size, status.st_mtime_ns]
    return dict(sorted(found.items()))


def differing_settings(index: Mapping[str, Any], expected: Preprocess, cavity: bool | None) -> list[str]:
    """Lists, as texts, the settings whose value in the store is not the expected one."""
    own, wanted = index["settings"], expected.model_dump(mode="json")
    differences = [
        _difference(f"preprocess.{key}", own.get(key), wanted.get(key))
        for key in dict.fromkeys([*own, *wanted])
        if own.get(key) != wanted.get(key)
    ]
    if cavity is not None and cavity != index["cavity"]:
        differences.append(_difference("data.cavity", index["cavity"], cavity))
    return differences


def changed_source(index: Mapping[str, Any]) -> list[str]:
    """Lists the changes in the source folder since the store was made; none if the folder is no longer there."""
    folder = Path(index["source"]["folder"])
    if not folder.is_dir():
        return []
    try:
        now = source_files(folder, find_cases(folder))
    except DataError:
        now = {}
    return differing_files(index["source"]["files"], now)


def differing_files(before: Mapping[str, list[int]], now: Mapping[str, list[int]]) -> list[str]:
    """Lists `FILE changed`, `FILE removed` and `FILE new`, by name."""
    changes = []
    for file in sorted({*before, *now}):
        if file not in now:
            changes.append(f"{file} removed")
        elif file not in before:
            changes.append(f"{file} new")
        elif list(before[file]) != list(now[file]):
            changes.append(f"{file} changed")
    return changes


def stale(path: Path, changes: list[str]) -> str:
    """Returns the message for a store whose source has changed."""
    shown = ", ".join(changes[:5]) + (f" and {len(changes) - 5} more" if len(changes) > 5 else "")
    return (
        f"{path}: stale, its source files are not the ones it was made from: {shown}. "
        "Preprocess into another folder, or delete this one and preprocess again"
    )


def _difference(key: str, own: Any, wanted: Any) -> str:
    return f"{key} is {own} in the store, {wanted} was asked for"


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


# ---------------------------------------------------------------- one case's file


def case_path(store: Path, name: str) -> Path:
    """Returns the path of one case's file, there or not."""
    return store / "cases" / f"{name}.safetensors"


def write_case(
    path: Path,
    image: Float16[np.ndarray, "C X Y Z"],
    labels: UInt8[np.ndarray, "X Y Z"],
    *,
    cavity: bool,
    metadata: Mapping[str, Any],
) -> None:
    """Writes one case with the foreground index of its regions. `metadata`: JSON-able values, `entry` among them."""
    from safetensors.numpy import save

    arrays: dict[str, Any] = {"image": np.ascontiguousarray(image), "labels": np.ascontiguousarray(labels)}
    for region in scored_regions(cavity):
        arrays[f"foreground_{region.name}"], arrays[f"lesions_{region.name}"] = foreground_index(region.mask(labels))
    # One key alone: safetensors writes several in random order, and equal cases shall be equal files.
    content = save(arrays, metadata={METADATA: json.dumps(metadata)})
    write_with(path, lambda temporary: _write_bytes(temporary, content))


def _write_bytes(path: Path, content: bytes) -> None:
    """Writes a file that others can read too, which safetensors' own writer does not."""
    path.write_bytes(content)


def read_metadata(path: Path) -> dict[str, Any]:
    """Reads the JSON values that `write_case` was given, from the file's header alone."""
    with _opened(path, "numpy") as file:
        content: dict[str, Any] = json.loads(file.metadata()[METADATA])
        return content


def foreground_index(mask: Any) -> tuple[Int16[np.ndarray, "n 3"], Int64[np.ndarray, " offsets"]]:
    """Returns the voxels of a mask, one 26-connected component after the other, and where each starts; [0] if empty."""
    numbers = components(mask)
    voxels = np.argwhere(mask).astype(np.int16)
    component_of = numbers[mask].astype(np.int64)
    order = np.argsort(component_of, kind="stable")
    sizes = np.bincount(component_of, minlength=1)[1:]
    return voxels[order], np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


_EVERYTHING = (slice(None), slice(None), slice(None))


def _opened(path: Path, framework: str) -> Any:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"{path}: this case of the store is gone; preprocess again")
    try:
        return safe_open(path, framework=framework)
    except SafetensorError as error:
        raise DataError(f"{path}: not readable as safetensors ({error}); delete it and preprocess again") from error


def _tuples(value: Any) -> Any:
    return tuple(_tuples(part) for part in value) if isinstance(value, list | tuple) else value
