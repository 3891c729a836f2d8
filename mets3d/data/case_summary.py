"""Summarises a case in a few numbers, from which findings about the whole data set follow without another reading."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, UInt8

from mets3d.data.cases import Case
from mets3d.data.nifti import Header
from mets3d.ops.voxels import Position, Shape3, Spacing, bounding_box

BLOCK = 1 << 18  # values, as many as a cache holds in double precision


@dataclass(frozen=True)
class ScanFacts:
    """One sequence's intensities in the brain.

    digest: of the values that are not background; two scans with one digest hold the same voxels. levels: by label,
    the mean over its voxels in standard deviations above the brain's mean.
    """

    mean: float
    std: float
    digest: str
    levels: dict[int, float]


@dataclass(frozen=True)
class CaseSummary:
    """What the findings about the whole set need of one case.

    label_map: as `Case`. shape, spacing_mm: in RAS order. orientation: of the file's axes. first_mm, last_mm: the
    corners of its box in the world. label_voxels: by label, None without a reference that can be read. faces: how many
    faces two labels share, as {"1 2": 30}, the smaller label first.
    """

    name: str
    patient: str
    has_reference: bool
    label_map: dict[int, int]
    sequences: tuple[str, ...]
    shape: Shape3 | None = None
    spacing_mm: Spacing | None = None
    orientation: str = ""
    first_mm: Position | None = None
    last_mm: Position | None = None
    brain_voxels: int | None = None
    label_voxels: dict[int, int] | None = None
    faces: dict[str, int] = field(default_factory=dict)
    scans: dict[str, ScanFacts] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Returns the summary as plain values for JSON."""
        return {**vars(self), "scans": {sequence: dict(vars(facts)) for sequence, facts in self.scans.items()}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> CaseSummary:
        """Reads what `as_json` returned, from JSON, in which keys are texts and tuples are lists."""
        read = {one.name: values[one.name] for one in fields(cls)}
        for key in ("sequences", "shape", "spacing_mm", "first_mm", "last_mm"):
            read[key] = None if read[key] is None else tuple(read[key])
        for key in ("label_map", "label_voxels"):
            read[key] = None if read[key] is None else _by_label(read[key])
        read["scans"] = {
            sequence: ScanFacts(**{**facts, "levels": _by_label(facts["levels"])})
            for sequence, facts in read["scans"].items()
        }
        return cls(**read)


def described(case: Case, headers: Mapping[str, Header]) -> CaseSummary:
    """Returns what is known of a case without its voxels; its grid is that of the first scan that has a header."""
    known = CaseSummary(case.name, case.patient, case.labels is not None, dict(case.label_map), tuple(case.sequences))
    if not headers:
        return known
    header = next(iter(headers.values()))
    ends = np.array(list(itertools.product(*((0, n - 1) for n in header.shape), [1]))).T
    corners_mm = (header.affine @ ends)[:3].round(2)
    x, y, z = (int(n) for n in header.shape)
    first, last = (tuple(side(corners_mm, axis=1).tolist()) for side in (np.min, np.max))
    return replace(
        known,
        shape=(x, y, z),
        spacing_mm=header.spacing_mm,
        orientation=header.source.orientation,
        first_mm=first,
        last_mm=last,
    )


def scan_facts(
    inside: Float32[np.ndarray, "N"], background: float, labelled: Int[np.ndarray, "M"], labels: UInt8[np.ndarray, "M"]
) -> ScanFacts:
    """Returns the facts of one sequence from its values in the brain and the labels at some of them."""
    mean, std = mean_and_std(inside)
    digest = hashlib.sha256(inside[inside != background].data).hexdigest()
    voxels, sums = np.bincount(labels), np.bincount(labels, weights=inside[labelled])
    present = np.flatnonzero(voxels).tolist() if std > 0 else []
    levels = {label: float(sums[label] / voxels[label] - mean) / std for label in present}
    return ScanFacts(mean, std, digest, levels)


def mean_and_std(values: Float32[np.ndarray, "N"]) -> tuple[float, float]:
    """Returns mean and standard deviation in double precision, without a copy of the values in it."""
    mean = float(values.mean(dtype=np.float64))
    squares = 0.0
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK] - np.float64(mean)
        squares += float(np.dot(block, block))
    return mean, math.sqrt(squares / len(values))


def label_counts(labels: UInt8[np.ndarray, "X Y Z"]) -> dict[int, int]:
    """Counts the voxels of each label but the background."""
    counts = np.bincount(labels[labels != 0]).tolist()
    return {label: count for label, count in enumerate(counts) if count}


def shared_faces(labels: UInt8[np.ndarray, "X Y Z"]) -> dict[str, int]:
    """Counts the faces between voxels of two labels, the background included, as {"1 2": 30}: the smaller first."""
    box = bounding_box(labels != 0, margin=1)
    if box is None:
        return {}
    faces = np.zeros(256 * 256, dtype=np.int64)
    for axis in range(3):
        along = np.moveaxis(labels[box], axis, 0)
        differ = along[:-1] != along[1:]
        one, other = along[:-1][differ].astype(np.int64), along[1:][differ].astype(np.int64)
        faces += np.bincount(np.minimum(one, other) * 256 + np.maximum(one, other), minlength=faces.size)
    return {f"{pair // 256} {pair % 256}": int(faces[pair]) for pair in np.flatnonzero(faces).tolist()}


def _by_label(values: Mapping[Any, Any]) -> dict[int, Any]:
    return {int(label): value for label, value in values.items()}
