"""Says how far apart the scans of a case lie, and whether they can be brought onto one grid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from mets3d.data.brain import Mask
from mets3d.data.case import LABELS, Case, Finding
from mets3d.data.native import OnFile, common_grid, how_far, is_on_grid, labels_onto, volumes_mm3
from mets3d.data.nifti import Header, LabelVolume
from mets3d.regions import LABEL_NAMES

RESAMPLED = "resampled onto another grid"


def native_findings(case: Case, headers: Mapping[str, Header]) -> list[Finding]:
    """Returns a finding for each file that does not lie on the grid of the case's t1c.

    A warning where it is resampled onto it; an error where the two cover different places, or where a header does not
    say which.
    """
    grid = common_grid(headers)
    if grid is None:
        return []
    reference = next(kind for kind, header in headers.items() if header is grid)
    others = {kind: header for kind, header in headers.items() if kind != reference and not is_on_grid(header, grid)}
    return [_finding(case, kind, header, reference, grid) for kind, header in others.items()]


def reference_finding(case: Case, before: LabelVolume, after: LabelVolume) -> Finding:
    """Returns the finding about a label map that was brought onto another grid: volumes before and after."""
    old, new = volumes_mm3(before), volumes_mm3(after)
    rows = [f"{LABEL_NAMES.get(label, label)} {old[label]:,.0f} to {new.get(label, 0):,.0f} mm3" for label in old]
    detail = f"{LABELS}: {', '.join(rows) or 'no label'}"
    advice = "lesions outside the box of that grid are lost" if sum(new.values()) < 0.9 * sum(old.values()) else ""
    return Finding(case.name, "warning", "reference resampled", detail, advice)


def mask_onto(
    case: Case, mask: LabelVolume, grid: Header, grids: Literal["refuse", "t1c"]
) -> tuple[Mask | None, Finding | None]:
    """Returns a brain mask on the grid of a case's scans, and the finding about it where it was not on it, or is empty.

    None in place of the mask where the case cannot be used with it.
    """
    if not mask.labels.any():
        detail = f"{case.mask} holds no voxel that is not 0"
        return None, Finding(case.name, "error", "empty brain mask", detail, "make the mask again")
    if is_on_grid(mask, grid):
        return mask.labels != 0, None
    far = how_far(mask, grid)
    detail = f"{case.mask} has {_size(mask)}, the scans {_size(grid)}: {far}"
    found = labels_onto(mask, grid).labels != 0
    if grids == "refuse" or not mask.source.located or not grid.source.located or not found.any():
        advice = "write the mask on the grid of the scans, or set data.grids to t1c, which does it by the headers"
        return None, Finding(case.name, "error", "brain mask on another grid", detail, advice)
    return found, Finding(case.name, "warning", RESAMPLED, detail)


def _finding(case: Case, kind: str, header: Header, reference: str, grid: Header) -> Finding:
    unplaced = [name for name, one in ((kind, header), (reference, grid)) if not one.source.located]
    sizes = f"{kind} has {_size(header)}, {reference} {_size(grid)}"
    if unplaced:
        detail = f"{sizes}, and {' and '.join(unplaced)} does not say where its voxels lie"
        return Finding(case.name, "error", "grids differ", detail, "write an affine into the header, or register")
    far = how_far(header, grid)
    if not far.overlaps:
        spans = f"{kind} covers {_span(header)}, {reference} {_span(grid)} (RAS, mm)"
        detail = f"{spans}: {far.share:.1%} of its box"
        advice = "correct the header that is wrong (cohorts differ in origin and direction), or register the scans"
        return Finding(case.name, "error", "scans do not overlap", detail, advice)
    advice = "look whether they fit; a patient who moved is not moved back"
    return Finding(case.name, "warning", RESAMPLED, f"{sizes}: {far}", advice)


def _size(header: OnFile) -> str:
    voxels = "x".join(map(str, header.shape))
    return f"{voxels} voxels of {'x'.join(f'{side:.4g}' for side in header.spacing_mm)} mm"


def _span(header: Header) -> str:
    corners = np.array(np.meshgrid(*((-0.5, n - 0.5) for n in header.shape), [1.0])).reshape(4, -1)
    there = (header.affine @ corners)[:3]
    sides = zip("xyz", there.min(axis=1), there.max(axis=1), strict=True)
    return " ".join(f"{axis} {low:.0f}..{high:.0f}" for axis, low, high in sides)
