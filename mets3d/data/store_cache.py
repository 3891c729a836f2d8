"""Copies a store from a slow disk, such as a network's, to a local one before training reads it patch by patch."""

from __future__ import annotations

import shutil
from pathlib import Path

from mets3d.data import DataError
from mets3d.data.store import FINGERPRINT, INDEX, open_store
from mets3d.data.store_source import content_hash
from mets3d.data.stored_case import case_path
from mets3d.files import replacing

GIGABYTE = 10**9


def local_copy(store: Path, cache: Path) -> Path:
    """Copies a finished store into a folder of its own below `cache` and returns that folder.

    A file that is there with the size and time of its original is left, so that only the first call copies and an
    interrupted one goes on. The index, which makes a folder a store, comes last. A store that has changed gets another
    folder. Processes that copy at the same time write the same files and do no harm.

    Raises as `open_store` for what is no store, and DataError where the disk has no room for the copy.
    """
    opened = open_store(store)
    target = cache / f"{store.name}-{content_hash([str(store.resolve()), opened.digest])}"
    originals = [case_path(store, name) for name in opened.cases] + [store / FINGERPRINT, store / INDEX]
    missing = [file for file in originals if not _is_copied(file, target / file.relative_to(store))]
    cache.mkdir(parents=True, exist_ok=True)
    needed, free = sum(file.stat().st_size for file in missing), shutil.disk_usage(cache).free
    if needed > free:
        raise DataError(
            f"{cache}: expected {needed / GIGABYTE:.2f} GB free for the copy of {store}, found {free / GIGABYTE:.2f}; "
            "remove earlier copies there, name another folder as data.cache, or leave it out"
        )
    for file in missing:
        with replacing(target / file.relative_to(store)) as temporary:
            shutil.copy2(file, temporary)
    return target


def _is_copied(original: Path, copy: Path) -> bool:
    if not copy.is_file():
        return False
    theirs, ours = original.stat(), copy.stat()
    return (theirs.st_size, theirs.st_mtime_ns) == (ours.st_size, ours.st_mtime_ns)
