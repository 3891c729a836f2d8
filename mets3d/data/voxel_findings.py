"""Finds faults of one case in its voxels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mets3d.data.brain import brain_of
from mets3d.data.cases import Case, Finding
from mets3d.data.nifti import ImageVolume, LabelVolume
from mets3d.regions import KNOWN_LABELS, RC_LABEL

LEAST_BACKGROUND = 0.1  # a stripped brain fills about half of its bounding box, a head with air around it nearly all


def image_findings(case: Case, sequence: str, image: ImageVolume) -> list[Finding]:
    """Returns the findings about one sequence's values."""
    finite = np.isfinite(image.data)
    if not finite.all():
        count = int((~finite).sum())
        detail = f"{sequence} has {count} voxels that are NaN or infinite ({case.sequences[sequence].path.name})"
        return [Finding(case.name, "error", "not a number", detail, "convert the scan again")]
    low, high = float(image.data.min()), float(image.data.max())
    if low == high:
        detail = f"{sequence} is {low:g} everywhere ({case.sequences[sequence].path.name})"
        return [Finding(case.name, "error", "constant image", detail, "convert the scan again")]
    if low < 0:
        count = int((image.data < 0).sum())
        detail = f"{sequence} has {count}, down to {low:g}; they are kept"
        return [Finding(case.name, "note", "negative values", detail)]
    return []


def label_findings(case: Case, labels: LabelVolume, cavity: bool) -> list[Finding]:
    """Returns the findings about the labels. `cavity`: label 4 is wanted."""
    counts = np.bincount(labels.labels.ravel(), minlength=256)
    unknown = {value: int(count) for value, count in enumerate(counts) if count and value not in KNOWN_LABELS}
    findings = []
    if unknown:
        found = ", ".join(f"label {value} in {count} voxels" for value, count in unknown.items())
        detail = f"expected labels 0 to {KNOWN_LABELS[-1]}, found {found} ({Path(str(case.labels)).name})"
        advice = "correct the reference (another data set's labels must be mapped first) or remove the case"
        findings.append(Finding(case.name, "error", "unknown label", detail, advice))
    if not counts[1:].any():
        findings.append(Finding(case.name, "note", "empty reference", "no label voxel: legal, no visible disease"))
    if counts[RC_LABEL] and not cavity:
        detail = f"label {RC_LABEL}, the resection cavity, in {counts[RC_LABEL]} voxels becomes background"
        findings.append(Finding(case.name, "note", "cavity present", detail, "set data.cavity to learn it"))
    return findings


def brain_findings(case: Case, images: Mapping[str, ImageVolume], labels: LabelVolume | None) -> list[Finding]:
    """Returns the findings about the brain, see `mets3d.data.brain`."""
    brain = brain_of(images.values())
    findings = []
    background = 1 - float(brain.mean())
    if background < LEAST_BACKGROUND:
        detail = f"only {background:.1%} of the voxels are zero in all sequences"
        advice = "strip the skull, so that all is zero outside the brain"
        findings.append(Finding(case.name, "warning", "skull not stripped?", detail, advice))
    for sequence, image in images.items():
        inside = image.data[brain]
        if inside.size and inside.min() == inside.max() and image.data.min() < image.data.max():
            detail = f"{sequence} is {inside[0]:g} everywhere in the brain ({case.sequences[sequence].path.name})"
            findings.append(Finding(case.name, "error", "constant image", detail, "convert the scan again"))
    if labels is not None and labels.shape == brain.shape:
        outside = int(np.count_nonzero(labels.labels[~brain]))
        if outside:
            detail = f"{outside} label voxels lie where all sequences are zero"
            findings.append(Finding(case.name, "error", "label outside the brain", detail, "correct the reference"))
    return findings
