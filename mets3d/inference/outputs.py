"""What a prediction leaves behind for each case, and the record by which a rerun knows that it is finished.

OUT/
    CASE.nii.gz                 label map, on the case's own grid
    uncertainty/CASE.nii.gz     bits, 0 certain to 1 undecided
    lesions/CASE.csv            one line per predicted lesion
    probabilities/CASE.nii.gz   on request: one channel a region or label
    records/CASE.json           written last: how and from which files the others were made
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from mets3d.data.cases import Case
from mets3d.data.nifti import Grid, write_labels, write_probabilities, write_scalar
from mets3d.files import NAMES, OBJECT, TEXT, leftovers, read_json, read_object, write_json, write_text
from mets3d.inference.decoding import Decoded, lesion_csv
from mets3d.regions import Target
from mets3d.rundir import PREDICTION_NOTE

PROBABILITIES, UNCERTAINTY, LESIONS, RECORDS = "probabilities", "uncertainty", "lesions", "records"
SUMMARY = PREDICTION_NOTE


def write_case(
    folder: Path,
    name: str,
    channels: Sequence[Float32[np.ndarray, "X Y Z"]],
    decoded: Decoded,
    grid: Grid,
    target: Target,
    *,
    probabilities: bool,
) -> list[Path]:
    """Writes one case's files, each whole or not at all; returns them. Equal input makes equal bytes."""
    labels, uncertainty, lesions, fourth = case_files(folder, name)
    write_labels(labels, decoded.labels, grid)
    write_scalar(uncertainty, decoded.uncertainty, grid)
    write_text(lesions, lesion_csv(decoded.lesions))
    if not probabilities:
        return [labels, uncertainty, lesions]
    write_probabilities(fourth, channels, grid, target.names)
    return [labels, uncertainty, lesions, fourth]


def case_files(folder: Path, name: str) -> tuple[Path, Path, Path, Path]:
    """Label map, uncertainty, lesion table and probabilities of a case, there or not."""
    scan = f"{name}.nii.gz"
    return folder / scan, folder / UNCERTAINTY / scan, folder / LESIONS / f"{name}.csv", folder / PROBABILITIES / scan


# ---------------------------------------------------------------- records


def note_cases(
    folder: Path,
    about: Mapping[str, Any],
    recipe: str,
    *,
    asked: Iterable[str],
    cases: Sequence[str],
    failures: Mapping[str, str],
) -> None:
    """Writes predict.json: what the label maps were made by, and of which cases.

    asked: cases that this recipe was to predict into this folder, those of earlier calls included; so it tells, also
    after a kill, which are missing. cases: whose files are there, of this call. failures: why others are not.
    """
    told = {"asked": sorted({*asked, *_asked_before(folder, recipe)}), "cases": list(cases), "failures": dict(failures)}
    write_json(folder / SUMMARY, {**about, "recipe": recipe, **told})


def _asked_before(folder: Path, recipe: str) -> list[str]:
    """By an earlier call with this recipe. A file of another version, or a broken one, is about to be replaced."""
    try:
        told = read_object(folder / SUMMARY, {"recipe": TEXT, "cases": NAMES, "failures": OBJECT}, {"asked": NAMES})
    except (OSError, ValueError):
        return []
    if told["recipe"] != recipe:
        return []
    return [*told.get("asked", ()), *told["cases"], *told["failures"]]


def recipe_hash(recipe: Mapping[str, Any]) -> str:
    """One text for how cases are predicted; another where anything in the recipe is different."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]


def forget_case(folder: Path, name: str) -> None:
    """Takes back a record and then its files: should this prediction fail, none is taken for its result."""
    for file in (_record(folder, name), *case_files(folder, name)):
        file.unlink(missing_ok=True)


def finish_record(folder: Path, case: Case, recipe: str, files: Sequence[Path]) -> None:
    """Says, after the last of the case's files, that all are there.

    One file a case, so that processes on several machines need no lock, and a kill leaves a record or none.
    """
    sizes = {file.relative_to(folder).as_posix(): file.stat().st_size for file in files}
    write_json(_record(folder, case.name), {"recipe": recipe, "source": _source(case), "files": sizes})


def is_finished(folder: Path, case: Case, recipe: str, *, probabilities: bool) -> bool:
    """Whether the case was predicted by this recipe from these very files, and all of its files are still there."""
    try:
        record = read_json(_record(folder, case.name))
        wanted = f"{PROBABILITIES}/{case.name}.nii.gz"
        return bool(
            record["recipe"] == recipe
            and record["source"] == _source(case)
            and all((folder / file).stat().st_size == size for file, size in record["files"].items())
            and (not probabilities or wanted in record["files"])
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no record, or none of this version
        return False


def other_predictions(folder: Path, names: Sequence[str], recipe: str) -> list[str]:
    """Label maps in the folder, of other cases than these, that were not made by this recipe."""
    others = sorted({file.name.removesuffix(".nii.gz") for file in folder.glob("[!.]*.nii.gz")} - set(names))
    return [name for name in others if recipe_of(folder, name) != recipe]


def recipe_of(folder: Path, name: str) -> str | None:
    """The recipe that a case's record names; None without a record."""
    try:
        return str(read_json(_record(folder, name))["recipe"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove_leftovers(folder: Path) -> None:
    """Half-written files of processes that were killed; not those of a process that writes here now."""
    for place in (folder, *(folder / name for name in (PROBABILITIES, UNCERTAINTY, LESIONS, RECORDS))):
        for leftover in leftovers(place):
            leftover.unlink(missing_ok=True)


def _record(folder: Path, name: str) -> Path:
    return folder / RECORDS / f"{name}.json"


def _source(case: Case) -> dict[str, list[int]]:
    """Bytes and time of last change (ns) of each sequence's file, the files being told apart by name."""
    stats = {path.name: path.stat() for path in case.sequences.values()}
    return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}
