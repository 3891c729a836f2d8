"""Writes files atomically, and reads JSON with checks and clear errors.

Every text file is UTF-8, whatever the locale says.
"""

from __future__ import annotations

import errno
import filecmp
import hashlib
import json
import math
import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

# What file systems answer that sync no folders (CIFS, some of FUSE), and folders that may only be written.
CANNOT_SYNC_FOLDER = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM}
LEFT_BEHIND_S = 24 * 3600  # nobody writes one file for a day
TEMPORARY = re.compile(r"\.(\d+)\.tmp\.")
TRIES = 20  # to put a folder where other processes put theirs


class WeightsError(Exception):
    """A finding about a run's weights, which are absent or not its network's, and not a mistake in the command."""

    exit_code = 1


class MissingWeightsError(WeightsError, FileNotFoundError):
    """A run directory that is whole but for its weights."""


class WrongWeightsError(WeightsError, ValueError):
    """Weights that are broken or another network's."""


# ---------------------------------------------------------------- atomic writing


@contextmanager
def replacing(target: Path, *, keep_equal: bool = False, mark: str = "") -> Iterator[Path]:
    """Yields a temporary path beside `target`, same suffixes, that becomes `target` when the block ends well.

    It vanishes when the block raises, and what a process that was killed left of the same target is removed. Works for
    a file and for a folder; a reader of `target` sees the old content or the new, never a part, also after a power cut:
    content and folder entry are synced to disk around the rename. With `keep_equal` a file that already has the new
    content is left as it is, its time of change included. `mark`, such as a machine's, comes into the temporary name,
    for folders that processes of several machines write to.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{os.getpid()}.tmp.{mark}{target.name}"
    for leftover in _left_behind(target.parent).pop(f"{mark}{target.name}", ()):
        remove(leftover)
    try:
        yield temporary
        if keep_equal and target.is_file() and filecmp.cmp(temporary, target, shallow=False):
            return
        sync(temporary)
        _move_into_place(temporary, target)
        sync_entry(target)
    finally:
        remove(temporary)


def sync(path: Path) -> None:
    """Writes a file, or a folder with everything below it, through to the disk."""
    if path.is_dir():
        for inner in path.iterdir():
            if not inner.is_symlink():
                sync(inner)
        _sync_folder(path)
    else:
        _fsync(path)


def sync_entry(path: Path) -> None:
    """Writes the folder entry of a path through to the disk, so that its name survives a power cut.

    Does nothing where the file system cannot do it: the rename has succeeded, and that is all it offers.
    """
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return  # a folder can be opened on POSIX alone
    try:
        _fsync(folder)
    except OSError as error:
        if error.errno not in CANNOT_SYNC_FOLDER:
            raise


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _move_into_place(temporary: Path, target: Path) -> None:
    if not temporary.is_dir() or target.is_file():  # one question: between two the folder may go
        temporary.replace(target)
        return
    # A folder cannot replace one that is not empty: the old one steps aside and goes last.
    aside = target.parent / f".{os.getpid()}.tmp.old.{target.name}"
    for again in reversed(range(TRIES)):
        if aside.exists():  # of an earlier try
            remove(aside)
        if target.exists():
            with suppress(FileNotFoundError):  # another process has just moved it aside
                target.rename(aside)
        try:
            temporary.rename(target)
            break
        except OSError as error:
            if again and error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                continue  # another process has just put its own there, which is now the older one
            if aside.exists() and not target.exists():
                aside.rename(target)
            raise
    if aside.exists():
        shutil.rmtree(aside)


def remove(path: Path) -> None:
    """Removes a file, or a folder with everything in it, as far as that is possible; nothing where it is absent."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@cache
def machine_mark() -> str:
    """Returns a short mark of this host and its namespace of processes, within which process numbers are unique."""
    space = ""
    with suppress(OSError):
        space = str(Path("/proc/self/ns/pid").readlink())
    return f"{hashlib.sha256(f'{platform.node()} {space}'.encode()).hexdigest()[:8]}@"


def leftovers(folder: Path) -> list[Path]:
    """Lists temporary paths of `replacing` in a folder whose process is dead on this host, or that are a day old."""
    found = []
    for path in folder.glob(".*.tmp.*"):
        process = TEMPORARY.match(path.name)
        try:
            age_s = time.time() - path.stat().st_mtime
        except FileNotFoundError:  # its process has just finished it
            continue
        if process and (age_s > LEFT_BEHIND_S or not is_alive(int(process[1]))):
            found.append(path)
    return found


def is_empty(folder: Path) -> bool:
    """Returns whether a folder holds nothing but what `replacing` writes there just now, or was killed over."""
    return all(TEMPORARY.match(path.name) for path in folder.iterdir())


@lru_cache(maxsize=16)
def _left_behind(folder: Path) -> dict[str, list[Path]]:
    """Returns a folder's leftovers by what follows `.tmp.` in their names, as they were at the first question.

    Once is enough, for who asks was alive then, and a folder of a thousand files is not listed for each of them.
    """
    found: dict[str, list[Path]] = {}
    with suppress(OSError):  # of a folder that may be written and not listed nothing is known
        for path in leftovers(folder):
            found.setdefault(path.name.partition(".tmp.")[2], []).append(path)
    return found


def recover(target: Path) -> None:
    """Gives a folder its name back that `replacing` had moved aside when it was killed, before the new one was there.

    Removes what else dead processes of this machine left of this target, for that never came to be. Does nothing where
    all is well.
    """
    ends = (f".tmp.{target.name}", f".tmp.old.{target.name}", f".tmp.{machine_mark()}{target.name}")
    dead = {path: path.name.removeprefix(f".{path.name.split('.')[1]}") for path in leftovers(target.parent)}
    aside = [path for path, end in dead.items() if end == ends[1]]
    if aside and not target.exists():
        with suppress(OSError):  # another process has just done the same
            max(aside, key=lambda path: path.stat().st_mtime).rename(target)
    for path, end in dead.items():
        if end in ends:
            remove(path)


def is_alive(process: int) -> bool:
    """Returns whether a process of this number runs on this host, also where that cannot be told."""
    if os.name != "posix":
        return True  # elsewhere signal 0 would end it
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def write_with(path: Path, writer: Callable[[Path], object]) -> None:
    """Runs `writer` on a temporary path, then renames it to `path`."""
    with replacing(path) as temporary:
        writer(temporary)


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 text file, completely or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_text(path: Path) -> str:
    """Reads a UTF-8 text file. Raises FileNotFoundError, and UnicodeDecodeError for another encoding."""
    return path.read_text(encoding="utf-8")


def is_plain_name(name: str) -> bool:
    """Returns whether a name names something in the folder it is joined to, and nothing above or below it."""
    return name not in ("", ".", "..") and not {"/", "\\", "\0"} & {*name}


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, as 64 hexadecimal digits. Raises OSError where it cannot be read."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# ---------------------------------------------------------------- JSON


def write_json(path: Path, content: Any) -> None:
    """Writes plain values as indented JSON, completely or not at all."""
    write_text(path, json.dumps(content, indent=1, sort_keys=False) + "\n")


def parse_json(text: str | bytes) -> Any:
    """Reads JSON that somebody else may have written. Raises json.JSONDecodeError and UnicodeDecodeError, nothing else.

    Python's own answers nesting without end and a number of thousands of digits with errors of other kinds.
    """
    try:
        return json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except (ValueError, RecursionError) as error:
        what = "it is nested too deeply" if isinstance(error, RecursionError) else "a number has too many digits"
        raise json.JSONDecodeError(what, "", 0) from None


def read_json(path: Path) -> Any:
    """Reads a JSON file. Raises FileNotFoundError and the errors of `parse_json`; `read_object` explains them."""
    return parse_json(read_text(path))


@dataclass(frozen=True)
class Kind:
    """A kind of value in a small JSON file: in words, and as a test."""

    words: str
    fits: Callable[[Any], bool]


TEXT = Kind("text", lambda value: isinstance(value, str))
OBJECT = Kind("an object in braces", lambda value: isinstance(value, dict))
OBJECTS = Kind("a list of objects", lambda value: isinstance(value, list) and all(map(OBJECT.fits, value)))
NAMES = Kind("a list of names", lambda value: isinstance(value, list) and all(map(TEXT.fits, value)))
NUMBER = Kind("a number", lambda value: type(value) in (int, float))
COUNT = Kind("a whole number from 0", lambda value: type(value) is int and value >= 0)
SPACING_MM = Kind(
    "three numbers above 0, in mm, along X, Y, Z",
    lambda value: (
        isinstance(value, list)
        and len(value) == 3
        and all(NUMBER.fits(side) and side > 0 and math.isfinite(side) for side in value)
    ),
)


def read_object(
    path: Path, needs: Mapping[str, Kind] | None = None, may: Mapping[str, Kind] | None = None, *, advice: str = ""
) -> dict[str, Any]:
    """Reads a JSON file that holds an object with the keys `needs`, and perhaps those of `may`, of their kinds.

    Raises FileNotFoundError, and ValueError naming the file, the key and what is expected; `advice` is what to do.
    """
    needs, may = needs or {}, may or {}
    rest = f"; {advice}" if advice else ""
    try:
        content = read_json(path)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: expected JSON, found something else ({error}){rest}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected {OBJECT.words}, found {_shown(content)}{rest}")
    missing = [key for key in needs if key not in content]
    if missing:
        raise ValueError(f"{path}: {', '.join(missing)} missing{rest}")
    for key, kind in {**needs, **may}.items():
        if key in content and not kind.fits(content[key]):
            raise ValueError(f"{path}: {key}: expected {kind.words}, found {_shown(content[key])}{rest}")
    return content


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
