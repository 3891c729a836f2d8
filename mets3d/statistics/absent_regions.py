"""Finds the regions that there is nothing of: no lesion and no voxel in any reference or prediction."""

from __future__ import annotations

from collections.abc import Iterable

from mets3d.evaluation.region_scores import KINDS
from mets3d.evaluation.tables import Row

COUNTED = tuple(f"lesions_{kind}" for kind in KINDS)
VOLUMES = ("reference_volume_mm3", "prediction_volume_mm3")


def absent_regions(rows: Iterable[Row]) -> set[str]:
    """Returns the regions whose rows of scores.csv all count no lesion, nor state a volume above 0.

    A row without its counts says nothing, so that its region is not taken for absent.
    """
    seen: set[str] = set()
    present: set[str] = set()
    for row in rows:
        seen.add(row["region"])
        empty = all(row.get(column) == 0 for column in COUNTED) and not any(row.get(column) for column in VOLUMES)
        if not empty:
            present.add(row["region"])
    return seen - present
