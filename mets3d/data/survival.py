"""Counts, by size, the lesions that a change of grid keeps, and what volume they keep."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from mets3d.data.spacing import Wanted, stored_shape
from mets3d.ops.components import components
from mets3d.ops.lesion_resample import Change, each_lesion, resize_lesions
from mets3d.ops.resample import ROUNDING, overlap_weights
from mets3d.ops.voxels import Spacing, bounding_box
from mets3d.regions import Region, scored_regions
from mets3d.wording import counted

EDGES_MM3 = (2.0, 27.0, 100.0)
SIZES = ("0-2", "2-27", "27-100", "above 100")  # mm3; a lesion of 2 mm3 is of the first
COUNTS = ("lesions", "kept", "joined", "volume_mm3", "stored_volume_mm3")

Row = dict[str, Any]


def survival(
    labels: UInt8[np.ndarray, "X Y Z"], spacing_mm: Spacing, target: Wanted, *, cavity: bool = False
) -> list[Row]:
    """Returns what storing a label map with voxels of `spacing_mm` at `target` would keep, see `compared`."""
    after = resize_lesions(labels, stored_shape(labels.shape, spacing_mm, target))
    return compared(labels, after, spacing_mm, cavity=cavity)


def compared(
    before: UInt8[np.ndarray, "X Y Z"], after: UInt8[np.ndarray, "x y z"], spacing_mm: Spacing, *, cavity: bool = False
) -> list[Row]:
    """Compares the lesions of a label map with voxels of `spacing_mm` to those of one over the same box.

    One row per region, and size of a lesion in `before`: {"region", "size_mm3": one of SIZES, "lesions", "kept",
    "joined", "volume_mm3", "stored_volume_mm3"}. A lesion, a 26-connected component of a region, is kept if a voxel of
    the region lies where it was; joined if that voxel is connected with one where another lesion was. Joined lesions
    share their volume in `after` as they did before.
    """
    rows = []
    for region in scored_regions(cavity):
        volumes, found = _lesions(region, before, after, math.prod(spacing_mm))
        rows += _by_size(region.name, volumes, *found)
    return rows


def unchanged(volumes_mm3: Mapping[str, Sequence[float]]) -> list[Row]:
    """Returns the rows of a case that was not resampled, from the volumes of its lesions by region."""
    rows = []
    for region, volumes in volumes_mm3.items():
        own = np.asarray(volumes, dtype=np.float64)
        rows += _by_size(region, own, own, np.zeros(len(own), dtype=bool))
    return rows


def total(rows: Iterable[Row]) -> list[Row]:
    """Adds up the rows of many cases by region and size."""
    sums: dict[tuple[str, str], Row] = {}
    for row in rows:
        key = row["region"], row["size_mm3"]
        into = sums.setdefault(key, {"region": key[0], "size_mm3": key[1], **dict.fromkeys(COUNTS, 0)})
        for count in COUNTS:
            into[count] += row[count]
    for row in sums.values():
        row.update({key: round(row[key], 3) for key in ("volume_mm3", "stored_volume_mm3")})
    return list(sums.values())


def table(rows: Iterable[Row]) -> list[str]:
    """Returns rows as the lines of a table, regions and sizes without a lesion left out."""
    lines = [("region", "size, mm3", "lesions", "kept", "joined", "volume kept")]
    lines += [
        (
            *(row["region"], row["size_mm3"], str(row["lesions"]), str(row["kept"]), str(row["joined"])),
            f"{100 * row['stored_volume_mm3'] / row['volume_mm3']:.0f} %",
        )
        for row in rows
        if row["lesions"]
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            [
                *(cell.ljust(width) for cell, width in zip(line[:2], widths[:2], strict=True)),
                *(cell.rjust(width) for cell, width in zip(line[2:], widths[2:], strict=True)),
            ]
        )
        for line in lines
    ]


def remarks(rows_of_cases: Mapping[str, Sequence[Row]]) -> list[str]:
    """Returns what to say after preprocessing: nothing where all lesions are as they were, else table and warning.

    The warning names cases in which a lesion above 2 mm3 vanished.
    """
    every = total(row for rows in rows_of_cases.values() for row in rows)
    if all(row["kept"] == row["lesions"] and row["stored_volume_mm3"] == row["volume_mm3"] for row in every):
        return []
    lost = {
        name: sum(row["lesions"] - row["kept"] for row in rows if row["size_mm3"] != SIZES[0])
        for name, rows in rows_of_cases.items()
    }
    said = ["lesions before and after resampling:\n" + "\n".join(f"  {line}" for line in table(every))]
    small = sum(row["lesions"] - row["kept"] for row in every if row["size_mm3"] == SIZES[0])
    if small:
        said.append(f"{counted(small, 'lesion')} of at most {EDGES_MM3[0]:g} mm3 vanished in the resampling")
    names = [name for name, count in lost.items() if count]
    if names:
        shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
        said.append(
            f"warning: {counted(sum(lost.values()), 'lesion')} above {EDGES_MM3[0]:g} mm3 of "
            f"{counted(len(names), 'case')} vanished in the "
            f"resampling: {shown}. Choose a finer preprocess.spacing_mm, or in_plane"
        )
    return said


# ---------------------------------------------------------------- one region


def _by_size(region: str, volumes: Any, stored: Any, joined: Any) -> list[Row]:
    of_size = np.searchsorted(EDGES_MM3, volumes, side="left")
    rows = []
    for number, size in enumerate(SIZES):
        chosen = of_size == number
        rows.append(
            {
                "region": region,
                "size_mm3": size,
                "lesions": int(np.count_nonzero(chosen)),
                "kept": int(np.count_nonzero(stored[chosen])),
                "joined": int(np.count_nonzero(joined[chosen])),
                "volume_mm3": round(float(volumes[chosen].sum()), 3),
                "stored_volume_mm3": round(float(stored[chosen].sum()), 3),
            }
        )
    return rows


def _lesions(
    region: Region, before: UInt8[np.ndarray, "X Y Z"], after: UInt8[np.ndarray, "x y z"], voxel_mm3: float
) -> tuple[Float[np.ndarray, " L"], tuple[Any, Any]]:
    """Returns the volume of each lesion in mm3; and what it is afterwards, and whether it shares that with others."""
    mask = region.mask(before)
    box = bounding_box(mask)
    if box is None:
        return np.zeros(0), (np.zeros(0), np.zeros(0, dtype=bool))
    numbers = components(region.mask(after))
    stored_mm3 = np.bincount(numbers.ravel()) * (voxel_mm3 * before.size / after.size)
    change = Change.of(before.shape, after.shape, box, overlap_weights)
    volumes, meets = [], []
    for lesion, place in each_lesion(components(mask[box])):
        share, first = change.shares_of(lesion, place)
        there = numbers[tuple(slice(low, low + n) for low, n in zip(first, share.shape, strict=True))]
        found = np.unique(there[share > ROUNDING])
        volumes.append(np.count_nonzero(lesion) * voxel_mm3)
        meets.append(found[found > 0])
    own = np.array(volumes)
    wanted = np.zeros(len(stored_mm3))  # the volume before of all that a stored component is made of
    counts = np.zeros(len(stored_mm3), dtype=np.int64)
    for volume, found in zip(volumes, meets, strict=True):
        wanted[found] += volume
        counts[found] += 1
    stored = [volume * (stored_mm3[found] / wanted[found]).sum() for volume, found in zip(volumes, meets, strict=True)]
    joined = [bool((counts[found] > 1).any()) for found in meets]
    return own, (np.array(stored), np.array(joined))
