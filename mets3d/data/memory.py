"""Chooses how many processes share the cases of a data set: by cores, memory and how much there is to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mets3d.data import DataError
from mets3d.data.cases import Case
from mets3d.data.nifti import read_header
from mets3d.data.reading import scans_of
from mets3d.free_memory import free_memory
from mets3d.processes import cores
from mets3d.wording import counted

# Measured as peaks of a worker for cases of 10 and 46 million voxels and four sequences, of which the brain's box
# is 42 %: 30 bytes a voxel. A head that fills the volume takes 45.
BYTES_PER_VALUE = 5  # per voxel and sequence: read as float32, stored as float16
BYTES_PER_VOXEL = 12  # beside these: one sequence while it is resampled and normalised, brain and labels
BYTES_AT_REST = 100_000_000
VALUES_WORTH_A_WORKER = 20_000_000  # a second of work, which is what the start of a worker costs
GB = 1e9


@dataclass(frozen=True)
class Workers:
    """A number of processes, and what is to be said about it; an empty text where there is nothing to say."""

    jobs: int
    remark: str = ""


def choose_workers(asked: int | None, cases: Sequence[Case], sequences: int) -> Workers:
    """Returns how many processes work on the cases: as many as asked for, else what cores, memory and work allow.

    The largest case decides, by its header. The remark says that memory and not the cores sets the number, or that
    more were asked for than memory holds.
    """
    voxels = [voxels_of(case) for case in cases]
    largest = max(voxels, default=0)
    need, free = bytes_of_worker(largest, sequences), free_memory()
    fit = max(1, int(free // need))
    facts = f"{free / GB:.1f} GB are free, a case of {largest / 1e6:.0f} million voxels needs about {need / GB:.1f} GB"
    if asked is not None:
        too_many = min(asked, len(cases)) > fit
        return Workers(asked, f"--jobs {asked}: memory holds {fit} of these processes ({facts})" if too_many else "")
    worth = max(1, sum(voxels) * sequences // VALUES_WORTH_A_WORKER)
    wanted = max(1, min(cores(), len(cases), worth))
    if fit < wanted:
        return Workers(fit, f"{counted(fit, 'process', 'processes')} of the {wanted} that the cores allow: {facts}")
    return Workers(wanted)


def voxels_of(case: Case) -> int:
    """Returns the voxels of a case's largest file, by the headers; 0 where none can be read."""
    largest = 0
    for _, scan in scans_of(case):
        try:
            x, y, z = read_header(scan.path, scan.volume).shape
        except (DataError, OSError):
            continue
        largest = max(largest, x * y * z)
    return largest


def bytes_of_worker(voxels: int, sequences: int) -> int:
    """Returns what a process needs at most while it prepares a case of so many voxels."""
    return BYTES_AT_REST + voxels * (sequences * BYTES_PER_VALUE + BYTES_PER_VOXEL)
