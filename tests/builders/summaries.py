"""Summaries of cases without files, for judgements over a whole set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mets3d.data.case_summary import CaseSummary, ScanFacts

NESTED = {"0 2": 80, "0 3": 10, "2 3": 60, "1 3": 20}  # faces of core within a rim within oedema
VOXELS = {1: 60, 2: 600, 3: 200}
LEVELS = {  # of the sequences in the labels, in standard deviations of the brain
    "t1n": {1: 0.0, 2: -0.5, 3: -0.3},
    "t1c": {1: -0.8, 2: -0.5, 3: 2.5},
    "t2w": {1: 1.0, 2: 0.8, 3: 0.5},
    "t2f": {1: 0.5, 2: 2.0, 3: 1.0},
}


def summary(number: int, **changes: Any) -> CaseSummary:
    """A sound case of a patient of its own."""
    name = f"BraTS-MET-{number:05d}"
    levels = changes.pop("levels", LEVELS)
    scans = {one: ScanFacts(500.0, 100.0, f"{number} {one}", dict(own)) for one, own in levels.items()}
    own = {
        "shape": (240, 240, 155),
        "spacing_mm": (1.0, 1.0, 1.0),
        "orientation": "RAS",
        "first_mm": (0.0, 239.0, 0.0),
        "last_mm": (239.0, 478.0, 154.0),
        "brain_voxels": 1_500_000,
        "label_voxels": dict(VOXELS),
        "faces": dict(NESTED),
        "scans": scans,
    }
    known: dict[str, Any] = {"name": f"{name}-000", "patient": name, "has_reference": True, "label_map": {}}
    return CaseSummary(**{**known, "sequences": tuple(levels), **own, **changes})


def relabelled(number: int, integers: Mapping[int, int], **changes: Any) -> CaseSummary:
    """A sound case in whose reference other integers stand for our labels; 0 leaves a label out."""
    to = {0: 0, **{label: label for label in VOXELS}, **integers}
    voxels: dict[int, int] = {}
    for label, count in VOXELS.items():
        if to[label]:
            voxels[to[label]] = voxels.get(to[label], 0) + count
    faces: dict[str, int] = {}
    for pair, count in NESTED.items():
        one, other = sorted(to[int(label)] for label in pair.split())
        if one != other:
            faces[f"{one} {other}"] = faces.get(f"{one} {other}", 0) + count
    levels = {
        sequence: {to[label]: level for label, level in own.items() if to[label]} for sequence, own in LEVELS.items()
    }
    return summary(number, label_voxels=voxels, faces=faces, levels=levels, **changes)
