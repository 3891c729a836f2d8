"""Finds out how each prediction was decoded, by the records and the note that `mets3d predict` left beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mets3d.files import read_json, sha256_of
from mets3d.rundir import (
    DECODED_BY,
    DEFAULT_DECODING,
    LABEL_MAP_SHA256,
    PERHAPS_TUNED_ON,
    TUNED_BY,
    PredictionsDir,
    scan_name,
)


def recorded_decodings(predictions: Path, cases: Iterable[str]) -> dict[str, dict[str, str]]:
    """Returns, by case, how it was decoded and the rule set of that tuning, as columns of scores.csv.

    A case without a record that fits its label map has none of both: nobody knows.
    """
    folder = PredictionsDir(predictions)
    note = _content(folder.note)
    return {case: told for case in cases if (told := _told(folder, case, note))}


def _told(folder: PredictionsDir, case: str, note: Mapping[str, Any]) -> dict[str, str]:
    record = _content(folder.record(case))
    if not _is_of(record, folder.label_map(case), scan_name(case)):
        return {}
    if DECODED_BY in record:
        told = {key: record.get(key) for key in (DECODED_BY, TUNED_BY)}
    else:
        told = {DECODED_BY: _by_note(note) if record.get("recipe") == note.get("recipe") else None}
    return {key: value for key, value in told.items() if isinstance(value, str) and value}


def _is_of(record: Mapping[str, Any], label_map: Path, name: str) -> bool:
    """Returns whether a record tells of the label map that is there now: by its bytes.

    A record of an earlier version has its size alone, which another label map may have by chance.
    """
    files = record.get("files")
    try:
        if not isinstance(files, dict) or files.get(name) != label_map.stat().st_size:
            return False
        return LABEL_MAP_SHA256 not in record or record[LABEL_MAP_SHA256] == sha256_of(label_map)
    except OSError:
        return False


def _by_note(note: Mapping[str, Any]) -> str | None:
    """Returns what a note of an earlier version says of all of its cases."""
    source = note.get("decoding_from")
    if source is None:
        return None
    if source != DEFAULT_DECODING:
        return PERHAPS_TUNED_ON
    threshold = note.get("threshold", 0.5)
    return DEFAULT_DECODING if threshold == 0.5 else f"threshold {threshold}"


def _content(file: Path) -> dict[str, Any]:
    """Returns a small JSON file's object; nothing where it cannot be read or is none."""
    try:
        content = read_json(file)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
