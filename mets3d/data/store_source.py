"""Records what a store was made from and lists what differs now."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mets3d.config import Data, Preprocess
from mets3d.data import DataError
from mets3d.data.cases import Case, find_cases

FORMAT = 1  # of a store


def recipe(settings: Preprocess, data: Data, folder: Path, cases: Iterable[Case]) -> dict[str, Any]:
    """Returns what a store is made from: settings, source files, and a hash of either side."""
    files = source_files(folder, cases)
    chosen = settings.model_dump(mode="json")
    return {
        "format": FORMAT,
        "settings": chosen,
        "cavity": data.cavity,
        "settings_hash": content_hash([FORMAT, chosen, data.cavity]),
        "source": {"folder": str(folder.resolve()), "files": files},
        "source_hash": content_hash(files),
    }


def source_files(data: Path, cases: Iterable[Case]) -> dict[str, list[int]]:
    """Maps paths below `data` to [bytes, time of last change in ns], for files of cases with a reference."""
    found = {}
    for case in cases:
        for file in case.files if case.labels else ():
            status = file.stat()
            found[file.relative_to(data).as_posix()] = [status.st_size, status.st_mtime_ns]
    return dict(sorted(found.items()))


def differing_settings(index: Mapping[str, Any], expected: Preprocess, data: Data) -> list[str]:
    """Lists, as texts, the settings whose value in the store is not the expected one."""
    own, wanted = index["settings"], expected.model_dump(mode="json")
    differences = [
        difference(f"preprocess.{key}", own.get(key), wanted.get(key))
        for key in dict.fromkeys([*own, *wanted])
        if own.get(key) != wanted.get(key)
    ]
    if data.cavity != index["cavity"]:
        differences.append(difference("data.cavity", index["cavity"], data.cavity))
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
    return (
        f"{path}: stale, its source files are not the ones it was made from: {_shown(changes)}. "
        "Preprocess into another folder, or delete this one and preprocess again"
    )


def used_as_it_is(path: Path, changes: list[str]) -> str:
    """Returns the remark on a store whose source has changed and that is used nevertheless."""
    return (
        f"{path}: its source folder has changed since it was made ({_shown(changes)}); the store is complete and used "
        "as it is. Preprocess into another folder for a run on the new files"
    )


def _shown(changes: list[str]) -> str:
    return ", ".join(changes[:5]) + (f" and {len(changes) - 5} more" if len(changes) > 5 else "")


def difference(key: str, own: Any, wanted: Any) -> str:
    """Returns the text for a setting that is different in the store."""
    return f"{key} is {own} in the store, {wanted} is expected"


def content_hash(content: Any) -> str:
    """Returns a short hash of plain values, the same in every process."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
