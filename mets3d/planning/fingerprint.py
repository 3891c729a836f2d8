"""Takes a data set's fingerprint for planning: headers of all cases, images of a few, then the references.

No image voxel is read but for the size of the brain, which follows from at most SAMPLED cases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mets3d.data import DataError, Progress, quiet
from mets3d.data.brain import brain_of
from mets3d.data.cases import Case, find_cases
from mets3d.data.check import each_case
from mets3d.data.reading import read_reference, read_scan, read_scan_header
from mets3d.data.spacing import Wanted, stored_shape, target_spacing
from mets3d.data.survival import Row, survival, total
from mets3d.ops.voxels import Shape3, Spacing, bounding_box
from mets3d.settings import Config

SAMPLED = 24  # cases whose brain is looked at; their median is that of the set within some percent
FEW = 8  # cases up to which starting processes takes longer than they save
MARGIN = 4  # voxels around the lesions, which a coarser grid may give them


@dataclass(frozen=True)
class CaseFacts:
    """What the headers say of a case, and the share of each axis that the brain takes, where it was looked at."""

    case: Case
    shape: Shape3
    spacing_mm: Spacing
    brain: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Fingerprint:
    """The cases that can be planned for, and those left out with the reason."""

    folder: Path
    layout: str
    cases: tuple[CaseFacts, ...]
    left_out: dict[str, str]

    def without(self, left_out: Mapping[str, str]) -> Fingerprint:
        """Returns the fingerprint without some cases, with the reason of each."""
        kept = tuple(facts for facts in self.cases if facts.case.name not in left_out)
        return replace(self, cases=kept, left_out={**self.left_out, **left_out})

    @property
    def references(self) -> int:
        """Returns the number of cases with a reference."""
        return sum(facts.case.labels is not None for facts in self.cases)

    @property
    def sampled(self) -> int:
        """Returns the number of cases whose brain was looked at."""
        return sum(facts.brain is not None for facts in self.cases)

    @property
    def spacings_mm(self) -> Float[np.ndarray, "N 3"]:
        """Returns the voxel size of each case."""
        return np.array([facts.spacing_mm for facts in self.cases], dtype=np.float64)

    @property
    def brains_mm(self) -> Float[np.ndarray, "N 3"]:
        """Returns the extent of each brain in mm; where it was not looked at, the median share of the volume."""
        looked = [facts.brain for facts in self.cases if facts.brain is not None]
        usual = np.median(looked, axis=0) if looked else np.ones(3)
        shares = np.array([usual if facts.brain is None else facts.brain for facts in self.cases])
        shapes = np.array([facts.shape for facts in self.cases])
        extents: Float[np.ndarray, "N 3"] = shapes * self.spacings_mm * shares
        return extents

    def brains_in_voxels(self, wanted: Wanted) -> Float[np.ndarray, "N 3"]:
        """Returns the extent of each brain in voxels of a store."""
        stored = [target_spacing(facts.spacing_mm, wanted) for facts in self.cases]
        extents: Float[np.ndarray, "N 3"] = self.brains_mm / np.array(stored, dtype=np.float64)
        return extents


def take_fingerprint(folder: Path, config: Config, *, jobs: int = 1, progress: Progress = quiet) -> Fingerprint:
    """Reads the headers of all cases below `folder`, and the brain of some. A case that cannot be read is left out.

    Raises as `find_cases`, and DataError if no case can be read.
    """
    found = find_cases(folder, config.data)
    step = max(1, -(-len(found) // SAMPLED))
    looked_at = {case.name for case in found[::step]} if config.preprocess.brain != "none" else set()
    work = partial(_facts, looked_at=frozenset(looked_at))
    results = list(each_case(work, found, jobs if len(found) > FEW else 1, progress))
    left_out = {case.name: result for case, result in zip(found, results, strict=True) if isinstance(result, str)}
    facts = tuple(result for result in results if isinstance(result, CaseFacts))
    if not facts:
        reasons = "\n".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise DataError(f"{folder}: expected a case that can be read, found none in {len(found)}\n{reasons}")
    return Fingerprint(folder, found.layout, facts, left_out)


def count_lesions(
    fingerprint: Fingerprint,
    candidates: Mapping[str, Wanted],
    *,
    cavity: bool,
    jobs: int = 1,
    progress: Progress = quiet,
) -> tuple[dict[str, list[Row]], dict[str, str]]:
    """Reads every reference and returns for each candidate the lesions that it keeps, by region and size.

    Returns the cases too whose reference cannot be read, with the reason.
    """
    labelled = [facts.case for facts in fingerprint.cases if facts.case.labels is not None]
    work = partial(_lesions, candidates=dict(candidates), cavity=cavity)
    rows: dict[str, list[Row]] = {name: [] for name in candidates}
    left_out = {}
    for case, result in zip(
        labelled, each_case(work, labelled, jobs if len(labelled) > FEW else 1, progress), strict=True
    ):
        if isinstance(result, str):
            left_out[case.name] = result
            continue
        for name, found in result.items():
            rows[name] = total([*rows[name], *found])
    return rows, left_out


# ---------------------------------------------------------------- one case


def _facts(case: Case, looked_at: frozenset[str]) -> CaseFacts | str:
    """Returns what is known of a case, or why it cannot be read."""
    try:
        if not case.sequences:
            return "it has no image"
        sequence = "t1c" if "t1c" in case.sequences else next(iter(case.sequences))
        header = read_scan_header(case, sequence)
        x, y, z = header.shape
        brain = _brain(case, sequence) if case.name in looked_at else None
        return CaseFacts(case, (x, y, z), header.spacing_mm, brain)
    except (DataError, OSError) as error:
        return str(error)


def _brain(case: Case, sequence: str) -> tuple[float, float, float] | None:
    """Returns the share of each axis that the brain's box takes."""
    image = read_scan(case, sequence)
    box = bounding_box(brain_of([image]))
    if box is None:
        return None
    x, y, z = ((side.stop - side.start) / size for side, size in zip(box, image.shape, strict=True))
    return x, y, z


def _lesions(case: Case, candidates: Mapping[str, Wanted], cavity: bool) -> dict[str, list[Row]] | str:
    """Returns the rows of one case for every candidate, or why its reference cannot be read."""
    try:
        reference = read_reference(case)
    except (DataError, OSError) as error:
        return str(error)
    box = bounding_box(reference.labels > 0, MARGIN)
    if box is None:
        return {name: [] for name in candidates}
    labels = np.ascontiguousarray(reference.labels[box])
    by_shape: dict[Sequence[int], list[Row]] = {}
    rows = {}
    for name, wanted in candidates.items():
        shape = stored_shape(labels.shape, reference.spacing_mm, wanted)
        if shape not in by_shape:
            by_shape[shape] = survival(labels, reference.spacing_mm, wanted, cavity=cavity)
        rows[name] = by_shape[shape]
    return rows
