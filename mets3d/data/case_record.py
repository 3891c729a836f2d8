"""Reads and writes the record of each case of a store, by which a later call, or another shard, knows what is done.

STORE/records/CASE.json is written after the case's own file and removed before that file changes:

source    what the case was read from, see `mets3d.data.store_source`
stored    whether the case is in the store; else its findings say why not
findings  what `mets3d check` says of it
summary   what the findings about the whole set need of it
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mets3d.data.case_summary import CaseSummary
from mets3d.data.cases import Case, Finding
from mets3d.data.store_source import same_source
from mets3d.data.stored_case import case_path
from mets3d.files import LEFT_BEHIND_S, leftovers, machine_mark, read_json, replacing


@dataclass(frozen=True)
class Record:
    """What is known of one case of a store."""

    source: dict[str, Any]
    stored: bool
    findings: list[Finding]
    summary: CaseSummary


def record_path(store: Path, name: str) -> Path:
    """Returns the path of a case's record, whether it exists or not."""
    return store / "records" / f"{name}.json"


def read_record(store: Path, name: str) -> Record | None:
    """Returns a case's record; None where there is none, or none that can be read."""
    try:
        content = read_json(record_path(store, name))
        findings = [Finding(**finding) for finding in content["findings"]]
        return Record(content["source"], content["stored"], findings, CaseSummary.from_json(content["summary"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_record(store: Path, name: str, record: Record) -> None:
    """Writes a case's record, completely or not at all."""
    findings = [asdict(finding) for finding in record.findings]
    content = {**vars(record), "findings": findings, "summary": record.summary.as_json()}
    write_marked(record_path(store, name), as_json(content))


def record_of(store: Path, case: Case, folder: Path) -> Record | None:
    """Returns the case's record if it is about the case as it is now; of a stored one the file must be there too.

    Where files have another time and the same content, their time is noted.
    """
    record = read_record(store, case.name)
    if record is None or (record.stored and not case_path(store, case.name).is_file()):
        return None
    source = same_source(record.source, case, folder)
    if source is None or source == record.source:
        return None if source is None else record
    record = replace(record, source=source)
    write_record(store, case.name, record)
    return record


def stored_names(store: Path) -> list[str]:
    """Lists the cases that a store holds, whether an index names them or not."""
    names = sorted(path.stem for path in (store / "records").glob("[!.]*.json"))
    records = {name: read_record(store, name) for name in names}
    return [name for name, record in records.items() if record and record.stored]


def forget_case(store: Path, name: str) -> None:
    """Removes a case's record and then its file."""
    record_path(store, name).unlink(missing_ok=True)
    case_path(store, name).unlink(missing_ok=True)


# ---------------------------------------------------------------- several processes, several machines


def write_marked(path: Path, text: str) -> None:
    """Writes a text file under a temporary name that says on which machine; one with this content is left alone."""
    with replacing(path, keep_equal=True, mark=machine_mark()) as temporary:
        temporary.write_text(text, encoding="utf-8")


def as_json(content: Any) -> str:
    """Returns plain values as the text of a JSON file."""
    return json.dumps(content, indent=1) + "\n"


def remove_leftovers(store: Path) -> None:
    """Removes half-written files of processes that are dead on this machine, and of others after a day."""
    for folder in (store, store / "cases", store / "records"):
        for path in leftovers(folder):
            mark, found, _ = path.name.partition(".tmp.")[2].partition("@")
            elsewhere = found and f"{mark}@" != machine_mark()
            with suppress(FileNotFoundError):
                if not elsewhere or time.time() - path.stat().st_mtime > LEFT_BEHIND_S:
                    path.unlink()
