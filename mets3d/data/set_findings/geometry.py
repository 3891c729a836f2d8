"""Finds cases whose orientation, place in the world or voxel size is not that of the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from mets3d.data.case_summary import CaseSummary
from mets3d.data.cases import Finding
from mets3d.data.wording import WHOLE_SET
from mets3d.wording import most_first

LEAST_CASES = 3
# BraTS-METS has smallest sides of 0.41 to 1.3 mm around a median of 0.5 or 1, and largest of 0.6 to 6 mm.
OUTLIER = {0: 4.0, 2: 12.0}  # factor to the set's median, of the smallest and of the largest side
LEAST_BRAIN = 20_000  # voxels; the volume of a made box says nothing
BRAIN_FACTOR = 2.0  # grown brains differ by less


def geometry_findings(summaries: Sequence[CaseSummary]) -> list[Finding]:
    """Returns the findings about orientations, world frames, voxel sizes and brain volumes over the set."""
    placed = [summary for summary in summaries if summary.spacing_mm is not None]
    return [*_orientations(placed), *_frames(placed), *_spacings(placed), *_brains(placed)]


def _orientations(placed: Sequence[CaseSummary]) -> list[Finding]:
    cases = defaultdict(list)
    for summary in placed:
        cases[summary.orientation].append(summary.name)
    if len(cases) < 2:
        return []
    return [Finding(WHOLE_SET, "note", "mixed orientations", f"{most_first(cases)}; all are turned to RAS+ when read")]


def _frames(placed: Sequence[CaseSummary]) -> list[Finding]:
    """Groups cases whose boxes in the world overlap that of a group's first case."""
    groups: dict[str, list[str]] = {}
    heads: list[CaseSummary] = []
    for summary in placed:
        head = next((one for one in heads if _overlap(one, summary)), None)
        if head is None:
            heads.append(summary)
            groups[_where(summary)] = [summary.name]
        else:
            groups[_where(head)].append(summary.name)
    if len(groups) < 2:
        return []
    advice = "harmless here, where each case is read by itself; resampled into one world frame they would be empty"
    return [Finding(WHOLE_SET, "note", "mixed world frames", f"boxes that do not meet: {most_first(groups)}", advice)]


def _overlap(one: CaseSummary, other: CaseSummary) -> bool:
    return all(
        first < other_last and other_first < last
        for (first, last), (other_first, other_last) in zip(_box(one), _box(other), strict=True)
    )


def _where(summary: CaseSummary) -> str:
    sides = zip("xyz", _box(summary), strict=True)
    return " ".join(f"{axis} {first:.0f}..{last:.0f}" for axis, (first, last) in sides) + " mm"


def _box(summary: CaseSummary) -> list[tuple[float, float]]:
    """Returns where the case begins and ends in the world (mm) along each axis."""
    return list(zip(summary.first_mm or (), summary.last_mm or (), strict=True))


def _spacings(placed: Sequence[CaseSummary]) -> list[Finding]:
    if len(placed) < LEAST_CASES:
        return []
    sides = {summary.name: sorted(summary.spacing_mm or ()) for summary in placed}
    usual = [median(own[side] for own in sides.values()) for side in range(3)]
    findings = []
    for name, own in sides.items():
        ratios = [max(own[side] / usual[side], usual[side] / own[side]) / limit for side, limit in OUTLIER.items()]
        if max(ratios) > 1:
            detail = f"voxels of {_mm(own)} where the set's median is {_mm(usual)}, sides by size"
            advice = "volumes and distances follow the header: correct it if it is wrong"
            findings.append(Finding(name, "warning", "voxel size unlike the others'", detail, advice))
    return findings


def _brains(placed: Sequence[CaseSummary]) -> list[Finding]:
    """A wrong voxel size, a head in place of a brain and a brain cut in half all change the volume."""
    millilitres = {
        summary.name: summary.brain_voxels * sides[0] * sides[1] * sides[2] / 1000
        for summary in placed
        if (sides := summary.spacing_mm) and (summary.brain_voxels or 0) >= LEAST_BRAIN and summary.brain_voxels
    }
    if len(millilitres) < LEAST_CASES:
        return []
    usual = median(millilitres.values())
    advice = "look at the scan: another voxel size, a skull, or a part of a brain"
    return [
        Finding(name, "warning", "brain volume unlike the others'",
                f"{own:,.0f} ml where the set's median is {usual:,.0f} ml", advice)
        for name, own in millilitres.items()
        if max(own / usual, usual / own) > BRAIN_FACTOR
    ]  # fmt: skip


def _mm(sides: Sequence[float]) -> str:
    return " x ".join(f"{side:.3g}" for side in sides) + " mm"
