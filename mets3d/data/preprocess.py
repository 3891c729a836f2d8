"""From raw cases to the store: crop to the brain, resample, z-score inside the brain; and a prediction's way back.

Each case is read once: checked, prepared and saved by one process. The store appears only if every case can be used.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float16, Float32, UInt8

from mets3d.config import Preprocess
from mets3d.data import DataError, Progress, quiet
from mets3d.data.cases import SEQUENCES, Case, CaseList, Finding, find_cases
from mets3d.data.check import check_case, check_headers, each_case, findings_table, read_case
from mets3d.data.fingerprint import collect, describe_case
from mets3d.data.nifti import ImageVolume, LabelVolume, read_header
from mets3d.data.plan import Plan
from mets3d.data.store import (
    FINGERPRINT,
    INDEX,
    UNFINISHED,
    Box3,
    Entry,
    case_path,
    differing_files,
    differing_settings,
    read_metadata,
    recipe,
    stale,
    write_case,
)
from mets3d.files import read_json, write_json
from mets3d.ops.resample import resize, resize_labels, shape_at
from mets3d.ops.voxels import Box, Spacing, bounding_box
from mets3d.regions import BACKGROUND, RC_LABEL

CONSTANT = 1e-5  # times the largest value: a deviation that rounding alone makes, as of a resampled constant


@dataclass(frozen=True, eq=False)
class Prepared:
    """One case as the network sees it, and its entry."""

    image: Float16[np.ndarray, "C X Y Z"]
    labels: UInt8[np.ndarray, "X Y Z"] | None
    entry: Entry


def preprocess(
    data: Path, store: Path, settings: Preprocess, *, cavity: bool, jobs: int = 1, progress: Progress = quiet
) -> list[str]:
    """Makes the store of all cases with a reference below `data`. Returns remarks for the user, one text each.

    Goes on where an interrupted call with the same settings and source stopped; a finished store is left as it is.
    Label 4 becomes background unless `cavity`. Cases without reference are left out: they can only be predicted.
    Raises DataError with all findings if a case cannot be used (nothing is left behind), if `store` was made with other
    settings or from other files, or is a folder of something else; and as `find_cases`.
    """
    cases = find_cases(data)
    labelled = [case for case in cases if case.labels is not None]
    if not labelled:
        faults = _errors(_layout_and_headers(cases, cases))
        if faults:
            raise _refusal(data, faults)
        raise DataError(f"{data}: expected references CASE-seg.nii.gz to learn from, found none in {len(cases)} cases")
    made_from = recipe(settings, cavity, data, labelled)
    _fits(store, settings, cavity, made_from)
    remarks = _remarks_on_references(cases)
    if (store / INDEX).is_file() and all(case_path(store, case.name).is_file() for case in labelled):
        return [*remarks, f"{store}: already complete, made with these settings from these files"]
    findings = _layout_and_headers(cases, labelled)
    if _errors(findings):
        voxels = each_case(partial(check_case, cavity=cavity), labelled, jobs, progress)
        raise _refusal(data, list(dict.fromkeys([*findings, *(finding for found in voxels for finding in found)])))
    spacing_mm = _target_spacing(settings, labelled)
    (store / INDEX).unlink(missing_ok=True)
    write_json(store / UNFINISHED, made_from)
    work = partial(_store_case, store=store, spacing_mm=spacing_mm, margin=settings.margin_voxels, cavity=cavity)
    findings += [finding for found in each_case(work, labelled, jobs, progress) for finding in found]
    if _errors(findings):
        _discard(store)
        raise _refusal(data, findings)
    _finish(store, labelled, made_from, spacing_mm)
    return remarks + _remarks_on_findings(findings)


def prepare(
    images: Sequence[ImageVolume],
    labels: LabelVolume | None,
    spacing_mm: Spacing,
    margin_voxels: int,
    cavity: bool,
) -> Prepared:
    """Prepares one case: four RAS images of one grid, in channel order, and the reference if known.

    1. Brain: where any sequence is not zero, so that small negative values belong to it.
    2. Crop to the brain's bounding box and `margin_voxels` around it, within the volume.
    3. Resample to `spacing_mm` where the size differs (`mets3d.ops.resample`): images linearly or by averaging, since a
       cubic kernel overshoots at the zeros around a stripped brain; brain and labels to what fills most of a voxel.
    4. (value - mean) / std over the brain, per sequence; exactly 0 outside.

    Raises DataError if there is no brain or a sequence is constant in it, or varies no more than by rounding.
    """
    shape = images[0].data.shape
    arrays = [image.data for image in images] + ([] if labels is None else [labels.labels])
    if any(array.shape != shape for array in arrays):
        raise DataError(f"expected volumes of one shape, found {', '.join(str(array.shape) for array in arrays)}")
    brain = images[0].data != 0
    for image in images[1:]:
        brain |= image.data != 0
    crop = bounding_box(brain, margin_voxels)
    if crop is None:
        raise DataError("expected a brain, found zeros in all sequences")
    box = _ends(crop)
    own_mm = images[0].spacing_mm
    size = shape_at([stop - start for start, stop in box], own_mm, spacing_mm)
    inside = resize_labels(brain[crop].astype(np.uint8), size) == 1
    stored = np.zeros((len(images), *size), dtype=np.float16)
    statistics = []
    for channel, image in enumerate(images):
        values = resize(image.data[crop], size)
        statistics.append(_z_score(values, inside, SEQUENCES[channel], out=stored[channel]))
    mean, std = zip(*statistics, strict=True)
    x, y, z = shape
    entry = Entry((x, y, z), own_mm, box, size, mean, std)
    return Prepared(stored, None if labels is None else _stored_labels(labels.labels[crop], size, cavity), entry)


def put_back(
    probabilities: Float32[np.ndarray, "R x y z"], entry: Entry, outside: float | Sequence[float] = 0.0
) -> Float32[np.ndarray, "R X Y Z"]:
    """Puts probabilities on the stored grid back on the case's own RAS grid: resized to the crop and pasted.

    Around the crop each channel is `outside` (one value, or one a channel: 1 for a background channel). Exact where
    nothing was resampled. Raises DataError if the shape is not the entry's.
    """
    if probabilities.shape[1:] != entry.stored_shape:
        raise DataError(
            f"expected probabilities on the stored grid {entry.stored_shape}, found {probabilities.shape[1:]}"
        )
    channels = len(probabilities)
    around = np.broadcast_to(np.asarray(outside, dtype=np.float32), (channels,))
    whole = np.empty((channels, *entry.shape), dtype=np.float32)
    size = tuple(stop - start for start, stop in entry.box)
    if size != entry.shape:
        whole[:] = around[:, None, None, None]
    x, y, z = (slice(start, stop) for start, stop in entry.box)
    for channel, probability in enumerate(probabilities):
        whole[channel, x, y, z] = resize(probability, size)
    return whole


# ---------------------------------------------------------------- before any long work


def _fits(store: Path, settings: Preprocess, cavity: bool, made_from: dict[str, Any]) -> None:
    """Raises DataError for a folder that holds another store or something else."""
    for name in (INDEX, UNFINISHED):
        if (store / name).is_file():
            index = read_json(store / name)
            differences = differing_settings(index, settings, cavity)
            if index.get("format") != made_from["format"]:
                differences.append(f"store format {index.get('format')}, this version writes {made_from['format']}")
            if differences:
                raise DataError(
                    f"{store}: a store with other settings is there: {'; '.join(differences)}. "
                    "Choose another folder, or delete this one"
                )
            changes = differing_files(index["source"]["files"], made_from["source"]["files"])
            if changes:
                raise DataError(stale(store, changes))
            return
    if store.exists() and (not store.is_dir() or any(store.iterdir())):
        raise DataError(f"{store}: expected a new or empty folder, or a store; choose another folder")


def _layout_and_headers(cases: CaseList, labelled: Sequence[Case]) -> list[Finding]:
    return [*cases.findings, *(finding for case in labelled for finding in check_headers(case))]


def _errors(findings: Sequence[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity == "error"]


def _refusal(data: Path, findings: Sequence[Finding]) -> DataError:
    errors = _errors(findings)
    cases = len({finding.case for finding in errors})
    rows = "\n".join(findings_table(errors))
    return DataError(f"{data}: {cases} case{'s' * (cases > 1)} cannot be used, nothing was written\n{rows}")


def _target_spacing(settings: Preprocess, cases: Sequence[Case]) -> Spacing:
    if settings.spacing_mm != "median":
        return settings.spacing_mm
    x, y, z = np.median([read_header(case.files[0]).spacing_mm for case in cases], axis=0)
    return float(x), float(y), float(z)


def _remarks_on_references(cases: CaseList) -> list[str]:
    without = [case.name for case in cases if case.labels is None]
    if not without:
        return []
    shown = ", ".join(without[:3]) + (" ..." if len(without) > 3 else "")
    return [f"{len(without)} of {len(cases)} cases have no reference and are left out of the store: {shown}"]


# ---------------------------------------------------------------- one case


def _store_case(case: Case, *, store: Path, spacing_mm: Spacing, margin: int, cavity: bool) -> list[Finding]:
    """Reads, checks, prepares and saves one case, or leaves one that is already there. Returns its findings."""
    path = case_path(store, case.name)
    if path.is_file():
        return [Finding(**finding) for finding in read_metadata(path)["findings"]]
    checked = read_case(case, cavity)
    if checked.unusable or checked.labels is None:
        return checked.findings
    images = [checked.images[sequence] for sequence in SEQUENCES]
    try:
        prepared = prepare(images, checked.labels, spacing_mm, margin, cavity)
    except DataError as error:
        return [*checked.findings, Finding(case.name, "error", "cannot be prepared", str(error))]
    assert prepared.labels is not None
    metadata = {
        "entry": prepared.entry.as_json(),
        "fingerprint": describe_case(prepared.image, prepared.labels, prepared.entry, cavity=cavity),
        "findings": [vars(finding) for finding in checked.findings],
    }
    write_case(path, prepared.image, prepared.labels, cavity=cavity, metadata=metadata)
    return checked.findings


def _ends(box: Box) -> Box3:
    x, y, z = ((side.start, side.stop) for side in box)
    return x, y, z


def _z_score(
    values: Float32[np.ndarray, "X Y Z"],
    brain: Bool[np.ndarray, "X Y Z"],
    sequence: str,
    out: Float16[np.ndarray, "X Y Z"],
) -> tuple[float, float]:
    """Puts the brain's voxels, z-scored, into `out`. Returns mean and std."""
    own = values[brain].astype(np.float64)
    largest = max(abs(float(own.min())), abs(float(own.max())))
    mean = float(own.mean())
    own -= mean
    std = math.sqrt(np.square(own).mean())  # as np.std, which subtracts the mean anew
    if not std > CONSTANT * largest:
        raise DataError(
            f"{sequence} is {mean:g} everywhere in the brain"
            if math.isfinite(std)
            else f"{sequence} holds NaN or infinity"
        )
    own /= std
    out[brain] = own
    return mean, std


def _stored_labels(
    labels: UInt8[np.ndarray, "X Y Z"], size: tuple[int, int, int], cavity: bool
) -> UInt8[np.ndarray, "x y z"]:
    kept = labels if cavity else np.where(labels == RC_LABEL, np.uint8(BACKGROUND), labels)
    return resize_labels(kept, size)


# ---------------------------------------------------------------- after all cases


def _finish(store: Path, cases: Sequence[Case], made_from: dict[str, Any], spacing_mm: Spacing) -> None:
    """Writes the fingerprint and, last, the index that makes the folder a store."""
    metadata = {case.name: read_metadata(case_path(store, case.name)) for case in cases}
    rows = {name: entry["fingerprint"] for name, entry in metadata.items()}
    write_json(store / FINGERPRINT, collect(rows))
    plan = Plan(
        SEQUENCES,
        spacing_mm,
        margin_voxels=made_from["settings"]["margin_voxels"],
        cavity=made_from["cavity"],
        settings_hash=made_from["settings_hash"],
        cases=tuple(case.name for case in cases),
    )
    described = {
        case.name: {
            "patient": case.patient,
            "shape": metadata[case.name]["entry"]["stored_shape"],
            "lesions": {region: len(sizes) for region, sizes in rows[case.name]["lesion_volumes_mm3"].items()},
        }
        for case in cases
    }
    write_json(store / INDEX, {**made_from, "plan": plan.as_json(), "cases": described})
    (store / UNFINISHED).unlink()
    for leftover in (store / "cases").glob(".*.tmp.*"):  # of a process that was killed while writing
        leftover.unlink()


def _discard(store: Path) -> None:
    """Removes what an unfinished store consists of, and the folder if nothing else is in it."""
    shutil.rmtree(store / "cases", ignore_errors=True)
    (store / UNFINISHED).unlink(missing_ok=True)
    if not any(store.iterdir()):
        store.rmdir()


def _remarks_on_findings(findings: Sequence[Finding]) -> list[str]:
    warnings = [str(finding) for finding in findings if finding.severity == "warning"]
    cavities = [finding.case for finding in findings if finding.what == "cavity present"]
    if cavities:
        warnings.append(
            f"label {RC_LABEL}, the resection cavity, is in {len(cavities)} case{'s' * (len(cavities) > 1)} and became "
            "background; set data.cavity to learn it"
        )
    return warnings
