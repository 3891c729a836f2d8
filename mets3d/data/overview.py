"""Says in five lines what a data set consists of: cases, patients, time points, references, scans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from mets3d.data.case_summary import CaseSummary
from mets3d.data.cases import SEQUENCES, CaseList
from mets3d.wording import counted

PLACES = 4  # folders that are named


def overview(cases: CaseList, summaries: Sequence[CaseSummary]) -> list[str]:
    """Returns the five lines."""
    return [
        _cases(cases),
        _patients(summaries),
        _time_points(summaries),
        _references(summaries),
        _scans(summaries),
    ]


def _cases(cases: CaseList) -> str:
    places = sorted(cases.where.items(), key=lambda place: (-place[1], place[0]))
    return f"{counted(len(cases), 'case')} in {_places(places)}, layout {cases.layout}"


def _places(places: Sequence[tuple[Path, int]]) -> str:
    if len(places) == 1:
        return str(places[0][0])
    named = [f"{place} ({count:,})" for place, count in places[:PLACES]]
    more = len(places) - PLACES
    return " and ".join([", ".join(named[:-1]), named[-1]]) if more <= 0 else f"{', '.join(named)} and {more:,} more"


def _patients(summaries: Sequence[CaseSummary]) -> str:
    names = sorted({summary.patient for summary in summaries})
    listed = f"{names[0]} to {names[-1]}" if len(names) > 1 else names[0]
    return f"{counted(len(names), 'patient')}: {listed}"


def _time_points(summaries: Sequence[CaseSummary]) -> str:
    cases = Counter(Counter(summary.patient for summary in summaries).values())
    if set(cases) == {1}:
        return f"{counted(len(summaries), 'time point')}, one of each patient"
    told = [f"{counted(patients, 'patient')} with {number}" for number, patients in sorted(cases.items())]
    return f"{counted(len(summaries), 'time point')}: {_shortened(told)}"


def _references(summaries: Sequence[CaseSummary]) -> str:
    known = [summary.label_voxels for summary in summaries if summary.label_voxels is not None]
    given = sum(summary.has_reference for summary in summaries)
    if not given:
        return "no references: the cases can be predicted, not learned from"
    line = f"{counted(given, 'reference')} for {counted(len(summaries), 'case')}"
    empty = sum(not voxels for voxels in known)
    labels = Counter(label for voxels in known for label in voxels)
    told = [f"label {label} in {labels[label]:,}" for label in sorted(labels)]
    told += [f"{empty:,} empty"] if empty else []
    told += [f"{given - len(known):,} that cannot be read"] if given > len(known) else []
    return f"{line}: {', '.join(told)}" if told else line


def _scans(summaries: Sequence[CaseSummary]) -> str:
    """Tells sequences and spacings."""
    count = Counter(sequence for summary in summaries for sequence in summary.sequences)
    known = [*SEQUENCES, *sorted(set(count) - set(SEQUENCES))]
    everywhere = [sequence for sequence in known if count[sequence] == len(summaries)]
    partly = [f"{sequence} in {count[sequence]:,}" for sequence in known if 0 < count[sequence] < len(summaries)]
    told = ", ".join(([f"{', '.join(everywhere)} in all cases"] if everywhere else []) + partly) or "no sequence"
    spacings = Counter(summary.spacing_mm for summary in summaries if summary.spacing_mm)
    if not spacings:
        return told
    if len(spacings) == 1:
        return f"{told}; voxels of {_mm(next(iter(spacings)))}"
    listed = [f"{_mm(spacing)} in {cases:,}" for spacing, cases in spacings.most_common(3)]
    return f"{told}; {len(spacings):,} voxel sizes, most {', '.join(listed)}; sides of {_range(spacings)}"


def _range(spacings: Iterable[tuple[float, float, float]]) -> str:
    sides = [side for spacing in spacings for side in spacing]
    return f"{min(sides):.3g} to {max(sides):.3g} mm"


def _mm(sides: Iterable[float]) -> str:
    return "x".join(f"{side:.3g}" for side in sides) + " mm"


def _shortened(told: Sequence[str]) -> str:
    """Returns the first entries and the last one."""
    return ", ".join(told) if len(told) <= 5 else ", ".join([*told[:4], "...", told[-1]])
