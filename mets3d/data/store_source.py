"""Records what a store and each of its cases were made from and lists what differs now."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mets3d.config import Data, Preprocess
from mets3d.data import DataError
from mets3d.data.cases import LABELS, Case, CaseList, find_cases
from mets3d.files import sha256_of
from mets3d.settings import READING

FORMAT = 2  # of a store
FORMATS = {2: "each case has a record, and the settings under `data` that decide its content are in store.json"}
# The settings of `data` that decide what is in a stored case. What they leave out and lay over is a case's own matter.
STORED = ("sequences", "missing_sequences", "grids", "labels", "illegal_labels", "cavity")


def recipe(settings: Preprocess, data: Data) -> dict[str, Any]:
    """Returns the settings that a store is made with, and a hash of them."""
    chosen = settings.model_dump(mode="json")
    of_data = data.model_dump(mode="json", include=set(STORED))
    return {
        "format": FORMAT,
        "settings": chosen,
        "data": of_data,
        "settings_hash": content_hash([FORMAT, chosen, of_data]),
    }


def differing_settings(index: Mapping[str, Any], expected: Preprocess, data: Data) -> list[str]:
    """Lists, as texts, the settings whose value in the store is not the expected one."""
    wanted = recipe(expected, data)
    differences = []
    for section, key in (("preprocess", "settings"), ("data", "data")):
        own, now = index.get(key, {}), wanted[key]
        differences += [
            _difference(f"{section}.{name}", own.get(name, _UNKNOWN), now.get(name, _UNKNOWN))
            for name in dict.fromkeys([*now, *own])
            if own.get(name, _UNKNOWN) != now.get(name, _UNKNOWN)
        ]
    return differences


def other_format(found: Any) -> str:
    """Returns, in words, what a store of another format lacks."""
    newer = [words for number, words in FORMATS.items() if isinstance(found, int) and found < number]
    since = f" ({'; '.join(newer)})" if newer else ""
    return f"store format {found}, this version has {FORMAT}{since}"


# ---------------------------------------------------------------- the source of one case


def case_source(case: Case, folder: Path) -> dict[str, Any]:
    """Returns what a case is read from: its files with bytes and time of change in ns, and how they are read.

    A file that is not there, such as a broken link, has no numbers.
    """
    scans = {name: [_shown(scan.path, folder), scan.volume] for name, scan in case.sequences.items()}
    if case.labels is not None:
        scans[LABELS] = [_shown(case.labels, folder), None]
    return {
        "files": {_shown(file, folder): _size_and_time(file) for file in case.files},
        "scans": scans,
        "label_map": {str(theirs): ours for theirs, ours in case.label_map.items()},
    }


def file_hashes(case: Case, folder: Path) -> dict[str, str | None]:
    """Returns the SHA-256 of each file of a case, by which a copy with another time is known to be the same."""
    return {_shown(file, folder): _sha256(file) for file in case.files}


def same_source(recorded: Mapping[str, Any], case: Case, folder: Path) -> dict[str, Any] | None:
    """Returns the source as it is now if a case would be read from what was recorded; else None.

    Files are the same by their time, or else by their content, so that a copy of a data set is the same.
    """
    now = case_source(case, folder)
    if any(recorded.get(key) != now[key] for key in ("scans", "label_map")) or set(recorded["files"]) != set(
        now["files"]
    ):
        return None
    hashes = recorded.get("sha256", {})
    for name, file in ((_shown(file, folder), file) for file in case.files):
        before, numbers = recorded["files"][name], now["files"][name]
        if before == numbers:
            continue
        if (
            not before
            or not numbers
            or before[0] != numbers[0]
            or not hashes.get(name)
            or hashes[name] != _sha256(file)
        ):
            return None
    return {**now, "sha256": hashes} if hashes else now


def _shown(file: Path, folder: Path) -> str:
    """Returns the path below the data's folder; of a file elsewhere, such as an overlay's, all of it."""
    return (file.relative_to(folder) if file.is_relative_to(folder) else file.absolute()).as_posix()


def _size_and_time(file: Path) -> list[int] | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _sha256(file: Path) -> str | None:
    """Returns the hash of a file, None of one that cannot be read."""
    try:
        return sha256_of(file)
    except OSError:
        return None


# ---------------------------------------------------------------- the source of a store


def store_source(folder: Path, data: Data, sources: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns what a store records of its source: the folder, how it was read, and all files of the cases."""
    files = {name: numbers for source in sources for name, numbers in source["files"].items()}
    # Who a patient is changes no file.
    read_with = data.model_dump(mode="json", include={key.removeprefix("data.") for key in READING} - {"patients"})
    for key in ("exclude", "overlay"):
        if read_with.get(key):
            read_with[key] = str(Path(read_with[key]).absolute())
    return {"folder": str(folder.resolve()), "read_with": read_with, "files": dict(sorted(files.items()))}


def changed_source(index: Mapping[str, Any]) -> list[str]:
    """Lists the changes in the source folder since the store was made; none if the folder is no longer there."""
    folder = Path(index["source"]["folder"])
    if not folder.is_dir():
        return []
    read_with = Data.model_validate(index["source"]["read_with"])
    try:
        cases = _cases_now(folder, read_with)
    except DataError:
        return differing_files(index["source"]["files"], {})
    now = {name: at for case in cases if case.labels for name, at in case_source(case, folder)["files"].items()}
    return differing_files(index["source"]["files"], now)


def _cases_now(folder: Path, read_with: Data) -> CaseList:
    """Finds the cases as for the store; where its exclusions or overlay are gone or name other cases, without them."""
    try:
        return find_cases(folder, read_with)
    except (DataError, FileNotFoundError):
        return find_cases(folder, read_with.model_copy(update={"exclude": None, "overlay": None}))


def differing_files(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Lists `FILE changed`, `FILE removed` and `FILE new`, by name."""
    changes = []
    for file in sorted({*before, *now}):
        if file not in now:
            changes.append(f"{file} removed")
        elif file not in before:
            changes.append(f"{file} new")
        elif before[file] != now[file]:
            changes.append(f"{file} changed")
    return changes


def stale(path: Path, changes: Sequence[str]) -> str:
    """Returns the message for a store whose source has changed."""
    return (
        f"{path}: stale, its source files are not the ones it was made from: {_some(changes)}. "
        "Run `mets3d preprocess` again, which makes the cases anew that changed"
    )


def used_as_it_is(path: Path, changes: Sequence[str]) -> str:
    """Returns the remark on a store whose source has changed and that is used nevertheless."""
    return (
        f"{path}: its source folder has changed since it was made ({_some(changes)}); the store is complete and used "
        "as it is. Preprocess into another folder for a run on the new files"
    )


def content_hash(content: Any) -> str:
    """Returns a short hash of plain values, the same in every process."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


_UNKNOWN = "not recorded"


def _difference(key: str, own: Any, wanted: Any) -> str:
    return f"{key} is {own} in the store, {wanted} is expected"


def _some(changes: Sequence[str]) -> str:
    return ", ".join(changes[:5]) + (f" and {len(changes) - 5} more" if len(changes) > 5 else "")
