"""Keeps the id under which W&B knows a run, in the run directory."""

from __future__ import annotations

import secrets
from pathlib import Path

from mets3d.files import TEXT, read_object, write_json
from mets3d.rundir import RunDir


def run_id(run: RunDir) -> str:
    """Returns the run's id; makes one where a run begins, or where its directory is a copy of another run's.

    A run that is resumed or moved keeps its id and so its curve. A directory whose id was written elsewhere is a copy
    if the place it was written in still holds it, and moved if not: two runs must not draw one curve.
    """
    here = str(run.path.resolve())
    kept = _read(run)
    if kept is not None:
        id_, folder = kept
        if folder == here:
            return id_
        original = RunDir(Path(folder))
        if _read(original) != kept:
            keep_id(run, id_)
            return id_
    id_ = f"{run.name[:100]}-{secrets.token_hex(4)}"
    keep_id(run, id_)
    return id_


def keep_id(run: RunDir, id_: str) -> None:
    """Writes down under which id the run is known from now on."""
    write_json(run.tracking, {"id": id_, "folder": str(run.path.resolve())})


def _read(run: RunDir) -> tuple[str, str] | None:
    """Reads id and folder; None where there is no such file or it is damaged."""
    try:
        kept = read_object(run.tracking, {"id": TEXT, "folder": TEXT})
    except (OSError, ValueError):
        return None
    return kept["id"], kept["folder"]
