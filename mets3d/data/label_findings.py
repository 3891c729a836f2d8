"""Finds faults of one case in its reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from mets3d.data.case_summary import label_counts
from mets3d.data.cases import Case, Finding
from mets3d.data.nifti import LabelVolume
from mets3d.ops.components import components
from mets3d.ops.voxels import bounding_box
from mets3d.regions import BACKGROUND, KNOWN_LABELS, RC_LABEL
from mets3d.settings import Data
from mets3d.wording import agreed, counted

BEYOND = 255  # stands for whole numbers outside 0..255, where unknown labels become background
OUTSIDE = 0.01  # share of a lesion's voxels


def label_findings(case: Case, labels: LabelVolume, data: Data) -> list[Finding]:
    """Returns the findings about the labels that there are."""
    counts = label_counts(labels.labels)
    unknown = {label: count for label, count in counts.items() if label not in KNOWN_LABELS}
    findings = [_unknown(case, unknown, data)] if unknown else []
    if len(counts) == len(unknown):
        findings.append(Finding(case.name, "note", "empty reference", "no label voxel: legal, no visible disease"))
    if RC_LABEL in counts and not data.cavity:
        detail = f"label {RC_LABEL}, the resection cavity, in {counted(counts[RC_LABEL], 'voxel')} becomes background"
        findings.append(Finding(case.name, "note", "cavity present", detail, "set data.cavity to learn it"))
    return findings


def without_unknown(labels: LabelVolume) -> LabelVolume:
    """Returns the label map with background in the place of unknown labels."""
    unknown = sorted(set(label_counts(labels.labels)) - set(KNOWN_LABELS))
    if not unknown:
        return labels
    known = np.where(np.isin(labels.labels, unknown), np.uint8(BACKGROUND), labels.labels)
    return replace(labels, labels=known)


def outside_findings(
    case: Case, labels: LabelVolume, brain: Bool[np.ndarray, "X Y Z"], *, masked: bool = False
) -> list[Finding]:
    """Returns the finding about label voxels outside the brain. masked: the brain is that of a mask's file.

    It is an error if more than one voxel, and more than 1 % of a lesion (26-connected, all labels together), lie there.
    """
    marked = labels.labels != BACKGROUND
    outside = marked & ~brain
    count = int(np.count_nonzero(outside))
    box = bounding_box(marked)
    if not count or box is None:
        return []
    lesions = components(marked[box])
    sizes, beyond = np.bincount(lesions.ravel()), np.bincount(lesions[outside[box]], minlength=int(lesions.max()) + 1)
    shares = beyond[1:] / sizes[1:]
    wrong = (beyond[1:] > 1) & (shares > OUTSIDE)
    where = "outside the brain's mask" if masked else "where all sequences are zero"
    detail = (
        f"{counted(count, 'label voxel')} {agreed(count, 'lies', 'lie')} {where}, in {np.count_nonzero(beyond[1:])} of "
        f"{counted(len(shares), 'lesion')}, of one up to {shares.max():.1%}"
    )
    if wrong.any():
        advice = "correct the reference" + " or the mask" * masked
        return [Finding(case.name, "error", "label outside the brain", detail, advice)]
    return [
        Finding(
            case.name, "warning", "label outside the brain", detail, "look at the reference; one voxel does no harm"
        )
    ]


def _unknown(case: Case, unknown: dict[int, int], data: Data) -> Finding:
    beyond = data.illegal_labels == "background"
    names = {BEYOND: f"{BEYOND} or outside 0 to {BEYOND}"} if beyond else {}
    found = ", ".join(
        f"label {names.get(label, label)} in {counted(count, 'voxel')}" for label, count in unknown.items()
    )
    detail = f"expected labels 0 to {KNOWN_LABELS[-1]}, found {found} ({Path(str(case.labels)).name})"
    if beyond:
        return Finding(case.name, "warning", "unknown label", f"{detail}; became background")
    advice = "correct the reference, map another data set's labels (data.labels), or set data.illegal_labels=background"
    return Finding(case.name, "error", "unknown label", detail, advice)
