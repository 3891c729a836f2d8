"""Finds faults of one case in the headers of its files, before any voxel is read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal

import psutil

from mets3d.data.cases import LABELS, Case, Finding
from mets3d.data.grids import apart_mm, lie_apart, sizes_differ
from mets3d.data.native_findings import native_findings
from mets3d.data.nifti import Header, Oddity
from mets3d.wording import agreed, counted

WORKER = 4  # times a case's float32 size: the most that a process of `preprocess` may hold
GIGABYTE = 10**9
BY_HEADERS = "set data.grids to t1c, which does it by the headers"


def grid_findings(case: Case, headers: Mapping[str, Header], grids: Literal["refuse", "t1c"]) -> list[Finding]:
    """Returns the findings about shapes, affines and voxel sizes; `grids` as the setting `data.grids`."""
    if grids == "t1c":
        return native_findings(case, headers)
    findings = []
    shapes = {kind: header.shape for kind, header in headers.items()}
    if len(set(shapes.values())) > 1:
        detail = ", ".join(f"{kind} {'x'.join(map(str, shape))}" for kind, shape in shapes.items())
        advice = f"resample all scans of a case to one grid (register, strip the skull), or {BY_HEADERS}"
        findings.append(Finding(case.name, "error", "shapes differ", f"in RAS order: {detail}", advice))
    elif headers:
        findings += [*_affine_findings(case, headers), *_size_findings(case, headers)]
    return findings


def odd_findings(case: Case, kind: str, oddities: Iterable[Oddity]) -> list[Finding]:
    """Returns what was odd in a file as findings."""
    return [
        Finding(case.name, oddity.severity, oddity.what, f"{kind}: {oddity.detail}", oddity.advice)
        for oddity in oddities
    ]


def memory_findings(case: Case, headers: Mapping[str, Header]) -> list[Finding]:
    """Returns the finding about a case that does not fit the memory: an error where it cannot even be read."""
    images = [header.shape for kind, header in headers.items() if kind != LABELS]
    size = sum(4.0 * math.prod(shape) for shape in images)
    installed = psutil.virtual_memory().total
    if WORKER * size <= installed:
        return []
    largest = "x".join(map(str, max(images, key=math.prod)))
    sizes = (
        f"{counted(len(images), 'scan')} of up to {largest} voxels {agreed(len(images), 'is', 'are')} "
        f"{size / GIGABYTE:.3g} GB as float32"
    )
    detail = f"{sizes}, this machine has {installed / GIGABYTE:.3g} GB"
    if size > installed:
        advice = "correct the header if it is wrong, crop the scans, or take a machine with more memory"
        return [Finding(case.name, "error", "larger than the memory", detail, advice)]
    advice = f"a process of preprocess may need {WORKER} times its size: set --jobs 1, or take a larger machine"
    return [Finding(case.name, "warning", "huge case", detail, advice)]


def _affine_findings(case: Case, headers: Mapping[str, Header]) -> list[Finding]:
    """Compares the files' grids, which have one shape, with that of the first file."""
    (first, reference), *others = headers.items()
    return [
        Finding(
            case.name,
            "error",
            "affines differ",
            f"{kind} {_affine(header)} but {first} {_affine(reference)} (RAS, mm): "
            f"the same voxel is up to {apart_mm(reference, header):.3g} mm apart",
            f"correct the wrong header, resample all scans of a case to one grid, or {BY_HEADERS}",
        )
        for kind, header in others
        if lie_apart(reference, header)
    ]


def _size_findings(case: Case, headers: Mapping[str, Header]) -> list[Finding]:
    """Compares the voxel sizes in the headers of reference and first scan, by which volumes are computed."""
    (first, reference), *_ = headers.items()
    labels = headers.get(LABELS)
    if labels is None or not sizes_differ(reference.spacing_mm, labels.spacing_mm):
        return []
    sizes = f"{first} has voxels of {_mm(reference.spacing_mm)}, {LABELS} of {_mm(labels.spacing_mm)}"
    detail = f"{sizes} (RAS, by the headers)"
    return [Finding(case.name, "error", "voxel sizes differ", detail, "correct the wrong one")]


def _affine(header: Header) -> str:
    return str([[round(float(value), 4) + 0.0 for value in row] for row in header.affine[:3]])


def _mm(values: Iterable[float]) -> str:
    return " x ".join(f"{value:.4g}" for value in values) + " mm"
