"""Writes the files of each predicted case, and the record by which a rerun knows that a case is finished."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from mets3d.data.cases import Case, Scan
from mets3d.data.nifti import Grid, write_labels, write_probabilities, write_scalar
from mets3d.files import NAMES, OBJECT, TEXT, leftovers, read_json, read_object, sha256_of, write_json, write_text
from mets3d.inference.decoding import Decoded
from mets3d.inference.lesion_table import as_stored, in_scanner_space, lesion_csv
from mets3d.ops.voxels import Spacing
from mets3d.regions import Target
from mets3d.rundir import LABEL_MAP_SHA256, PredictionsDir, mapped_cases


def write_case(
    folder: PredictionsDir,
    name: str,
    channels: Sequence[Float32[np.ndarray, "X Y Z"]],
    decoded: Decoded,
    grid: Grid,
    target: Target,
    spacing_mm: Spacing,
    *,
    probabilities: bool,
) -> list[Path]:
    """Writes one case's files, each whole or not at all, and returns their paths. Equal input makes equal bytes.

    spacing_mm: of the case's RAS+ array, by which its lesions were measured.
    """
    labels, uncertainty, lesions, fourth = folder.files_of(name)
    write_labels(labels, decoded.labels, grid)
    write_scalar(uncertainty, decoded.uncertainty, grid)
    write_text(lesions, lesion_csv(as_stored(in_scanner_space(decoded.lesions, spacing_mm, grid), grid)))
    if not probabilities:
        return [labels, uncertainty, lesions]
    write_probabilities(fourth, channels, grid, target.names)
    return [labels, uncertainty, lesions, fourth]


def forget_case(folder: PredictionsDir, name: str) -> None:
    """Removes a case's record and then its files: should this prediction fail, none is taken for its result."""
    for file in (folder.record(name), *folder.files_of(name)):
        file.unlink(missing_ok=True)


def remove_leftovers(folder: PredictionsDir) -> None:
    """Removes half-written files of processes that were killed, and none of a process that writes here now."""
    for place in (folder.path, folder.probabilities, folder.uncertainties, folder.lesions, folder.records):
        for leftover in leftovers(place):
            leftover.unlink(missing_ok=True)


# ---------------------------------------------------------------- the note of a folder


def note_cases(
    folder: PredictionsDir,
    about: Mapping[str, Any],
    recipe: str,
    *,
    intended: Iterable[str],
    cases: Sequence[str],
    failures: Mapping[str, str],
    decoded: Mapping[str, Any] | None = None,
) -> None:
    """Writes predict.json: how the label maps are made, and of which cases.

    intended: the cases that this recipe is to predict into this folder; those of earlier calls are added, so that also
    after a kill the note says which are missing. cases: those of this call whose files are there. failures: why others
    are not. decoded: of the intended cases, how those are decoded that are not as `about` says.
    """
    before = _noted_before(folder, recipe)
    intended = {*intended, *before.get("asked", ()), *before.get("cases", ()), *before.get("failures", ())}
    of_cases = {"asked": sorted(intended), "cases": list(cases), "failures": dict(failures)}
    otherwise = dict(sorted((before.get("decoded", {}) | dict(decoded or {})).items()))
    write_json(folder.note, {**about, "decoded": otherwise, "recipe": recipe, **of_cases})


def _noted_before(folder: PredictionsDir, recipe: str) -> dict[str, Any]:
    """Returns the note of earlier calls with this recipe.

    Nothing where the note is of another version or broken, for it is about to be replaced.
    """
    may = {"asked": NAMES, "decoded": OBJECT}
    try:
        note = read_object(folder.note, {"recipe": TEXT, "cases": NAMES, "failures": OBJECT}, may)
    except (OSError, ValueError):
        return {}
    return note if note["recipe"] == recipe else {}


# ---------------------------------------------------------------- the record of a case


def recipe_hash(recipe: Mapping[str, Any]) -> str:
    """Returns one text for how cases are predicted; another where anything in the recipe is different."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]


def finish_record(
    folder: PredictionsDir, case: Case, recipe: str, files: Sequence[Path], told: Mapping[str, str] | None = None
) -> None:
    """Writes a case's record, which says that all of its files are there, after the last of them.

    told: how the case was decoded, by key.
    There is one record a case, so that processes on several machines need no lock, and a kill leaves it or none.
    """
    sizes = {file.relative_to(folder.path).as_posix(): file.stat().st_size for file in files}
    label_map = folder.label_map(case.name)
    content = {LABEL_MAP_SHA256: sha256_of(label_map)} if label_map in files else {}
    about = {"recipe": recipe, "source": _source(case), "files": sizes, **content, **(told or {})}
    write_json(folder.record(case.name), about)


def is_finished(folder: PredictionsDir, case: Case, recipe: str, *, probabilities: bool) -> bool:
    """Returns whether the case was predicted by this recipe from these very files, and all of its files are there."""
    wanted = folder.probability_map(case.name).relative_to(folder.path).as_posix()
    try:
        record = read_json(folder.record(case.name))
        return bool(
            record["recipe"] == recipe
            and record["source"] == _source(case)
            and all((folder.path / file).stat().st_size == size for file, size in record["files"].items())
            and (LABEL_MAP_SHA256 not in record or record[LABEL_MAP_SHA256] == sha256_of(folder.label_map(case.name)))
            and (not probabilities or wanted in record["files"])
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # no record, or none of this version
        return False


def other_predictions(folder: PredictionsDir, names: Sequence[str], recipe: str) -> list[str]:
    """Lists the label maps in the folder, of other cases than these, that were not made by this recipe."""
    others = sorted(mapped_cases(folder.path) - set(names))
    return [name for name in others if recipe_of(folder, name) != recipe]


def recipe_of(folder: PredictionsDir, name: str) -> str | None:
    """Returns the recipe that a case's record names; None without a record."""
    try:
        return str(read_json(folder.record(name))["recipe"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _source(case: Case) -> dict[str, list[str | int | None]]:
    """Returns, by sequence, the name of the file, which volume of it, its bytes and time of last change (ns)."""
    scans = {**case.sequences, **({} if case.mask is None else {"mask": Scan(case.mask)})}
    stats = {kind: scan.path.stat() for kind, scan in scans.items()}
    return {
        kind: [scan.path.name, scan.volume, stats[kind].st_size, stats[kind].st_mtime_ns]
        for kind, scan in scans.items()
    }
