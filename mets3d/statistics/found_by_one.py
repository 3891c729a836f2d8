"""Finds the reference lesions that one of two methods found and the other missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mets3d.evaluation.tables import Row
from mets3d.statistics.pooled_runs import RUN
from mets3d.statistics.score_table import finite

Lesion = tuple[str, str, str]  # case, region, its number in the reference


@dataclass(frozen=True)
class RunsFound:
    """In how many of a method's runs that scored a lesion it was found; a single run is one."""

    found: int
    runs: int

    @property
    def mostly(self) -> bool:
        """Whether more than half of the runs found it."""
        return 2 * self.found > self.runs

    @property
    def rarely(self) -> bool:
        """Whether less than half of the runs found it."""
        return 2 * self.found < self.runs


@dataclass(frozen=True)
class FoundByOne:
    """A lesion that one method found and the other missed. volume_mm3: of the reference; None where it is unknown."""

    case: str
    region: str
    lesion: str
    volume_mm3: float | None
    reference: RunsFound
    method: RunsFound

    @property
    def by_method(self) -> bool:
        """Whether the method found it, and not the reference."""
        return self.method.mostly


def found_by_one(reference: Sequence[Row], method: Sequence[Row]) -> list[FoundByOne]:
    """Returns the lesions that one found and the other missed, the largest first, from rows of lesions.csv.

    Both tables number the lesions of the same reference. Of a method with several runs (`pooled_runs.pooled`) a lesion
    counts as found where more than half of the runs found it, as missed where less than half did. Lesions too small to
    count, those that one table lacks, and rows without a number are left out.
    """
    sides = [_counted(rows) for rows in (reference, method)]
    volumes = _volumes([*reference, *method])
    lesions = [
        FoundByOne(*lesion, volumes.get(lesion), sides[0][lesion], sides[1][lesion])
        for lesion in sides[0].keys() & sides[1].keys()
    ]
    apart = [own for own in lesions if _apart(own.reference, own.method) or _apart(own.method, own.reference)]
    return sorted(apart, key=lambda own: (-(own.volume_mm3 or 0.0), own.case, own.region, own.lesion))


def _apart(one: RunsFound, other: RunsFound) -> bool:
    return one.mostly and other.rarely


def _counted(rows: Sequence[Row]) -> dict[Lesion, RunsFound]:
    by_run: dict[Lesion, dict[object, bool]] = {}
    for row in rows:
        if row["kind"] in ("found", "missed") and str(row["lesion"]).isdecimal():
            by_run.setdefault(_lesion(row), {})[row.get(RUN)] = row["kind"] == "found"
    return {lesion: RunsFound(sum(runs.values()), len(runs)) for lesion, runs in by_run.items()}


def _volumes(rows: Sequence[Row]) -> Mapping[Lesion, float]:
    found = {_lesion(row): finite(row.get("reference_volume_mm3")) for row in rows}
    return {lesion: volume for lesion, volume in found.items() if volume is not None}


def _lesion(row: Row) -> Lesion:
    return row["case"], row["region"], str(row["lesion"])
