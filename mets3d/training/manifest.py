"""Writes and checks manifest.json: the size and SHA-256 of every file of a checkpoint, by which damage is noticed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mets3d.files import COUNT, OBJECT, TEXT, Kind, read_object, sha256_of, write_json
from mets3d.rundir import CheckpointDir

FORMAT = 1  # of a checkpoint; another number is another layout


class DamagedError(Exception):
    """A checkpoint that is not whole. The text says what is wrong with which file, without the folder's name."""


def write_manifest(folder: Path) -> None:
    """Writes the manifest of a folder whose files are complete. It is the last file of a checkpoint."""
    names = sorted(file.name for file in folder.iterdir())
    described = dict(zip(names, _described([folder / name for name in names]), strict=True))
    write_json(CheckpointDir(folder).manifest, {"format": FORMAT, "files": described})


def check_manifest(folder: Path, *, needs: Iterable[str]) -> set[str]:
    """Compares every file of a checkpoint with its manifest, and returns their names. Others in the folder are ignored.

    needs: names of the files that the manifest must list. Raises DamagedError with the first difference.
    """
    try:
        listed = _read(folder)
        missing = sorted(set(needs) - listed.keys())
        if missing:
            raise DamagedError(f"its manifest lists no {', '.join(missing)}")
        # Sizes first: they cost nothing and catch most.
        for name, wanted in listed.items():
            size = _size(folder / name)
            if size != wanted["bytes"]:
                raise DamagedError(f"{name} has {size} bytes, {wanted['bytes']} were written")
        found = _described([folder / name for name in listed])
    except OSError as error:
        name = Path(error.filename).name if error.filename else "a file"
        raise DamagedError(f"{name} cannot be read: {error.strerror or error}") from None
    for (name, wanted), now in zip(listed.items(), found, strict=True):
        if now != wanted:
            raise DamagedError(f"{name} has other content than was written (SHA-256)")
    return set(listed)


def _size(file: Path) -> int:
    try:
        if not file.is_file():
            raise DamagedError(f"{file.name} is missing" if not file.exists() else f"{file.name} is not a file")
        return file.stat().st_size
    except FileNotFoundError:
        raise DamagedError(f"{file.name} is missing") from None


def _read(folder: Path) -> dict[str, dict[str, Any]]:
    """Returns what the manifest lists, by file name."""
    file = CheckpointDir(folder).manifest
    if not folder.is_dir():
        raise DamagedError("expected a folder")
    if not file.exists():
        raise DamagedError(f"{file.name} is missing")
    try:
        content = read_object(file, {"format": COUNT, "files": OBJECT})
        if content["format"] != FORMAT:
            raise DamagedError(f"{file.name} is of format {content['format']}, this version reads {FORMAT}")
        files: dict[str, dict[str, Any]] = content["files"]
        for name, entry in files.items():
            if Path(name).name != name or not _ENTRY.fits(entry):
                raise ValueError(f"{file}: files: {name}: expected {_ENTRY.words}")
    except ValueError as error:
        raise DamagedError(str(error).removeprefix(f"{folder}/")) from None
    return files


def _described(files: list[Path]) -> list[dict[str, Any]]:
    # Hashing releases the interpreter's lock, so that the large files are read side by side.
    with ThreadPoolExecutor(max(1, len(files))) as pool:
        return list(pool.map(_describe, files))


def _describe(file: Path) -> dict[str, Any]:
    return {"bytes": file.stat().st_size, "sha256": sha256_of(file)}


_ENTRY = Kind(
    "bytes and sha256 of a file of this folder",
    lambda entry: (
        OBJECT.fits(entry)
        and COUNT.fits(entry.get("bytes"))
        and TEXT.fits(entry.get("sha256"))
        and re.fullmatch("[0-9a-f]{64}", entry["sha256"]) is not None
    ),
)
