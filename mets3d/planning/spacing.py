"""Compares candidates for the voxel size of a store: the lesions that each keeps, and what it costs; chooses one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mets3d.data.spacing import Wanted
from mets3d.data.survival import SIZES, Row
from mets3d.ops.voxels import Spacing
from mets3d.planning.fingerprint import Fingerprint

ISOTROPIC: Spacing = (1.0, 1.0, 1.0)
ONE_MM, MEDIAN, IN_PLANE, NNUNET = "1 mm", "median", "in_plane", "nnU-Net"
ENOUGH = 0.995  # of the lesions that the best candidate keeps
RULE = (
    f"the fewest voxels among the candidates that keep {ENOUGH:.1%} of the lesions above 2 mm3 that the best one keeps"
)
COARSE = 3.0  # times as coarse as the others, with a third of their voxels: nnU-Net's anisotropic axis


@dataclass(frozen=True)
class Candidate:
    """A voxel size, in mm, the lesions before and after it by size, and the voxels of a case."""

    name: str
    wanted: Wanted
    lesions: tuple[int, ...]
    kept: tuple[int, ...]
    joined: int
    volume: float  # share of the lesions' volume that is there afterwards
    voxels: float

    @property
    def above_2(self) -> tuple[int, int]:
        """Returns the lesions above 2 mm3 that are kept, and all of them."""
        return sum(self.kept[1:]), sum(self.lesions[1:])


def candidates(fingerprint: Fingerprint) -> dict[str, Wanted]:
    """Returns the voxel sizes to compare by name."""
    own = fingerprint.spacings_mm
    return {
        ONE_MM: ISOTROPIC,
        MEDIAN: _rounded(np.median(own, axis=0)),
        IN_PLANE: "in_plane",
        NNUNET: nnunet_spacing(own, fingerprint.brains_mm / own),
    }


def nnunet_spacing(own_mm: Float[np.ndarray, "N 3"], voxels: Float[np.ndarray, "N 3"]) -> Spacing:
    """Returns nnU-Net's target: the median of each axis.

    An axis that is more than 3 times as coarse as the others, with less than a third of their voxels, has the 10th
    percentile, but is not finer than the others.
    """
    target = np.median(own_mm, axis=0)
    size = np.median(voxels, axis=0)
    coarsest = int(target.argmax())
    others = [axis for axis in range(3) if axis != coarsest]
    if target[coarsest] > COARSE * target[others].max() and size[coarsest] * COARSE < size[others].min():
        target[coarsest] = max(np.percentile(own_mm[:, coarsest], 10), target[others].max())
    return _rounded(target)


def compare(
    fingerprint: Fingerprint, wanted: Mapping[str, Wanted], rows: Mapping[str, Sequence[Row]]
) -> list[Candidate]:
    """Returns the candidates with what they keep and cost, in the order of `wanted`."""
    region = _region(rows)
    found = []
    for name, one in wanted.items():
        of_size = {row["size_mm3"]: row for row in rows[name] if row["region"] == region}
        before, after = (sum(row[key] for row in of_size.values()) for key in ("volume_mm3", "stored_volume_mm3"))
        found.append(
            Candidate(
                name,
                one,
                lesions=tuple(of_size[size]["lesions"] if size in of_size else 0 for size in SIZES),
                kept=tuple(of_size[size]["kept"] if size in of_size else 0 for size in SIZES),
                joined=sum(row["joined"] for row in of_size.values()),
                volume=after / before if before else 1.0,
                voxels=float(fingerprint.brains_in_voxels(one).prod(1).mean()),
            )
        )
    return found


def choose(compared: Sequence[Candidate]) -> Candidate:
    """Returns the candidate of RULE; of equals the first."""
    best = max(candidate.above_2[0] for candidate in compared)
    fitting = [candidate for candidate in compared if candidate.above_2[0] >= ENOUGH * best]
    return min(fitting, key=lambda candidate: round(candidate.voxels))


def table(compared: Sequence[Candidate], chosen: str) -> list[str]:
    """Returns the candidates as lines of a table; the chosen one has a star."""
    head = ["spacing", "mm", *(f"{size} mm3" for size in SIZES), "joined", "volume kept", "Mvoxels a case"]
    lines = [head]
    for one in compared:
        size = "own in plane, slices to 1" if isinstance(one.wanted, str) else " x ".join(f"{s:g}" for s in one.wanted)
        kept = [f"{kept}/{lesions}" for kept, lesions in zip(one.kept, one.lesions, strict=True)]
        mark = " *" if one.name == chosen else ""
        lines.append([one.name + mark, size, *kept, str(one.joined), f"{one.volume:.0%}", f"{one.voxels / 1e6:.2f}"])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def region_shown(rows: Mapping[str, Sequence[Row]]) -> str:
    """Returns the region whose lesions the candidates are compared by."""
    return _region(rows)


def _region(rows: Mapping[str, Sequence[Row]]) -> str:
    """Returns ET, or the whole tumour where no case has enhancing lesions."""
    enhancing = any(row["lesions"] for found in rows.values() for row in found if row["region"] == "ET")
    return "ET" if enhancing else "WT"


def _rounded(spacing_mm: Float[np.ndarray, "3"]) -> Spacing:
    x, y, z = (round(float(side), 4) for side in spacing_mm)
    return x, y, z
