"""Writes what a validation has beside its means into the run directory, from where the loggers' processes read it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from PIL import Image

from mets3d.files import remove, replacing
from mets3d.regions import LABEL_NAMES
from mets3d.rundir import RunDir, ValidationDir
from mets3d.training.shown import Details

PARTS = ("image", "prediction", "reference")


def write_validation(run: RunDir, step: int, details: Details) -> None:
    """Writes the pictures and tables of the validation after a step, all or nothing."""
    with replacing(run.validation(step).path) as temporary:
        folder = ValidationDir(temporary)
        temporary.mkdir()
        slices = []
        for number, view in sorted(details.views.items()):
            for part in PARTS:
                Image.fromarray(getattr(view, part)).save(folder.picture(part, number))
            files = {part: folder.picture(part, number).name for part in PARTS}
            slices.append({"caption": view.caption, **files})
        tables = {"cases": _table(details.cases), "lesions": _table(details.lesions)}
        labels = {label: name for label, name in LABEL_NAMES.items() if label}
        content = {"labels": labels, "slices": slices, "tables": tables}
        folder.index.write_text(json.dumps(content) + "\n", encoding="utf-8")


def forget_validations_after(run: RunDir, step: int) -> None:
    """Removes what validations beyond a step wrote, which a resumed run makes again, and what a kill left half."""
    for leftover in run.validations.glob(".*.tmp.*"):
        remove(leftover)
    for folder in run.validations.glob("step_*"):
        number = folder.name.removeprefix("step_")
        if number.isdigit() and int(number) > step:
            remove(folder)


def _table(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"columns": list(rows[0]) if rows else [], "rows": [list(row.values()) for row in rows]}
